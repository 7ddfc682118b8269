/**
 * docs/reference/streams.md: streams, buckets and consumers with their limits, as created. Pure
 * except reading the comments of topology.ts.
 */
import * as topology from '@bailiff/bus';
import { bytes, code, codes, nanos, page, section, table } from './markdown.ts';
import { commentText, readSource } from './source-text.ts';

const {
  BUCKETS,
  consumerConfigs,
  DEFAULT_MAX_FILE_BYTES,
  COPIED_DUPLICATE_WINDOW_MS,
  DUPLICATE_WINDOW_MS,
  SHORT_DUPLICATE_WINDOW_MS,
  requiredHorizonMs,
  streamConfigs,
} = topology;

type Config = ReturnType<typeof streamConfigs>[number];

function kept(config: Config): string {
  const parts = [
    config.max_age ? nanos(config.max_age) : '',
    config.max_msgs_per_subject && config.max_msgs_per_subject > 0 ? `${config.max_msgs_per_subject} a subject` : '',
    config.max_msgs && config.max_msgs > 0 ? `${config.max_msgs.toLocaleString('en-US')} messages` : '',
  ].filter((part) => part !== '');
  return parts.join(', ') || 'for ever';
}

const whenFull = (config: Config): string => (config.discard === 'new' ? 'refuses new ones' : 'drops the oldest');

function streamRows(): string[][] {
  return streamConfigs()
    .filter(({ name }) => !name.startsWith('KV_'))
    .map((config) => {
      const [source] = config.sources ?? [];
      const from = source ? `sourced from \`${source.name}\`` : codes(config.subjects ?? []);
      return [
        code(config.name),
        config.description ?? '',
        from,
        kept(config),
        bytes(config.max_bytes ?? 0),
        whenFull(config),
      ];
    });
}

function bucketRows(): string[][] {
  return BUCKETS.map((limits) => [
    code(limits.bucket),
    limits.description,
    keptInBucket(limits),
    bytes(limits.maxBytes),
    bytes(limits.maxValueBytes),
    limits.push ? code(topology.pushSubject(limits.bucket, '<key>')) : '',
  ]);
}

function keptInBucket({ history, maxKeys, maxAgeMs, createOnly, keys }: topology.BucketLimits): string {
  if (createOnly) return 'only the first value of a key is stored';
  if (keys.length > 0) return `1 value of each of ${codes(keys)}`;
  const values = `${history} ${history === 1 ? 'value' : 'values'} a key`;
  const messages = maxKeys > 0 ? `${(maxKeys * history).toLocaleString('en-US')} in all` : '';
  return [values, messages, maxAgeMs > 0 ? nanos(maxAgeMs * 1e6) : ''].filter((part) => part !== '').join(', ');
}

/** Limits of topology.ts with a reason: `/** reason *\/ export const NAME = …`. */
function limitRows(): string[][] {
  const values = topology as unknown as Record<string, unknown>;
  const text = readSource('libs/bus/src/topology/topology.ts');
  return [...text.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport const ([A-Z_]+) = /g)]
    .filter(([, , name = '']) => typeof values[name] === 'number')
    .map(([, comment = '', name = '']) => [code(name), valueText(name, Number(values[name])), commentText(comment)]);
}

function valueText(name: string, value: number): string {
  if (name.endsWith('_BYTES')) return bytes(value);
  return name.endsWith('_MS') ? nanos(value * 1e6) : value.toLocaleString('en-US');
}

export function streamsPage(): string {
  const total = streamConfigs().reduce((sum, { max_bytes }) => sum + (max_bytes ?? 0), 0);
  const consumers = consumerConfigs().map(({ stream, config }) => [
    code(config.durable_name),
    code(stream),
    code(String(config.filter_subject)),
    `acknowledged one by one within ${nanos(config.ack_wait ?? 0)}, ${config.max_ack_pending} at once, without a limit of deliveries`,
  ]);
  const horizon = nanos(requiredHorizonMs(topology.VIOLATIONS_MAX_AGE_MS, topology.LONGEST_TIMESPAN_MS) * 1e6);
  return page(
    'Streams and buckets',
    `As created by \`ensureTopology\` and checked by \`bailiff doctor\`. All are kept in files. The sum of their limits, ${bytes(total)}, is reserved at their creation;
\`max_file_store\` is ${bytes(DEFAULT_MAX_FILE_BYTES)} by default. Streams cannot be purged and messages cannot be deleted; only limits drop messages. A message id is known
for ${nanos(SHORT_DUPLICATE_WINDOW_MS * 1e6)}, in buckets with copies for ${nanos(COPIED_DUPLICATE_WINDOW_MS * 1e6)}, in SIEM for ${nanos(DUPLICATE_WINDOW_MS * 1e6)}.`,
    [
      section('Streams', table(['stream', 'holds', 'subjects', 'kept', 'at most', 'when full'], streamRows())),
      section(
        'Buckets',
        'The stream of a bucket is `KV_<bucket>`, its subjects `$KV.<bucket>.<key>`. A bucket that is full refuses new values.',
        table(['bucket', 'holds', 'kept', 'at most', 'a value', 'pushed to'], bucketRows()),
      ),
      section('Durable consumers', table(['consumer', 'stream', 'subjects', 'delivers'], consumers)),
      section(
        'Why so',
        `VERDICTS and RESPONSES keep at least ${horizon}: the retention of VIOLATIONS, the longest timespan of a rule, and a day. Their ids make a replay idempotent.`,
        table(['limit', 'value', 'reason'], limitRows()),
      ),
    ],
  );
}

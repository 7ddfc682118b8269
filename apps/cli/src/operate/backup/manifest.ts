/** `manifest.json`, the last file of a backup: which streams it has, and the SHA-256 of each. */
import { latestStream, streamConfigs } from '@bailiff/bus';
import { z } from 'zod';

export const MANIFEST = 'manifest.json';
export const FORMAT = 'bailiff-backup';
/** Increment it with a change that an earlier version cannot restore. */
export const FORMAT_VERSION = 1;
/** Far above the size of a manifest of all streams. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;

const all = streamConfigs().map(({ name }) => name);

const part = z.strictObject({
  name: z.string().refine((name) => all.includes(name), 'is not a stream of Bailiff'),
  bytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** As the server reported them. A restore sends them to the server again. */
  config: z.looseObject({ name: z.string(), num_replicas: z.number() }),
  state: z.looseObject({ messages: z.number(), first_seq: z.number(), last_seq: z.number() }),
});

const manifest = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(FORMAT_VERSION),
  bailiff: z.string(),
  natsServer: z.string(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** In the order of the copies. */
  streams: z.array(part).min(1).max(all.length),
  /** Streams of Bailiff that the bus did not have. */
  absent: z.array(z.string()),
});

export type Part = z.infer<typeof part>;
export type Manifest = z.infer<typeof manifest>;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${MANIFEST} is not JSON`, { cause });
  }
}

/** @throws Error that names what is wrong */
export function parseManifest(text: string): Manifest {
  const document = parseJson(text) as { format?: unknown; version?: unknown } | null;
  if (document?.format !== FORMAT) throw new Error('it is not a backup of Bailiff');
  if (document.version !== FORMAT_VERSION)
    throw new Error(
      `its format is version ${String(document.version)}; this command reads version ${FORMAT_VERSION}, so use that of the Bailiff that made it`,
    );
  const { success, data, error } = manifest.safeParse(document);
  if (!success) throw new Error(`${MANIFEST} is invalid: ${z.prettifyError(error).replaceAll('\n', ' ')}`);
  for (const { name, config } of data.streams) {
    if (config.name !== name)
      throw new Error(`${MANIFEST} is invalid: ${name} has the configuration of ${config.name}`);
  }
  return data;
}

export const fileOf = (stream: string): string => `${stream}.snapshot`;

/** Copies that the server makes of buckets, for nodes. */
const LATEST = all.filter((name) => name.startsWith(latestStream('')));

/**
 * Order in which streams are backed up and restored. Pure.
 *
 * The streams of a running bus are copied one after the other. A derived stream is copied before its
 * source, so a correlator on a restored bus publishes a missing verdict again under the same id, and
 * a responder finds a record of each of its actions. A restore creates a stream before the streams
 * whose readers need it: pods before violations (otherwise the reports of nodes on their pods are
 * refused), responses before verdicts (otherwise actions are repeated).
 */
const COPY_FIRST = [
  // The server completes a copy that lacks revisions, but not one that is ahead of its bucket.
  ...LATEST,
  'CONFIG_LOG',
  // An old position only repeats events, with the same ids.
  'KV_bailiff_siem',
  'VERDICTS',
  'VIOLATIONS',
  // The responder writes the list before the record.
  'KV_bailiff_quarantine',
  'RESPONSES',
  'SIEM',
  'DEAD_LETTERS',
];

/** Other streams come first, because these refer to them. A copy comes after its bucket. */
const RESTORE_LAST = [...LATEST, 'CONFIG_LOG', 'DEAD_LETTERS', 'SIEM', 'RESPONSES', 'VERDICTS', 'VIOLATIONS'];

export const COPY_ORDER: readonly string[] = [...COPY_FIRST, ...all.filter((name) => !COPY_FIRST.includes(name))];
export const RESTORE_ORDER: readonly string[] = [
  ...all.filter((name) => !RESTORE_LAST.includes(name)),
  ...RESTORE_LAST,
];

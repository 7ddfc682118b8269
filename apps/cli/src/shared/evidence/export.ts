/**
 * Reads all that a verdict was judged from and writes it as a bundle, one record at a time.
 *
 * Data path: streams of the bus → records → a file. Invariants: it writes nothing to the bus. The range
 * begins one warm-up of a correlator before the frame that triggered the verdict. For a verdict by pod or
 * node it has only the frames of that node, so that a bundle discloses no more than necessary.
 */
import { randomBytes } from 'node:crypto';
import {
  type Bucket,
  type Bus,
  changeOf,
  coverMessages,
  createdMicrosOf,
  decodeToken,
  filters,
  getMessage,
  microsOf,
  nodeOfLetter,
  openBucket,
  type ReadToEndOptions,
  readCompleteSince,
  readLogStart,
  readToEnd,
  SCHEMAS_BUCKET,
  type StreamMessage,
  schemaKey,
  signedConfigBy,
  streamInfo,
  violationNode,
} from '@bailiff/bus';
import { FOLD_VERSION, RuleHistory, UNDECIDED_MICROS, warmUpOf } from '@bailiff/correlation';
import {
  addressesInJson,
  type BundleWriter,
  FORMAT,
  formatProof,
  type Header,
  hasFingerprint,
  inclusionProof,
  LOGGED_STREAMS,
  type LogReader,
  makeRecord,
  redact,
  SCHEMAS,
  type SensitiveClass,
  type SensitiveRange,
  STREAMS,
  type StoredMessage,
  sensitiveRanges,
} from '@bailiff/evidence';
import type { Reader, VerdictRow } from '@bailiff/insight';
import { BUILT_IN_RULES, hasSeveralPods } from '@bailiff/policy';
import {
  CLUSTER_KEY,
  CURRENT_SCHEMAS,
  decode,
  decodeSnapshotValue,
  fingerprintIn,
  RELEASED_SCHEMAS,
  SchemaError,
} from '@bailiff/schemas';
import { CliError } from '../errors.ts';

/** Streams of Avro messages. */
const ENCODED: ReadonlySet<string> = new Set(['VERDICTS', 'VIOLATIONS', 'RESPONSES']);
/** Limit of remembered fingerprints. A fleet writes three types of messages, in a few versions. */
const MAX_SCHEMAS = 512;
/** Schemas of other versions that are written: a bundle with more of them is not valid. */
const MAX_FOREIGN = 256;
const PODS_PREFIX = '$KV.bailiff_pods.';
/** Largest difference between the clocks of services and servers. */
const MARGIN_MICROS = 60_000_000;

export interface Plan {
  header: Header;
  positions: Record<string, { first: number; last: number }>;
}

export interface PlanOptions {
  /** File of the signers that the correlator has; empty: it requires no signatures. */
  signers: string;
  /** Program and person. */
  exporter: string;
}

/** Determines the range of frames. @throws CliError CLI_NOT_FOUND, BusError */
export async function planExport(reader: Reader, row: VerdictRow, { signers, exporter }: PlanOptions): Promise<Plan> {
  const { bus } = reader;
  const { verdict, storedAtMicros } = row;
  const triggerSequence = verdict.evidence.at(-1)?.streamSequence ?? 0;
  const trigger = await getMessage(bus, 'VIOLATIONS', triggerSequence);
  // A frame of another node, or one younger than the verdict, is of a stream that was recreated since.
  const isOwn = trigger && (hasSeveralPods(verdict.groupBy) || violationNode(trigger.subject) === verdict.nodeName);
  if (!isOwn || trigger.timestampMicros > storedAtMicros) {
    throw framesAreGone(verdict.verdictId);
  }
  const at = trigger.timestampMicros;
  const warm = Math.max(0, at - (await warmUp(reader, verdict.rule, at, signers)));
  const infos = await Promise.all(STREAMS.map((stream) => streamInfo(bus, stream)));
  // Of a stream that lacks its beginning, so that a verifier does not take what it lacks for left out.
  const first = infos.find(({ config, state }) => config.name === 'VIOLATIONS' && state.first_seq > 1);
  const firstMicros = first ? microsOf(first.state.first_ts) : 0;
  const from = firstMicros <= at ? Math.max(warm, firstMicros) : warm;
  const created = Object.fromEntries([
    // A key of a schema is its fingerprint, so the creation time of the bucket does not matter.
    [SCHEMAS, 0],
    ...infos.map((info): [string, number] => [info.config.name, createdMicrosOf(info)]),
  ]);
  const ends = infos.map(({ config, state }) => [config.name, { first: state.first_seq, last: state.last_seq }]);
  const isOfOneNode = verdict.groupBy === 'pod' || verdict.groupBy === 'node';
  const header: Header = {
    format: FORMAT,
    verdictId: verdict.verdictId,
    fold: FOLD_VERSION,
    nodes: isOfOneNode ? [verdict.nodeName] : null,
    from,
    until: at + UNDECIDED_MICROS,
    lettersSince: await readCompleteSince(bus, 'DEAD_LETTERS'),
    created,
    exportedAt: reader.nowMs() * 1000,
    exporter,
  };
  return { header, positions: Object.fromEntries(ends) };
}

const framesAreGone = (verdictId: string) =>
  new CliError('CLI_NOT_FOUND', `the frames of verdict ${verdictId} are no longer on the bus`, {
    remedy: 'export evidence earlier: by default VIOLATIONS keeps frames for seven days',
  });

/** How long before a frame the stream affects the verdicts of a rule. */
async function warmUp({ bus, signal }: Reader, rule: string, atMicros: number, signers: string): Promise<number> {
  const history = new RuleHistory(BUILT_IN_RULES, signedConfigBy(signers));
  const log = await readLogStart(bus);
  await readToEnd(bus, 'CONFIG_LOG', {
    onMessage: (message) => {
      const change = changeOf(message);
      if (change) history.apply(change);
    },
    signal,
  });
  if (log) coverMessages([history], log, atMicros);
  return warmUpOf(history, rule, atMicros);
}

export interface ExportOptions {
  classes: readonly SensitiveClass[];
  /** Null: without proofs. */
  log: LogReader | null;
  /** After each record: resolves when there is room for the next one. */
  drained(): Promise<void>;
  onFrame(): void;
}

/** Writes all records. @throws BusError; CliError CLI_NOT_FOUND if the bus has deleted a frame that the verdict names */
export async function exportRecords(
  { bus, signal }: Reader,
  row: VerdictRow,
  { header }: Plan,
  writer: BundleWriter,
  { classes, log, drained, onFrame }: ExportOptions,
): Promise<void> {
  const { nodes, from, until, verdictId } = header;
  const { pod, evidence } = row.verdict;
  const missing = new Set(evidence.map(({ streamSequence }) => streamSequence));
  const saltKey = randomBytes(32);
  const schemas = new SchemaRecords(bus, (stored) => writer.add(makeRecord(stored, [], saltKey)));
  const write = (stream: string, message: StreamMessage, ranges: readonly SensitiveRange[], data = message.data) => {
    const { sequence, timestampMicros: storedAtMicros, subject, headers } = message;
    const stored = { stream, sequence, storedAtMicros, subject, headers: headers?.stored, data };
    const record = redact(makeRecord(stored, ranges, saltKey), classes);
    const proof = log && LOGGED_STREAMS.has(stream) ? proofOf(log, stored, header) : null;
    writer.add(proof === null ? record : { ...record, proof });
    if (stream === 'VIOLATIONS') {
      missing.delete(sequence);
      onFrame();
    }
    return drained();
  };
  const take = (stream: string, message: StreamMessage): Promise<void> => {
    if (stream === 'KV_bailiff_pods') {
      const json = decodeSnapshotValue(message.data);
      return write(stream, message, addressesInJson(json), Buffer.from(json));
    }
    if (!ENCODED.has(stream)) return write(stream, message, []);
    const fingerprint = fingerprintOf(message.data);
    const known = schemas.textOf(fingerprint);
    if (known !== undefined) return write(stream, message, sensitiveRanges(message.data, known));
    return schemas.add(fingerprint).then((text) => write(stream, message, sensitiveRanges(message.data, text)));
  };
  const read = (stream: string, options: Partial<ReadToEndOptions>, wants: (message: StreamMessage) => boolean) =>
    readToEnd(bus, stream, {
      ...options,
      onMessage: (message, stop) => {
        if (!wants(message)) return undefined;
        if (stream === 'VERDICTS') stop();
        return take(stream, message);
      },
      signal,
    });
  const isOurs = (node: string | null) => nodes === null || (node !== null && nodes.includes(node));
  await read('CONFIG_LOG', {}, () => true);
  await read('KV_bailiff_pods', { start: 'last-per-subject' }, ({ subject }) => {
    const key = subject.slice(PODS_PREFIX.length);
    return key === CLUSTER_KEY || isOurs(decodeToken(key));
  });
  const letters = { start: { timeMicros: from }, filterSubjects: [filters.deadLetters({ stream: 'VIOLATIONS' })] };
  await read('DEAD_LETTERS', { ...letters, headersOnly: true }, ({ headers }) => isOurs(nodeOfLetter(headers)));
  await read('VERDICTS', { start: { sequence: row.sequence } }, ({ sequence }) => sequence === row.sequence);
  const ofNodes = nodes?.map((node) => filters.violations({ node })) ?? [filters.violations()];
  await read(
    'VIOLATIONS',
    { start: { timeMicros: from }, untilMicros: until, filterSubjects: ofNodes },
    ({ subject }) => isOurs(violationNode(subject)),
  );
  // Those that the stream has, and that are not in the range, are for the verifier to name.
  const { state } = await streamInfo(bus, 'VIOLATIONS');
  if ([...missing].some((sequence) => sequence < state.first_seq)) throw framesAreGone(verdictId);
  const ofPod = filters.responses({ namespace: pod?.namespace ?? '', pod: pod?.name ?? '' });
  const since = { timeMicros: Math.max(0, row.storedAtMicros - MARGIN_MICROS) };
  await read('RESPONSES', { start: since, filterSubjects: [ofPod] }, ({ data }) => verdictOf(data) === verdictId);
}

/** @throws CliError CLI_STATE if the log does not contain the message */
function proofOf(log: LogReader, { stream, sequence }: StoredMessage, { created }: Header): string {
  const index = log.find(stream, created[stream] ?? 0, sequence);
  if (index === null) {
    throw new CliError('CLI_STATE', `the log does not contain ${stream} ${sequence}`, {
      remedy: 'a head covers a message a few seconds after it was stored: repeat the command. Or export without --log',
    });
  }
  return formatProof({ index, hashes: inclusionProof(index, log.size, log.at), checkpoint: log.note });
}

/** Hex of the schema of a message; empty if it has none. */
function fingerprintOf(data: Uint8Array): string {
  try {
    return fingerprintIn(data);
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return '';
  }
}

/** Writes each schema before the first message that needs it. */
class SchemaRecords {
  readonly #bucket: Bucket;
  readonly #write: (stored: StoredMessage) => void;
  /** Null: it is not known. Bounded by the messages of a bundle that no schema reads. */
  readonly #texts = new Map<string, string | null>();
  #foreign = 0;

  constructor(bus: Bus, write: (stored: StoredMessage) => void) {
    this.#bucket = openBucket(bus, SCHEMAS_BUCKET);
    this.#write = write;
  }

  textOf(fingerprint: string): string | null | undefined {
    return this.#texts.get(fingerprint);
  }

  /** @throws BusError */
  async add(fingerprint: string): Promise<string | null> {
    const known = BUILT_IN.get(fingerprint);
    const { text, sequence } = known === undefined ? await this.#stored(fingerprint) : { text: known, sequence: 0 };
    if (this.#texts.size < MAX_SCHEMAS) this.#texts.set(fingerprint, text);
    if (text !== null) {
      const subject = `$KV.${SCHEMAS_BUCKET}.${schemaKey(fingerprint)}`;
      const place = { stream: SCHEMAS, sequence, storedAtMicros: 0, subject };
      this.#write({ ...place, headers: undefined, data: Buffer.from(text) });
    }
    return text;
  }

  /** A schema of the bucket. Collectors write there: another text would hide what must be redacted. */
  async #stored(fingerprint: string): Promise<{ text: string | null; sequence: number }> {
    const none = { text: null, sequence: 0 };
    if (fingerprint === '' || this.#foreign >= MAX_FOREIGN) return none;
    const entry = await this.#bucket.get(schemaKey(fingerprint));
    const text = entry?.value.toString('utf8') ?? '';
    if (!entry || !hasFingerprint(text, fingerprint)) return none;
    this.#foreign++;
    return { text, sequence: entry.revision };
  }
}

const BUILT_IN = new Map<string, string>(
  [...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ fingerprint, text }) => [fingerprint, text]),
);

/** The verdict of a response; empty if it cannot be read. */
function verdictOf(data: Uint8Array): string {
  try {
    const decoded = decode(data);
    return decoded.name === 'Response' ? decoded.value.verdictId : '';
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return '';
  }
}

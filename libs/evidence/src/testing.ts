/**
 * Bundles of made-up incidents for tests: nodes report, the fold judges, and one verdict is exported with
 * all that it was judged from, with or without a log.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { encodeToken, responseSubject, verdictSubject, violationSubject } from '@bailiff/bus';
import { CorrelationEngine, FOLD_VERSION, PodInventory, RuleHistory } from '@bailiff/correlation';
import { MINUTE, podRef, SECOND, SimCollector, snapshotJson, T0 } from '@bailiff/correlation/testing';
import { COSIGNATURE, verifierKey } from '@bailiff/policy/note';
import {
  CURRENT_SCHEMAS,
  decode,
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type Verdict,
} from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { BundleWriter, FORMAT, type Header, type Predicate } from './format/bundle.ts';
import { type EvidenceRecord, formatRecord, logEntry, makeRecord, type StoredMessage } from './format/record.ts';
import { addressesInJson, sensitiveRanges } from './format/sensitive.ts';
import { checkpointIn, formatCheckpoint, formatProof, signHead } from './log/checkpoint.ts';
import { cosign } from './log/cosignature.ts';
import { inclusionProof, leafHash, nodeHash, rootOf } from './log/merkle.ts';
import { LOGGED_STREAMS } from './verify/log-checks.ts';

export { openNote } from '@bailiff/policy/note';
export { signHead } from './log/checkpoint.ts';
export { cosign, cosignature } from './log/cosignature.ts';
export { verifyConsistency } from './log/merkle.ts';
export { formatRequest } from './log/witness.ts';
export { type EvidenceRecord, formatRecord };

export const ORIGIN = 'bailiff.example/log';

/** A key from a seed of one byte, so that vectors are the same in every run. */
export function keyOf(seed: number): { privateKey: KeyObject; publicKey: KeyObject } {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)]);
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
export const EXPORTER = keyOf(1);
export const LOG = keyOf(2);
/** Of the witness of logs that have one. */
const WITNESS = { name: 'witness.example/w1', seconds: 1_800_000_000, ...keyOf(5) };
export const WITNESS_KEY = verifierKey(WITNESS.name, WITNESS.publicKey, COSIGNATURE);

/** A log in memory, whose proofs and heads are those of any size that it had. */
export class MemoryLog {
  readonly #levels: Buffer[][] = [[]];
  readonly #isWitnessed: boolean;

  constructor(isWitnessed = false) {
    this.#isWitnessed = isWitnessed;
  }

  get size(): number {
    return (this.#levels[0] as Buffer[]).length;
  }

  /** @returns the index of the entry */
  append(entry: Uint8Array): number {
    const index = this.size;
    let [hash, at] = [leafHash(entry), index];
    for (let level = 0; ; level++) {
      this.#levels[level] ??= [];
      const hashes = this.#levels[level] as Buffer[];
      hashes.push(hash);
      if (at % 2 === 0) return index;
      hash = nodeHash(hashes[at - 1] as Buffer, hash);
      at = (at - 1) / 2;
    }
  }

  readonly at = (level: number, index: number): Uint8Array => this.#levels[level]?.[index] as Buffer;

  head(size = this.size, key = LOG.privateKey, origin = ORIGIN): string {
    const note = signHead({ origin, size }, this.at, key);
    const { name, privateKey, seconds } = WITNESS;
    return this.#isWitnessed ? note + cosign(formatCheckpoint(checkpointIn(note)), name, privateKey, seconds) : note;
  }

  proof(index: number, size = this.size, key = LOG.privateKey): string {
    return formatProof({ index, hashes: inclusionProof(index, size, this.at), checkpoint: this.head(size, key) });
  }

  stated(size = this.size): NonNullable<Predicate['log']> {
    return { origin: ORIGIN, size, root: Buffer.from(rootOf(size, this.at)).toString('base64') };
  }
}

export interface Incident {
  header: Header;
  records: EvidenceRecord[];
  verdict: Verdict;
}

const NODE = 'node-a';
const CREATED = T0 - 60 * MINUTE;

/** @param seed selects the numbers of pods, packets and responses */
export function incident(seed = 1): Incident {
  const pick = (most: number, salt: number) => 1 + (((seed * 2_654_435_761 + salt * 40_503) >>> 7) % most);
  const pods = Array.from({ length: pick(3, 1) }, (_, index) => podRef(`web-${seed}-${index}`));
  const collector = new SimCollector(NODE);
  const messages: StoredMessage[] = [];
  const add = (stream: string, sequence: number, storedAtMicros: number, subject: string, data: Uint8Array) =>
    messages.push({ stream, sequence, storedAtMicros, subject, headers: undefined, data });
  CURRENT_SCHEMAS.forEach(({ fingerprint, text }, index) => {
    add('KV_bailiff_schemas', index + 1, CREATED + index, `$KV.bailiff_schemas.fp-${fingerprint}`, Buffer.from(text));
  });
  const list = snapshotJson(NODE, pods, 1);
  add('KV_bailiff_pods', 1, CREATED + 10, `$KV.bailiff_pods.${encodeToken(NODE)}`, Buffer.from(list));
  let verdict: Verdict | null = null;
  const inventory = new PodInventory();
  inventory.apply({ node: NODE, timestampMicros: CREATED + 10, revision: 1, previousRevision: null, json: list });
  const engine = new CorrelationEngine({
    rules: new RuleHistory(),
    inventory,
    onVerdict: (one: Verdict) => (verdict ??= one),
  });
  const frames = 2 + pick(8, 2);
  for (let sequence = 1; sequence <= frames; sequence++) {
    const at = T0 + sequence * SECOND;
    for (const pod of pods) collector.spoof(pod, 3 + pick(9, sequence), { lastSeenAt: at, firstSeenAt: at });
    const frame = collector.flush(at);
    if (!frame) throw new Error('nothing to report');
    const bytes = encodeViolationFrame(frame);
    add('VIOLATIONS', sequence, at, violationSubject(NODE, 'spoof'), bytes);
    engine.processFrame({ sequence, timestampMicros: at, node: NODE }, decode(bytes).value as never);
  }
  if (!verdict) throw new Error('no verdict');
  const judged: Verdict = verdict;
  add('VERDICTS', 1, T0 + frames * SECOND + 1_000, verdictSubject(judged), encodeVerdict(judged));
  for (let index = 1; index < pick(4, 3); index++) {
    const about = { verdictId: judged.verdictId, podUid: judged.pod?.uid ?? '', podName: judged.pod?.name ?? '' };
    const response = sampleResponse({ ...about, responseId: `${seed}-${index}`, recordedAt: T0 + index });
    add('RESPONSES', index, T0 + (frames + index) * SECOND, responseSubject(response), encodeResponse(response));
  }
  const streams = [
    'KV_bailiff_schemas',
    'CONFIG_LOG',
    'KV_bailiff_pods',
    'DEAD_LETTERS',
    'VERDICTS',
    'VIOLATIONS',
    'RESPONSES',
  ];
  const order = (message: StoredMessage) => streams.indexOf(message.stream);
  const header: Header = {
    format: FORMAT,
    verdictId: judged.verdictId,
    fold: FOLD_VERSION,
    nodes: [NODE],
    // With all that affects the verdict.
    from: T0 - 1_440 * MINUTE,
    until: T0 + frames * SECOND,
    lettersSince: 0,
    created: Object.fromEntries(streams.map((stream) => [stream, CREATED])),
    exportedAt: T0 + MINUTE,
    exporter: 'test',
  };
  const schemaOf = new Map<string, string>(CURRENT_SCHEMAS.map(({ name, text }) => [name, text]));
  const kind: Record<string, string> = { VIOLATIONS: 'ViolationFrame', VERDICTS: 'Verdict', RESPONSES: 'Response' };
  const records = messages
    .sort((a, b) => order(a) - order(b))
    .map((message) => {
      const name = kind[message.stream];
      const isList = message.stream === 'KV_bailiff_pods';
      const open = isList ? addressesInJson(list) : [];
      const ranges = name ? sensitiveRanges(message.data, schemaOf.get(name) ?? null) : open;
      return makeRecord(message, ranges, Buffer.alloc(32, seed % 256));
    });
  return { header, records, verdict: judged };
}

/** Adds the proofs of a log that has other entries too. */
export function logged(
  { header, records, ...rest }: Incident,
  log = new MemoryLog(true),
): Incident & { log: MemoryLog } {
  const indexes = new Map<EvidenceRecord, number>();
  for (const record of records) {
    if (!LOGGED_STREAMS.has(record.stream)) continue;
    log.append(Buffer.from(`another entry ${log.size}\n`));
    indexes.set(record, log.append(logEntry(record, header.created[record.stream] ?? 0)));
  }
  const proven = records.map((record) => {
    const index = indexes.get(record);
    return index === undefined ? record : { ...record, proof: log.proof(index) };
  });
  return { header, records: proven, log, ...rest };
}

/** The lines of a bundle. */
export function linesOf(
  { header, records }: Pick<Incident, 'header' | 'records'>,
  log: Predicate['log'] = null,
  key: KeyObject | null = EXPORTER.privateKey,
): string[] {
  const lines: string[] = [];
  const writer = new BundleWriter(header, (line) => lines.push(line));
  for (const record of records) writer.add(record);
  writer.end({ positions: {}, log }, key);
  return lines;
}

/**
 * Verifies a bundle, offline: line by line, in the memory of one record and of the fold. Pure, except for
 * the lines that it reads.
 *
 * Data path: lines of a file → structure → hashes and proofs → fold → report. Invariants: a check passes
 * only if every record passes it; a check that lacks an input is skipped. A file that is not a bundle
 * results in a report with failures, not in an error.
 */
import type { KeyObject } from 'node:crypto';
import { encodeToken, type StreamMessage } from '@bailiff/bus';
import { FOLD_VERSION } from '@bailiff/correlation';
import { hasSeveralPods, type SignedConfig } from '@bailiff/policy';
import type { VerifierKey } from '@bailiff/policy/note';
import {
  decodeWithLookup,
  type MessageName,
  type Messages,
  type Response,
  SchemaError,
  SchemaRegistry,
  type Verdict,
} from '@bailiff/schemas';
import { EvidenceError } from '../error.ts';
import {
  BundleDigest,
  type Header,
  isEnvelope,
  PAYLOAD_TYPE,
  parseEnvelope,
  parseHeader,
  type Statement,
  subjectName,
} from '../format/bundle.ts';
import { type Envelope, isSignedBy } from '../format/envelope.ts';
import {
  type EvidenceRecord,
  isHidden,
  isRedacted,
  isWhole,
  logEntry,
  MOST_RECORDS,
  parseRecord,
  SCHEMAS,
  STREAMS,
} from '../format/record.ts';
import { BundleSchemas, Judge, messageOf } from './judge.ts';
import { LogChecks, type ProofBetween } from './log-checks.ts';
import { type Check, type CheckName, Checks, LIMITS, REDACTED_LIMIT } from './report.ts';

export interface VerifyOptions {
  /** Public key of the exporter; null: not known. */
  key: KeyObject | null;
  /** Keys of the log, also former ones. */
  logKeys: readonly VerifierKey[];
  /** Keys of witnesses of the log, each of which must have cosigned its head. */
  witnessKeys?: readonly VerifierKey[];
  /** A signed head of the log that the verifier kept; null: none. */
  knownHead: string | null;
  /** Consistency proof between two sizes, from a copy of the log, which is not trusted. Absent: there is none. */
  proofBetween?: ProofBetween;
  /** Signers of configuration that the correlator had, without a memory. Absent: it required no signatures. */
  signed?: SignedConfig;
}

export interface Report {
  header: Header | null;
  /** As published; null if the bundle has none. */
  verdict: Verdict | null;
  /** In the order of the stream. */
  responses: Response[];
  checks: Check[];
  limits: string[];
}

/**
 * The target of a verdict. The verdict id binds only the key of the group; a publisher of verdicts chooses the other
 * fields. In a group of pods, another pod can reach the threshold when the frames are judged again.
 */
function aboutOf({ groupBy, groupKey, nodeName, pod }: Verdict): string {
  if (groupBy !== 'pod' && groupBy !== 'node') return JSON.stringify([groupBy, groupKey, pod?.namespace ?? '']);
  return JSON.stringify([groupBy, groupKey, nodeName, ...(pod ? [pod.namespace, pod.name, pod.uid] : [])]);
}

const knowing = (sequence: number): string => `a verifier that knows the schema of sequence ${sequence}`;

class Verification {
  readonly #o: VerifyOptions;
  readonly #checks = new Checks();
  readonly #schemas = new BundleSchemas();
  readonly #registry = new SchemaRegistry(this.#schemas.lookup);
  readonly #log: LogChecks;
  readonly #records = new Map<string, number>();
  /** Frames that the verdict names and that were not read yet. */
  #missing = new Set<number>();
  readonly #wanted: Verdict[] = [];
  /** When the bus stored the frame that triggered the verdict. */
  #triggeredAt = 0;
  readonly #responses: Response[] = [];
  #header: Header | null = null;
  #digest: BundleDigest | null = null;
  #judge: Judge | null = null;
  /** Nodes of the header as subjects name them; null: all. */
  #nodes: ReadonlySet<string> | null = null;
  #statement: { envelope: Envelope; statement: Statement } | null = null;
  #stream = 0;
  #sequence = 0;
  #line = 0;
  #redacted = 0;
  /** Frames of which a redacted part is more than one field: how a correlator refused them is not known. */
  #hidden = 0;
  /** The structure is broken: later lines are not read. */
  #isBroken = false;

  constructor(options: VerifyOptions) {
    this.#o = options;
    this.#log = new LogChecks(this.#checks, options);
  }

  /** @returns whether to go on */
  async take(line: string): Promise<boolean> {
    this.#line++;
    try {
      if (this.#statement) throw new EvidenceError('EVIDENCE_FORMAT', 'follows the statement');
      if (!this.#header) this.#takeHeader(line);
      else if (isEnvelope(line)) this.#statement = parseEnvelope(line);
      else await this.#takeRecord(parseRecord(line), this.#header);
    } catch (error) {
      if (!(error instanceof EvidenceError)) throw error;
      this.#checks.fail('format', `line ${this.#line}: ${error.message}`);
      this.#isBroken = true;
    }
    return !this.#isBroken;
  }

  #takeHeader(line: string): void {
    const header = parseHeader(line);
    this.#header = header;
    this.#nodes = header.nodes && new Set(header.nodes.map(encodeToken));
    this.#digest = new BundleDigest(header, line);
    if (header.fold === FOLD_VERSION) this.#judge = new Judge(header, this.#schemas, this.#o.signed);
  }

  async #takeRecord(record: EvidenceRecord, header: Header): Promise<void> {
    this.#checkPlace(record, header);
    if (this.#isBroken) return;
    const { stream, sequence } = record;
    this.#digest?.add(record);
    this.#records.set(stream, (this.#records.get(stream) ?? 0) + 1);
    if (isRedacted(record)) this.#redacted++;
    if (stream === 'VIOLATIONS' && isHidden(record)) this.#hidden++;
    if (isWhole(record) === false) {
      this.#checks.fail('content', `${stream} ${sequence}: its bytes do not have the hash of the record`);
    }
    this.#log.add(record, logEntry(record, this.#digest?.createdOf(stream) ?? 0));
    const message = messageOf(record);
    if (stream === SCHEMAS) {
      if (!this.#schemas.add(message)) this.#breakAt(record, 'it does not have the fingerprint of its subject');
    } else if (stream === 'VERDICTS') {
      await this.#decode(message, 'Verdict', 'verdict', this.#wanted);
      this.#missing = new Set(this.#wanted[0]?.evidence.map(({ streamSequence }) => streamSequence));
    } else if (stream === 'RESPONSES') await this.#decode(message, 'Response', 'responses', this.#responses);
    else await this.#judge?.take(stream, message);
  }

  #checkPlace(record: EvidenceRecord, header: Header): void {
    const { stream, sequence } = record;
    const wrong = this.#placeProblem(record, header);
    if (wrong !== null) this.#breakAt(record, wrong);
    if (stream === SCHEMAS) return;
    this.#stream = Math.max(0, STREAMS.indexOf(stream));
    this.#sequence = sequence;
    if (stream !== 'VIOLATIONS') return;
    this.#missing.delete(sequence);
    if (sequence === this.#wanted[0]?.evidence.at(-1)?.streamSequence) this.#triggeredAt = record.storedAt;
  }

  #breakAt({ stream, sequence }: EvidenceRecord, wrong: string): void {
    this.#checks.fail('records', `line ${this.#line}, ${stream} ${sequence}: ${wrong}`);
    this.#isBroken = true;
  }

  /** Streams in their order, sequences increasing, and nothing that the header does not announce. */
  #placeProblem({ stream, sequence, storedAt, subject }: EvidenceRecord, header: Header): string | null {
    if (!Object.hasOwn(header.created, stream)) return 'the header does not say when its stream was created';
    if ((this.#records.get(stream) ?? 0) >= (MOST_RECORDS[stream] ?? Number.POSITIVE_INFINITY)) {
      return 'its stream has too many records';
    }
    if (stream === SCHEMAS) return null;
    const index = STREAMS.indexOf(stream);
    if (index < 0) return 'a bundle has no records of this stream';
    if (index < this.#stream) return 'it is out of order: its stream is before that of the record before it';
    if (sequence === 0) return 'no message has the sequence 0';
    if (index === this.#stream && sequence <= this.#sequence) {
      return 'it is out of order: its sequence is not above the one before it';
    }
    if (stream !== 'VIOLATIONS') return null;
    if (storedAt < header.from || storedAt > header.until) return 'it is not in the range of the header';
    const words = subject.split('.');
    const node = words.length === 6 ? (words[4] ?? '') : '';
    return this.#nodes && !this.#nodes.has(node) ? `the header does not name its node ${node}` : null;
  }

  async #decode<N extends MessageName>(message: StreamMessage, name: N, check: CheckName, into: Messages[N][]) {
    const place = `sequence ${message.sequence}`;
    try {
      if (!this.#schemas.isOf(message.data)) {
        this.#checks.fail(check, `${place} cannot be decoded: its schema is not in the bundle`);
        return;
      }
      if (this.#schemas.isForeignOf(message.data)) {
        const lacking: CheckName[] = name === 'Verdict' ? ['verdict', 'evidence', 'judged'] : [check];
        for (const one of lacking) this.#checks.lacks(one, knowing(message.sequence));
      }
      const decoded = await decodeWithLookup(message.data, this.#registry, name);
      if (decoded.name !== name) this.#checks.fail(check, `${place} is a ${decoded.name}`);
      else into.push(decoded.value as Messages[N]);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      this.#checks.fail(check, `${place} cannot be decoded: ${error.message}`);
    }
  }

  end(): Report {
    const [header, statement] = [this.#header, this.#statement];
    const verdict = this.#wanted[0] ?? null;
    if (!header) this.#checks.fail('format', 'the file is empty');
    else if (!statement && !this.#isBroken)
      this.#checks.fail('format', 'the file ends before its statement: it was cut off');
    if (header && statement && !this.#isBroken) {
      this.#checks.pass('format', `${header.format}, ${this.#line} lines`);
      this.#checkStatement(header, statement);
      this.#checkContent();
      this.#log.end(statement.statement.predicate.log);
      this.#checkVerdict(header, verdict);
      this.#checkJudged(header, verdict);
    }
    const limits = [...LIMITS, ...(this.#redacted > 0 ? [REDACTED_LIMIT] : [])];
    return { header, verdict, responses: this.#responses, checks: this.#checks.list(), limits };
  }

  #checkStatement(header: Header, { envelope, statement }: { envelope: Envelope; statement: Statement }): void {
    const { key } = this.#o;
    if (envelope.payloadType !== PAYLOAD_TYPE) this.#checks.fail('format', `the payload is ${envelope.payloadType}`);
    if (!key) this.#checks.skip('signature', "the exporter's public key");
    else if (envelope.signatures.length === 0)
      this.#checks.fail(
        'signature',
        'the statement has no signature: it was exported without a key, or its signature was removed',
      );
    else if (isSignedBy(envelope, key)) this.#checks.pass('signature', 'the exporter signed the statement');
    else this.#checks.fail('signature', 'this key did not sign the statement');
    const { subject, predicate } = statement;
    for (const stream of new Set([...Object.keys(predicate.records), ...this.#records.keys()])) {
      const [counted, stated] = [
        this.#records.get(stream) ?? 0,
        Object.hasOwn(predicate.records, stream) ? predicate.records[stream] : 0,
      ];
      if (counted !== stated)
        this.#checks.fail('records', `${stream} has ${counted} records, the statement says ${stated}`);
    }
    this.#checks.pass('records', [...this.#records].map(([stream, count]) => `${stream} ${count}`).join(', '));
    const [about] = subject;
    if (about?.name !== subjectName(header.verdictId))
      this.#checks.fail('digest', `the statement is about ${about?.name}`);
    if (about?.digest.sha256 !== this.#digest?.end()) {
      this.#checks.fail('digest', 'the header or the records are not those of the statement');
    }
    this.#checks.pass('digest', 'header and records are those of the statement');
  }

  #checkContent(): void {
    const redacted = this.#redacted > 0 ? `; ${this.#redacted} are redacted and bound by the digest alone` : '';
    this.#checks.pass('content', `the bytes of every record have its hash${redacted}`);
  }

  #checkVerdict({ verdictId }: Header, verdict: Verdict | null): void {
    if (!verdict || this.#wanted.length !== 1) this.#checks.fail('verdict', 'the bundle does not have one verdict');
    else if (verdict.verdictId !== verdictId)
      this.#checks.fail('verdict', `the verdict is ${verdict.verdictId}, not ${verdictId}`);
    else this.#checks.pass('verdict', `${verdict.rule}, ${verdict.level}: ${verdict.reason}`);
    if (this.#missing.size > 0) {
      this.#checks.fail('evidence', `frames that the verdict names are missing: ${[...this.#missing].join(', ')}`);
    }
    if (verdict)
      this.#checks.pass('evidence', `all ${verdict?.evidence.length ?? 0} pieces are in frames of the bundle`);
    const foreign = this.#responses.filter((response) => response.verdictId !== verdictId);
    if (foreign.length > 0) this.#checks.fail('responses', `${foreign.length} are to other verdicts`);
    const count = this.#responses.length;
    this.#checks.pass('responses', count === 0 ? 'the bundle has none' : `${count} records, all to this verdict`);
  }

  #checkJudged({ fold, from: framesFrom }: Header, verdict: Verdict | null): void {
    const judge = this.#judge;
    if (!judge) this.#checks.skip('judged', `fold ${fold}: this verifier has fold ${FOLD_VERSION}`);
    if (!judge || !verdict) return;
    judge.end();
    if (judge.foreign !== null) this.#checks.lacks('judged', knowing(judge.foreign));
    const own = judge.verdict;
    const begin = judge.configFromMicros === null ? null : new Date(judge.configFromMicros / 1000).toISOString();
    const from = `${judge.frames} frames`;
    const [rule, level] = [own?.rule, own?.level];
    const [about, stated] = [own && aboutOf(own), aboutOf(verdict)];
    if (rule === verdict.rule && level === verdict.level && about === stated) {
      const covered = begin === null ? '' : `; frames from before ${begin} by the first rules of CONFIG_LOG`;
      this.#checks.pass('judged', `${from} give the same verdict id, level and target${covered}`);
    } else if (begin !== null) {
      this.#checks.skip('judged', `the rules from before ${begin}: CONFIG_LOG was made again then`);
    } else if (!own && judge.hasUnlisted && hasSeveralPods(verdict.groupBy)) {
      this.#checks.skip('judged', 'pod lists from before the pods of its frames were removed: export earlier');
    } else if (!own && this.#triggeredAt > 0 && judge.dependsOnBefore(framesFrom, verdict.rule, this.#triggeredAt)) {
      const time = new Date(framesFrom / 1000).toISOString();
      this.#checks.skip('judged', `frames from before ${time}, which VIOLATIONS had deleted or the exporter left out`);
    } else if (!own && this.#hidden > 0) {
      this.#checks.skip('judged', `the content of ${this.#hidden} frames that no reader takes: it is redacted`);
    } else if (!own) this.#checks.fail('judged', `${from} do not give this verdict`);
    else {
      const given = `${verdict.rule}, ${verdict.level}, about ${stated}`;
      this.#checks.fail('judged', `${from} give ${rule}, ${level}, about ${about}, not ${given}`);
    }
  }
}

/** @param lines without their ends */
export async function verifyBundle(
  lines: AsyncIterable<string> | Iterable<string>,
  options: VerifyOptions,
): Promise<Report> {
  const verification = new Verification(options);
  for await (const line of lines) if (!(await verification.take(line))) break;
  return verification.end();
}

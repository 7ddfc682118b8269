/**
 * Judges the frames of a bundle again, with the fold of the correlator. Data path: records in the order of a
 * bundle → here → the verdict of this id, or none. Pure.
 *
 * Invariant: it takes the same decisions about a message as a correlator (frame-consumer.ts of the
 * correlator): share, undecodable, too long. There is no cap of verdicts: a published one was below it.
 * Bounds: those of the engine, and MOST_RECORDS, which the caller checks.
 */
import {
  changeOf,
  coverMessages,
  keptMessage,
  podListOf,
  refusalOf,
  type StreamMessage,
  violationNode,
} from '@bailiff/bus';
import {
  CorrelationEngine,
  PodInventory,
  PriorRefusals,
  type RefusalLookup,
  RuleHistory,
  warmUpOf,
} from '@bailiff/correlation';
import { BUILT_IN_RULES, type SignedConfig } from '@bailiff/policy';
import { decodeWithLookup, fingerprintIn, ProjectedFrameRegistry, SchemaError, type Verdict } from '@bailiff/schemas';
import type { Header } from '../format/bundle.ts';
import { bytesOf, contentOf, type EvidenceRecord } from '../format/record.ts';
import { hasFingerprint, isKnownSchema } from '../format/schema-text.ts';

/** No correlator is asked for more. */
const NO_CAP = Number.MAX_SAFE_INTEGER;

/** A bundle has dead letters without their content. With headers, they would otherwise be taken for injected replies. */
const CONTENT_OF_LETTER = new Uint8Array(1);

export const messageOf = (record: EvidenceRecord): StreamMessage => {
  const { stream, sequence, storedAt, subject, headers } = record;
  const data = stream === 'DEAD_LETTERS' && headers !== undefined ? CONTENT_OF_LETTER : contentOf(record);
  return keptMessage(
    { sequence, timestampMicros: storedAt, subject, data },
    headers === undefined ? undefined : bytesOf(headers),
  );
};

/** Schemas of a bundle by fingerprint. */
export class BundleSchemas {
  readonly #texts = new Map<string, string>();
  readonly lookup = async (fingerprint: string): Promise<string | null> => this.#texts.get(fingerprint) ?? null;

  /** False: the text is no schema with the fingerprint of the subject, and would read messages as others. */
  add({ subject, data }: Pick<StreamMessage, 'subject' | 'data'>): boolean {
    const fingerprint = /\.fp-([0-9a-f]{16})$/.exec(subject)?.[1] ?? '';
    const text = Buffer.from(data).toString('utf8');
    if (!hasFingerprint(text, fingerprint)) return false;
    this.#texts.set(fingerprint, text);
    return true;
  }

  /** Whether the bundle has the schema of a message. @throws SchemaError NOT_SINGLE_OBJECT */
  isOf(data: Uint8Array): boolean {
    return this.#texts.has(fingerprintIn(data));
  }

  /** Whether it has it, and this version does not know it. @throws SchemaError NOT_SINGLE_OBJECT */
  isForeignOf(data: Uint8Array): boolean {
    return this.isOf(data) && !isKnownSchema(fingerprintIn(data));
  }
}

export class Judge {
  readonly #id: string;
  readonly #schemas: BundleSchemas;
  readonly #frames: ProjectedFrameRegistry;
  readonly #rules: RuleHistory;
  readonly #inventory = new PodInventory();
  readonly #refusals: PriorRefusals;
  #engine: CorrelationEngine | null = null;
  readonly #logCreated: number;
  /** Of the first record of CONFIG_LOG. */
  #logFirst: number | null = null;
  /** Null: the frames do not give it. */
  verdict: Verdict | null = null;
  /** Verdicts of other ids. */
  others = 0;
  frames = 0;
  undecodable = 0;
  /** Sequence of a frame in a schema that this version does not know; null: there is none. */
  foreign: number | null = null;
  /** CONFIG_LOG begins then, after the first frame: the configuration of before is not known. Otherwise null. */
  configFromMicros: number | null = null;
  /** A pod of a frame is in no list: its violations count for the pod and its node, and for no owner or namespace. */
  hasUnlisted = false;

  /** @param signed by the signers that the correlator had */
  constructor({ verdictId, until, created }: Header, schemas: BundleSchemas, signed?: SignedConfig) {
    this.#rules = new RuleHistory(BUILT_IN_RULES, signed);
    this.#id = verdictId;
    this.#schemas = schemas;
    this.#frames = new ProjectedFrameRegistry(schemas.lookup);
    this.#refusals = new PriorRefusals(until);
    const { CONFIG_LOG: log = 0, KV_bailiff_pods: lists = 0, VIOLATIONS: frames = 0 } = created;
    this.#logCreated = log;
    // As in the correlator: a bucket younger than the violations was recreated.
    if (lists > frames) this.#inventory.bucketCreatedAt(lists);
  }

  async take(stream: string, message: StreamMessage): Promise<void> {
    if (stream === 'CONFIG_LOG') {
      this.#logFirst ??= message.timestampMicros;
      const change = changeOf(message);
      if (change) this.#rules.apply(change);
    } else if (stream === 'KV_bailiff_pods') {
      const list = podListOf(message);
      if (list) this.#inventory.apply(list);
    } else if (stream === 'DEAD_LETTERS') {
      const refusal = refusalOf(message);
      if (refusal) this.#refusals.add(refusal);
    } else if (stream === 'VIOLATIONS') await this.#frame(message);
  }

  async #frame({ sequence, timestampMicros, subject, data }: StreamMessage): Promise<void> {
    this.#engine ??= this.#makeEngine(timestampMicros);
    const engine = this.#engine;
    const node = violationNode(subject);
    const position = { sequence, timestampMicros, node: node ?? '' };
    this.frames++;
    if (!engine.hasShare(position, data.length)) return;
    try {
      if (node === null) throw new SchemaError('WRONG_SCHEMA', 'the subject names no node');
      if (this.#schemas.isForeignOf(data)) this.foreign ??= sequence;
      const decoded = await decodeWithLookup(data, this.#frames, node);
      if (decoded.name !== 'ViolationFrame') throw new SchemaError('WRONG_SCHEMA', `found a ${decoded.name}`);
      engine.processFrame(position, decoded.value);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      this.undecodable++;
      if (error.code === 'FIELD_TOO_LONG') engine.rejectFrame(position, error.message);
      else engine.chargeUnreadable(position.node);
    }
  }

  /** After all changes of the configuration: their records are first. */
  #makeEngine(firstMicros: number): CorrelationEngine {
    if (this.#logFirst !== null) {
      const log = { createdMicros: this.#logCreated, firstMicros: this.#logFirst };
      this.configFromMicros = coverMessages([this.#rules], log, firstMicros);
    }
    const refusals = this.#refusals;
    // The exporter chooses the letters. A correlator that starts also refuses where one may be missing.
    const priorRefusals: RefusalLookup = {
      untilMicros: refusals.untilMicros,
      letterOf: (sequence, index) => refusals.letterOf(sequence, index),
      reasonOf: () => {
        this.hasUnlisted = true;
        return undefined;
      },
    };
    return new CorrelationEngine({
      rules: this.#rules,
      inventory: this.#inventory,
      priorRefusals,
      verdictsPerMinute: NO_CAP,
      onVerdict: (verdict) => {
        if (verdict.verdictId === this.#id) this.verdict ??= verdict;
        else this.others++;
      },
    });
  }

  /** Whether frames before a time can decide a verdict of this rule, which a frame of `atMicros` triggered. */
  dependsOnBefore(micros: number, rule: string, atMicros: number): boolean {
    return micros > atMicros - warmUpOf(this.#rules, rule, atMicros);
  }

  /** After the last frame: violations that wait for their pod are decided. */
  end(): void {
    const engine = this.#engine;
    for (let at = engine?.nextDeadlineMicros() ?? null; at !== null && Number.isFinite(at); ) {
      engine?.advance(at);
      at = engine?.nextDeadlineMicros() ?? null;
    }
  }
}

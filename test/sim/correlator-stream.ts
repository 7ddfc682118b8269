/**
 * A cluster's violations as the bus might hold them, made from a list of steps that fast-check can shrink: pods that spoof, frames that
 * are lost, sent twice or overtaken, bursts that are reported the wrong way round, clocks that step, collectors that forget, rules that change, pods that are listed late, and nodes that lie.
 * Everything is in stream time, independent of the engine's implementation.
 */
import type { PodSnapshot } from '@bailiff/correlation';
import {
  CorrelationEngine,
  type CorrelationEngineOptions,
  PodInventory,
  type RuleChange,
  RuleHistory,
} from '@bailiff/correlation';
import { podRef, SECOND, SimCollector, snapshotJson, T0 } from '@bailiff/correlation/testing';
import {
  decodeProjectedFrame,
  encodeViolationFrame,
  type PodRef,
  ProjectedFrameRegistry,
  type Verdict,
  type ViolationFrame,
} from '@bailiff/schemas';
import fc from 'fast-check';

export type Step =
  | {
      do: 'spoof';
      pod: number;
      packets: number;
      vector: number;
      address: number;
      fate: 'ok' | 'twice' | 'late' | 'lost';
    }
  | { do: 'turned'; pod: number }
  | { do: 'wait'; seconds: number }
  | { do: 'clock'; node: number; seconds: number }
  | { do: 'forget'; node: number }
  | { do: 'rule'; version: number }
  | { do: 'lie'; node: number; pod: number };

export interface StreamFrame {
  sequence: number;
  timestampMicros: number;
  node: string;
  frame: ViolationFrame;
}

export interface History {
  frames: StreamFrame[];
  changes: RuleChange[];
  lists: PodSnapshot[];
}

const NODES = ['node-a', 'node-b.example'];
const VECTORS = ['ipv4-source', 'arp-sender', 'quarantine-ingress', 'dhcp-client'];
/** Four pods for each node; the last one appears in the pod list only after its first violation. */
const PODS = NODES.flatMap((node, n) =>
  [0, 1, 2, 3].map((i) => ({
    node,
    late: i === 3,
    ref: podRef(`pod-${n}-${i}`, { ownerKind: 'Deployment', ownerName: `app-${i % 2}`, ownerUid: `owner-${i % 2}` }),
  })),
);

const base = { timespan: '60s', cooldown: '2m', level: 'high' };
const spoofed = { name: 'spoofed', selection: { vectors: ['ipv4-source', 'arp-sender'] } };
const confined = { name: 'confined', selection: { vectors: ['quarantine-ingress'] } };
export const RULES = {
  packets: { ...base, type: 'event_count', condition: { gte: 20 } },
  owners: { ...base, type: 'event_count', 'group-by': 'owner', condition: { gte: 60 } },
  addresses: { ...base, type: 'value_count', field: 'claimedAddress', condition: { gte: 3 }, cooldown: '5m' },
  slow: { ...base, type: 'event_count', condition: { gte: 10 }, timespan: '5m', cooldown: '3h' },
  both: { ...base, type: 'temporal', rules: [spoofed, confined], timespan: '90s' },
  ordered: { ...base, type: 'temporal_ordered', rules: [spoofed, confined], timespan: '3m' },
  liars: {
    ...base,
    type: 'event_count',
    'group-by': 'node',
    selection: { vectors: ['foreign-pod'] },
    condition: { gte: 1 },
  },
};
/** An operator's changes of a rule: thresholds, shape, mistakes, removal. */
const EDITS: [string, object | null | string][] = [
  ['packets', { ...RULES.packets, condition: { gte: 5 } }],
  ['packets', { ...RULES.packets, timespan: '30s' }],
  ['packets', { ...RULES.packets, cooldown: '7m', level: 'low' }],
  ['packets', null],
  ['packets', 'not json'],
  ['addresses', { ...RULES.addresses, condition: { gte: 6 } }],
  ['owners', { ...RULES.owners, 'group-by': 'namespace' }],
];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('spoof' as const),
      pod: fc.nat({ max: PODS.length - 1 }),
      packets: fc.integer({ min: 1, max: 15 }),
      vector: fc.nat({ max: VECTORS.length - 1 }),
      address: fc.nat({ max: 7 }),
      fate: fc.constantFrom(
        'ok' as const,
        'ok' as const,
        'ok' as const,
        'twice' as const,
        'late' as const,
        'lost' as const,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('turned' as const), pod: fc.nat({ max: PODS.length - 1 }) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 40 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.constantFrom(300, 900, 2400, 5000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('clock' as const),
      node: fc.nat({ max: 1 }),
      seconds: fc.constantFrom(-3600, -4, -2, 0, 2, 4, 600),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), node: fc.nat({ max: 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rule' as const), version: fc.nat({ max: EDITS.length - 1 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('lie' as const),
      node: fc.nat({ max: 1 }),
      pod: fc.nat({ max: PODS.length }),
    }),
  },
);

/** Fast-check prefers short lists; long ones are where memory matters. */
export const steps = (maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(step, { minLength: Math.floor(maxLength / 4), maxLength, size: 'max' });

/** Plays the steps and returns the content of the bus at the end. */
export function play(all: readonly Step[]): History {
  const collectors = NODES.map((node) => new SimCollector(node));
  const offsets = NODES.map(() => 0);
  const history: History = { frames: [], changes: initialRules(), lists: initialLists() };
  let held: { node: string; frame: ViolationFrame }[] = [];
  let now = T0;
  // A resend follows so soon that it does not change later times.
  const store = (node: string, frame: ViolationFrame, again = false) => {
    if (!again) now += 2_000;
    history.frames.push({ sequence: history.frames.length + 1, timestampMicros: now, node, frame });
  };
  for (const one of all) {
    now += SECOND / 5;
    if (one.do === 'wait') now += one.seconds * SECOND;
    else if (one.do === 'clock') offsets[one.node] = one.seconds * SECOND;
    else if (one.do === 'forget') collectors[one.node]?.forget();
    else if (one.do === 'rule') edit(history, EDITS[one.version] as (typeof EDITS)[number], now);
    else if (one.do === 'lie') {
      const pod = PODS[one.pod]?.ref ?? podRef('ghost');
      const liar = new SimCollector(NODES[one.node] as string, `liar-${now}`);
      liar.spoof(pod, 50);
      store(liar.node, liar.flush(now) as ViolationFrame);
    } else if (one.do === 'turned') {
      const { node, ref } = PODS[one.pod] as (typeof PODS)[number];
      const n = NODES.indexOf(node);
      // The first event is published last.
      const frames = ['ipv4-source', 'quarantine-ingress'].map((vector, after) => {
        collectors[n]?.spoof(ref, 1, { vector });
        return collectors[n]?.flush(now + (offsets[n] as number) + after) as ViolationFrame;
      });
      for (const frame of frames.reverse()) store(node, frame);
    } else {
      const pod = PODS[one.pod] as (typeof PODS)[number];
      const n = NODES.indexOf(pod.node);
      const collector = collectors[n] as SimCollector;
      collector.spoof(pod.ref, one.packets, { vector: VECTORS[one.vector] as string, sample: sampleOf(one.address) });
      const frame = collector.flush(now + (offsets[n] as number));
      if (!frame) continue;
      if (one.fate === 'late') held.push({ node: pod.node, frame });
      else if (one.fate !== 'lost') store(pod.node, frame);
      if (one.fate === 'twice') store(pod.node, frame, true);
      if (pod.late) listLate(history, pod.node, now);
      if (one.fate !== 'late') {
        for (const { node, frame: overtaken } of held) store(node, overtaken);
        held = [];
      }
    }
  }
  return history;
}

function sampleOf(address: number) {
  return {
    observedAt: T0,
    direction: 'transmit' as const,
    etherType: 0x800,
    l4Protocol: 17,
    claimedMac: '',
    expectedMac: '',
    claimedAddress: `10.9.0.${address}`,
    expectedAddress: '',
    destinationAddress: '',
    sourcePort: 0,
    destinationPort: 0,
    length: 60,
    gsoSegments: 1,
    cgroupId: '',
    socketCookie: '',
    head: Buffer.alloc(0),
    process: null,
  };
}

function initialRules(): RuleChange[] {
  return Object.entries(RULES).map(([name, rule], index) => ({
    sequence: index + 1,
    timestampMicros: 1,
    key: `correlation.cluster._.${name}`,
    json: JSON.stringify(rule),
  }));
}

function edit(history: History, [name, rule]: [string, object | null | string], timestampMicros: number): void {
  const json = rule === null || typeof rule === 'string' ? rule : JSON.stringify(rule);
  const sequence = history.changes.length + 1;
  history.changes.push({ sequence, timestampMicros, key: `correlation.cluster._.${name}`, json });
}

const listed = (node: string, withLate: boolean): PodRef[] =>
  PODS.filter((pod) => pod.node === node && (withLate || !pod.late)).map((pod) => pod.ref);

function initialLists(): PodSnapshot[] {
  return NODES.map((node, index) => ({
    node,
    timestampMicros: 1,
    revision: index + 1,
    previousRevision: 0,
    json: snapshotJson(node, listed(node, false), 1),
  }));
}

function listLate(history: History, node: string, now: number): void {
  const before = history.lists.filter((entry) => entry.node === node);
  if (before.length > 1) return;
  const previousRevision = before[0]?.revision ?? 0;
  const json = snapshotJson(node, listed(node, true), 2);
  const timestampMicros = now + (3 * SECOND) / 10;
  history.lists.push({ node, timestampMicros, revision: history.lists.length + 1, previousRevision, json });
}

export interface EmittedVerdict {
  streamMicros: number;
  verdict: Verdict;
}

const messages = new WeakMap<ViolationFrame, Buffer>();
/** The message as stored on the bus. */
function messageOf(frame: ViolationFrame): Buffer {
  const made = messages.get(frame) ?? encodeViolationFrame(frame);
  messages.set(frame, made);
  return made;
}

/** An engine that reads a history from one of its frames on, as a replica does. */
export class Reader {
  readonly printed: EmittedVerdict[] = [];
  readonly engine: CorrelationEngine;
  /** null: frames are processed as built, without encoding and decoding. */
  readonly #registry: ProjectedFrameRegistry | null;
  readonly #history: History;
  readonly #inventory = new PodInventory();
  readonly #rules = new RuleHistory({});
  #lists = 0;
  #changes = 0;
  /** Index of the next frame. */
  next: number;

  constructor(history: History, start: number, options: Partial<CorrelationEngineOptions> = {}, offTheBus = true) {
    this.#history = history;
    this.#registry = offTheBus ? new ProjectedFrameRegistry() : null;
    this.next = start;
    this.engine = new CorrelationEngine({
      inventory: this.#inventory,
      rules: this.#rules,
      onVerdict: (verdict, streamMicros) => this.printed.push({ streamMicros, verdict }),
      ...options,
    });
  }

  /** Processes the next frame; false at the end. */
  step(): boolean {
    const { frames, lists, changes } = this.#history;
    const frame = frames[this.next];
    if (!frame) return false;
    this.next++;
    const isKnown = (entry: { timestampMicros: number } | undefined) =>
      entry !== undefined && entry.timestampMicros <= frame.timestampMicros;
    // Lists arrive in the order of the bucket, which is the order of their times.
    while (isKnown(lists[this.#lists])) this.#inventory.apply(lists[this.#lists++] as PodSnapshot);
    while (isKnown(changes[this.#changes])) this.#rules.apply(changes[this.#changes++] as RuleChange);
    const read = this.#registry === null ? frame.frame : decodeProjectedFrame(messageOf(frame.frame), this.#registry);
    this.engine.processFrame(frame, read);
    return true;
  }

  run(): this {
    while (this.step());
    return this;
  }
}

/** The rule history of all changes. */
export function rulesOfHistory(history: History): RuleHistory {
  const rules = new RuleHistory({});
  for (const change of history.changes) rules.apply(change);
  return rules;
}

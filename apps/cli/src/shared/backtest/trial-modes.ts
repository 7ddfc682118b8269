/**
 * Frames as nodes would have reported them under other modes of packets. Pure.
 *
 * The recorded action of a packet is the mode of its time. It changes only where the tried values change the mode
 * that is in force now: an audited packet of a vector that would be enforced is a drop, and none is counted of one
 * that would be off. What a vector that was off would have found is not recorded. Bound: MAX_PODS, of which a node gets a
 * further one only while more are free than it has; the packets of the others count.
 */
import { CounterHulls } from '@bailiff/correlation';
import {
  ConfigError,
  effectiveMode,
  type LoggedChange,
  type Mode,
  parseConfigKey,
  parseConfigValue,
  requireReadKey,
  requireSignature,
  type SignedConfig,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  type SpoofScoped,
  spoofCluster,
  spoofScopeKeys,
  TUNABLE_VECTORS,
  type Vector,
} from '@bailiff/policy';
import type { ProjectedFrame, ProjectedViolation } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';

export type SpoofValues = ReadonlyMap<string, SpoofScoped>;

/** Values in force after all changes. A change that readers refuse leaves the last good value. */
export function spoofValuesOf(changes: readonly LoggedChange[], signed: SignedConfig): SpoofValues {
  const values = new Map<string, SpoofScoped>();
  for (const change of changes) {
    if (!change.key.startsWith('spoof.')) continue;
    try {
      requireSignature(signed, change);
      const key = parseConfigKey(change.key);
      requireReadKey(key);
      if (change.json === null) values.delete(change.key);
      else values.set(change.key, parseConfigValue(key, change.json) as SpoofScoped);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
    }
  }
  return values;
}

/** Packets whose fate changes. */
export interface ChangedPackets {
  vector: string;
  /** As recorded. */
  from: Mode;
  to: Mode;
  packets: number;
  pods: number;
}

/** A vector that no policy names: packets of interfaces without a binding. */
const UNKNOWN = 'unknown-interface';
const TUNABLE: ReadonlySet<string> = new Set(TUNABLE_VECTORS);
/** Until a cluster policy is stored. */
const UNKNOWN_MODE = spoofCluster.parse({}).unknown;
/** Pods that are counted, each once a vector and change of mode. */
const MAX_PODS = 50_000;
/** Scopes whose modes are kept; beyond it they are determined again. */
const MAX_SCOPES = 16_384;

const ACTIONS = { enforce: 'drop', audit: 'audit' } as const;
const recordedMode = ({ action }: ProjectedViolation): Mode => (action === 'drop' ? 'enforce' : 'audit');

function modeOf(values: SpoofValues, vector: string, keys: readonly string[]): Mode {
  if (vector === UNKNOWN) return (values.get(SPOOF_CLUSTER_KEY) as SpoofCluster | undefined)?.unknown ?? UNKNOWN_MODE;
  return effectiveMode(
    vector as Vector,
    [SPOOF_CLUSTER_KEY, ...keys].map((key) => values.get(key)),
  );
}

export class TrialModes {
  readonly #now: SpoofValues;
  readonly #trial: SpoofValues;
  readonly #hulls = new CounterHulls();
  readonly #room: FairCounts;
  /** Some pods are not counted. */
  hasMorePods = false;
  readonly #changed = new Map<string, Omit<ChangedPackets, 'pods'> & { pods: Set<string> }>();
  /** Mode in the trial, by scope and vector; null: that of now. */
  readonly #modes = new Map<string, Mode | null>();

  /** @param now values in force by key @param tried values that replace them @param maxPods for tests */
  constructor(now: SpoofValues, tried: SpoofValues, maxPods = MAX_PODS) {
    this.#room = new FairCounts(maxPods);
    this.#now = now;
    this.#trial = new Map([...now, ...tried]);
  }

  /** Some packets may be counted twice. */
  get inexact(): boolean {
    return this.#hulls.inexact;
  }

  /** In a fixed order. */
  get changed(): ChangedPackets[] {
    return [...this.#changed.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { pods, ...one }]) => ({ ...one, pods: pods.size }));
  }

  /**
   * The frame under the tried modes; the same object if nothing changes.
   * @param counts whether a violation is in the range, and not refused
   */
  frame(node: string, frame: ProjectedFrame, counts: (index: number) => boolean): ProjectedFrame {
    let violations: ProjectedViolation[] | null = null;
    frame.violations.forEach((violation, index) => {
      const to = this.#changeOf(violation);
      if (to === null || to === recordedMode(violation)) return;
      if (counts(index)) this.#count(node, violation, to);
      violations ??= [...frame.violations];
      violations[index] = asIn(violation, to);
    });
    return violations === null ? frame : { ...frame, violations };
  }

  #changeOf({ kind, vector, pod }: ProjectedViolation): Mode | null {
    if (kind !== 'spoof' || !(TUNABLE.has(vector) || vector === UNKNOWN)) return null;
    const workload = pod && pod.ownerName !== '' ? pod.ownerName : null;
    const keys = pod ? spoofScopeKeys(pod.namespace, workload) : [];
    const name = [vector, ...keys].join(' ');
    const known = this.#modes.get(name);
    if (known !== undefined) return known;
    const to = modeOf(this.#trial, vector, keys);
    const change = to === modeOf(this.#now, vector, keys) ? null : to;
    if (this.#modes.size >= MAX_SCOPES) this.#modes.clear();
    this.#modes.set(name, change);
    return change;
  }

  #count(node: string, violation: ProjectedViolation, to: Mode): void {
    const { vector, pod } = violation;
    const from = recordedMode(violation);
    const name = [vector, from, to].join(' ');
    const counted = this.#changed.get(name) ?? { vector, from, to, packets: 0, pods: new Set<string>() };
    counted.packets += this.#hulls.growth(node, violation);
    if (pod && !counted.pods.has(pod.uid)) {
      if (this.#room.hasRoom(node)) {
        this.#room.add(node);
        counted.pods.add(pod.uid);
      } else this.hasMorePods = true;
    }
    this.#changed.set(name, counted);
  }
}

/** Without the identity of its counter, which has the recorded action. */
function asIn(violation: ProjectedViolation, mode: Mode): ProjectedViolation {
  const { kind, vector, state, counterEpoch, firstSeenAt, lastSeenAt, pod, sample, operation, severity } = violation;
  const none = { cumulativePackets: 0, count: 0, suppressed: 0 };
  const { cumulativePackets, count, suppressed } = mode === 'off' ? none : violation;
  const action = mode === 'off' ? violation.action : ACTIONS[mode];
  const counts = { cumulativePackets, count, suppressed };
  const times = { firstSeenAt, lastSeenAt };
  return { kind, vector, action, state, counterEpoch, ...counts, ...times, pod, sample, operation, severity };
}

/**
 * What enforcing a policy in audit would have denied, from the violations on the bus.
 *
 * An operation counts for the first matching rule in audit, in the order in which policies are
 * merged. Operations of earlier rules may match this policy too, so they are counted apart.
 */
import { readNewest } from '@bailiff/bus';
import {
  NodeFrames,
  type Reader,
  RefusedCounts,
  restText,
  Tally,
  type TallyGroup,
  type TallyRest,
} from '@bailiff/insight';
import type { RuntimePolicy } from '@bailiff/policy';
import { plural, shortList } from '@bailiff/response';
import type { PodRef } from '@bailiff/schemas';

export interface Denied {
  /** Null: the container of no listed pod. */
  pod: PodRef | null;
  nodeName: string;
  vector: string;
}

export interface WouldDeny {
  groups: TallyGroup<Denied>[];
  /** All operations, those beyond the groups included. */
  operations: number;
  rest: TallyRest;
  /** Audited operations that count for rules before this policy's denials, by vector. */
  before: TallyGroup<{ vector: string }>[];
  /** Audited operations on paths or addresses that cannot be resolved. */
  unresolved: number;
  /** Some operations may be counted twice. */
  inexact: boolean;
  /** Only the newest violations of the range were read. */
  cut: boolean;
  refusals: RefusedCounts;
}

/** Whether the rule or posture of a vector denies once the policy is enforced. Pure. */
export function denies(policy: Pick<RuntimePolicy, 'rules' | 'defaultPosture'>, name: string, vector: string): boolean {
  const own = vector.startsWith(`${name}/`) ? vector.slice(name.length + 1) : '';
  const rule = policy.rules.find((one) => one.name === own);
  if (rule) return rule.action === 'block' || rule.action === 'kill';
  const posture = /^(.+)-posture$/.exec(own)?.[1];
  return Object.entries(policy.defaultPosture).some(([name, action]) => name === posture && action === 'block');
}

/** @throws BusError */
export async function readWouldDeny(
  reader: Reader,
  { key, name, policy }: { key: string; name: string; policy: RuntimePolicy },
  sinceMs: number,
): Promise<WouldDeny> {
  const { bus, signal } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const refusals = new RefusedCounts();
  const tally = new Tally<Denied>(({ pod, nodeName, vector }) => [pod?.uid ?? nodeName, vector].join(' '));
  const before = new Tally<{ vector: string }>(({ vector }) => vector);
  const unresolved = new Tally<null>(() => '');
  const { cut } = await readNewest(bus, 'VIOLATIONS', {
    sinceMs,
    onMessage: (message) =>
      frames.read(message, ({ node: nodeName, frame, refused }) => {
        const from = { nodeName, sequence: message.sequence };
        frame.violations.forEach((violation, index) => {
          const { kind, action, pod, vector, policy: owner } = violation;
          const why = refused[index];
          if (kind !== 'lsm' || action !== 'audit') return;
          if (why) {
            if (owner === key) refusals.add(nodeName, why, violation);
          } else if (owner === '' && vector === 'unresolved') unresolved.add(null, violation, from);
          else if (owner === key && denies(policy, name, vector)) tally.add({ pod, nodeName, vector }, violation, from);
          else if (owner !== '' && owner <= key) before.add({ vector }, violation, from);
        });
      }),
    signal,
  });
  return {
    groups: tally.groups(),
    rest: tally.rest,
    cut,
    refusals,
    before: before.groups(),
    operations: tally.packets,
    unresolved: unresolved.packets,
    inexact: tally.inexact,
  };
}

/** Rules named in one line. */
const MAX_RULES = 6;

/** What limits the list beside `incompleteOf` (unsent.ts), one sentence each. Pure. */
export function caveatsOf(found: WouldDeny, policy: RuntimePolicy): string[] {
  const { before, inexact, refusals, rest, unresolved } = found;
  const earlier = before.map(({ key, packets }) => `${key.vector} ${packets}`);
  return [
    ...(inexact ? ['there are too many counters: some operations may be counted twice'] : []),
    ...(earlier.length > 0
      ? [
          `an operation counts for the first rule in audit that matches: these come before, and the policy may deny some of theirs too: ${shortList(earlier, MAX_RULES)}`,
        ]
      : []),
    ...(unresolved > 0 && policy.onUnresolvable === 'block'
      ? [
          `${plural(unresolved, 'operation')} had a path or an address that cannot be resolved: enforcing denies those of its containers (onUnresolvable)`,
        ]
      : []),
    ...refusals.refusedLines(),
    ...(restText(rest) === '' ? [] : [restText(rest)]),
  ];
}

/**
 * `bailiff rules test`: judges events that a user wrote down by the fold that correlators run, and
 * compares the verdicts with the expected ones.
 */
import path from 'node:path';
import {
  judgeScenario,
  operationSample,
  packetSample,
  podRef,
  type ScenarioEvent,
  trialRuleHistory,
} from '@bailiff/correlation';
import { parseDurationMs } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import {
  GROUP_BY,
  IFACE_STATES,
  LEVELS,
  OPERATIONS,
  PACKET_ACTIONS,
  USERSPACE_VECTORS,
  VECTORS,
} from '@bailiff/vocabulary';
import * as z from 'zod';
import { parseRulesFile } from '../../shared/backtest/trial-rules.ts';
import { type CaseResult, caseName, readCases } from '../../shared/cases.ts';
import { readDocument } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';

/** Events of a case, repetitions included. */
const MAX_EVENTS = 100_000;

const word = z.string().min(1).max(4096);
const span = z
  .string()
  .refine((text) => parseDurationMs(text) !== null, 'must be a duration with a unit, such as "30s"')
  .transform((text) => (parseDurationMs(text) as number) * 1_000);
const podName = z.string().regex(/^[^/]{1,253}\/[^/]{1,253}$/, 'must be namespace/name');
const owner = z.string().regex(/^[A-Za-z]{1,64}\/[^/]{1,253}$/, 'must be Kind/name');

const event = z.strictObject({
  at: span.prefault('0s').describe('since the begin of the case'),
  every: span.optional().describe('interval of the repetitions'),
  times: z.number().int().min(1).max(MAX_EVENTS).default(1),
  pod: podName,
  node: word.default('node-a'),
  owner: owner.optional(),
  count: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).default(1).describe('packets, or calls of the operation'),
  action: z.enum(PACKET_ACTIONS).default('drop'),
  vector: z
    .enum([...VECTORS, ...USERSPACE_VECTORS])
    .optional()
    .describe('of packets'),
  state: z.enum(IFACE_STATES).default('programmed'),
  claimedAddress: word.optional(),
  claimedMac: word.optional(),
  destinationAddress: word.optional(),
  destinationPort: z.number().int().min(0).max(65_535).optional(),
  policyRule: z
    .string()
    .regex(/^[^/]+\/[^/]+$/, 'must be policy/rule')
    .optional()
    .describe('of operations'),
  operation: z.enum(OPERATIONS).optional(),
  severity: z.enum(LEVELS).default('medium'),
  executable: word.optional(),
  subject: word.optional(),
});
const expected = z.strictObject({
  rule: word,
  level: z.enum(LEVELS).optional(),
  at: span.optional(),
  pod: podName.optional(),
  node: word.optional(),
  groupBy: z.enum(GROUP_BY).optional(),
});
const ruleCase = z.strictObject({
  name: caseName,
  events: z.array(event).min(1).max(MAX_EVENTS),
  verdicts: z.array(expected).max(1_000).describe('all of them; [] = none'),
});
const ruleCases = z.strictObject({
  rules: word.optional().describe('file as of `bailiff backtest --rules`, relative to this file'),
  only: z.boolean().default(false).describe('without the built-in rules'),
  tests: z.array(ruleCase).min(1).max(10_000),
});
type Event = z.output<typeof event>;
type Expected = z.output<typeof expected>;

const given = <T extends object>(fields: T) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

function violationOf(one: Event, observedAt: number): ScenarioEvent['violation'] {
  const { action, state, vector, claimedAddress, claimedMac, destinationAddress, destinationPort } = one;
  if (one.policyRule === undefined) {
    const sample = packetSample(given({ observedAt, claimedAddress, claimedMac, destinationAddress, destinationPort }));
    return { action, state, sample, ...(vector === undefined ? {} : { vector }) };
  }
  const { operation, executable, subject, severity, policyRule } = one;
  return {
    kind: 'lsm',
    vector: policyRule,
    action,
    severity,
    sample: null,
    operation: operationSample(given({ observedAt, operation, executable, subject })),
    policy: `runtime.cluster._.${policyRule.split('/')[0]}`,
    policyRevision: 1,
  };
}

function* eventsOf(one: Event): Generator<ScenarioEvent> {
  const [namespace, name] = one.pod.split('/') as [string, string];
  const [ownerKind = '', ownerName = ''] = one.owner?.split('/') ?? [];
  const ownerUid = one.owner === undefined ? '' : `${namespace}/${one.owner}`;
  const pod = podRef(name, { uid: one.pod, namespace, ownerKind, ownerName, ownerUid });
  for (let turn = 0; turn < one.times; turn += 1) {
    const atMicros = one.at + turn * (one.every ?? 0);
    yield { atMicros, node: one.node, pod, count: one.count, violation: violationOf(one, atMicros) };
  }
}

interface Found {
  atMicros: number;
  verdict: Verdict;
}

const podOf = ({ pod }: Verdict) => (pod ? `${pod.namespace}/${pod.name}` : '');
const seconds = (micros: number) => `${micros / 1e6}s`;
const shown = ({ atMicros, verdict }: Found) =>
  `${verdict.rule} (${verdict.level}) of ${podOf(verdict) || `${verdict.groupBy} ${verdict.groupKey}`} at ${seconds(atMicros)}`;

const fits = ({ rule, level, at, pod, node, groupBy }: Expected, { atMicros, verdict }: Found) =>
  rule === verdict.rule &&
  (level ?? verdict.level) === verdict.level &&
  (at ?? atMicros) === atMicros &&
  (pod ?? podOf(verdict)) === podOf(verdict) &&
  (node ?? verdict.nodeName) === verdict.nodeName &&
  (groupBy ?? verdict.groupBy) === verdict.groupBy;

/**
 * Pairs expected with found verdicts, as many as possible: one that several expectations fit goes to
 * that which fits no other.
 */
function pair(wanted: readonly Expected[], found: readonly Found[]): { missing: Expected[]; left: Found[] } {
  const takenBy = new Map<Found, Expected>();
  const take = (one: Expected, tried: Set<Found>): boolean => {
    for (const verdict of found) {
      if (tried.has(verdict) || !fits(one, verdict)) continue;
      tried.add(verdict);
      const other = takenBy.get(verdict);
      if (other !== undefined && !take(other, tried)) continue;
      takenBy.set(verdict, one);
      return true;
    }
    return false;
  };
  const missing = wanted.filter((one) => !take(one, new Set()));
  return { missing, left: found.filter((verdict) => !takenBy.has(verdict)) };
}

/** @returns one sentence for each missing or unexpected verdict */
function differences(wanted: readonly Expected[], found: readonly Found[]): string[] {
  const { missing, left } = pair(wanted, found);
  const text = ({ rule, at, ...more }: Expected) =>
    [
      rule,
      ...Object.entries({ ...more, at: at === undefined ? undefined : seconds(at) }).flatMap(([key, value]) =>
        value === undefined ? [] : [`${key} ${value}`],
      ),
    ].join(', ');
  return [...missing.map((one) => `no verdict ${text(one)}`), ...left.map((one) => `unexpected: ${shown(one)}`)];
}

/** @throws CliError CLI_CONFIG, CLI_USAGE; ENOENT, EACCES */
export async function testRules(given: readonly string[], io: CliIo): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const { file, cases } of await readCases(given, io, ruleCases)) {
    const where = cases.rules && path.resolve(path.dirname(file), cases.rules);
    const rules = where ? parseRulesFile(await readDocument(where, io), where).rules : {};
    for (const { name, events, verdicts: wanted } of cases.tests) {
      const total = events.reduce((sum, { times }) => sum + times, 0);
      if (total > MAX_EVENTS) {
        results.push({ file, name, failures: [`has ${total} events; at most ${MAX_EVENTS} are allowed`] });
        continue;
      }
      const history = trialRuleHistory([], rules, cases.only);
      const { verdicts, refusals } = judgeScenario(
        history,
        events.flatMap((one) => [...eventsOf(one)]),
      );
      const refused = refusals.map(({ reason, detail }) => `a correlator refuses an event: ${reason}: ${detail}`);
      results.push({ file, name, failures: [...refused, ...differences(wanted, verdicts)] });
    }
  }
  return results;
}

/**
 * `policy simulate`: decides the operations that violations record under policies of files, as if
 * these were enforced. Nothing is written.
 */

import { ROOT, readNewest } from '@bailiff/bus';
import { matchesPod, NodeFrames, type PodSelector, type Reader, RefusedCounts, readPods } from '@bailiff/insight';
import { ConfigError, parseConfigKey, parseConfigValue, type RuntimePolicy } from '@bailiff/policy';
import { mergeSelected, type NamedPolicy, type RuleIR } from '@bailiff/runtime';
import { revisionIn } from '../../shared/config/history.ts';
import type { FilePolicy } from '../../shared/policy/files.ts';
import { RUNTIME_KEYS } from '../../shared/policy/names.ts';
import { namedPolicies, readPolicies } from '../../shared/policy/stored.ts';
import type { Session } from '../../shared/session.ts';
import { coverageOf } from './coverage.ts';
import { judgeRecord, type RuleOf } from './judge.ts';
import { OperationRecord, type Unsampled } from './record.ts';
import { report, reportJson, type Simulation } from './render.ts';

export interface SimulationOptions {
  /** As the user wrote it. */
  since: string;
  sinceMs: number;
  /** Null: all. */
  pod: PodSelector | null;
  /** Without the policies in force. */
  alone: boolean;
  /** Called after each message with the messages read and the messages left. */
  onProgress?: (read: number, left: number) => void;
}

export interface SimulateOptions extends SimulationOptions {
  json: boolean;
}

/** Ends of what was read. */
interface Read {
  record: OperationRecord;
  refusals: RefusedCounts;
  oldestMicros: number | null;
  cut: boolean;
}

async function readRecord(reader: Reader, { sinceMs, pod, onProgress }: SimulationOptions): Promise<Read> {
  const { bus, signal } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const record = new OperationRecord();
  const refusals = new RefusedCounts();
  let oldestMicros: number | null = null;
  let messages = 0;
  const { cut } = await readNewest(bus, 'VIOLATIONS', {
    sinceMs,
    onMessage: (message) => {
      oldestMicros ??= message.timestampMicros;
      messages += 1;
      onProgress?.(messages, message.pending);
      return frames.read(message, ({ node, frame, refused }) => {
        frame.violations.forEach((violation, index) => {
          if (violation.kind !== 'lsm' || (pod && !matchesPod(pod, violation.pod))) return;
          const why = refused[index];
          if (why) refusals.add(node, why, violation);
          else record.add(node, violation);
        });
      });
    },
    signal,
  });
  return { record, refusals, oldestMicros, cut };
}

const revisionName = (key: string, revision: number) => `${key} ${revision}`;

/** Rules of policies that may have counted operations without a sample, by revision. */
class RecordedRules {
  readonly #rules = new Map<string, Map<string, RuleIR>>();

  add(named: NamedPolicy): void {
    const { rules } = mergeSelected([named]);
    const byVector = rules.map((rule) => [`${rule.policyName}/${rule.name}`, rule] as const);
    this.#rules.set(revisionName(named.key, named.policy.revision), new Map(byVector));
  }

  /** @param json a stored value; one that all readers refused counted nothing */
  addStored(key: string, json: string): void {
    try {
      const parsed = parseConfigKey(key);
      this.add({ key, ...parsed, policy: parseConfigValue(parsed, json) as RuntimePolicy });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
    }
  }

  readonly ruleOf: RuleOf = ({ policy, policyRevision, vector }) =>
    this.#rules.get(revisionName(policy, policyRevision))?.get(vector) ?? null;
}

/**
 * Reads the rules that counted operations without a sample. CONFIG_LOG has replaced and deleted
 * policies, but follows the bucket with a delay. @throws BusError
 */
async function readRules(
  { bus, signal }: Reader,
  stored: readonly NamedPolicy[],
  cells: readonly Unsampled[],
): Promise<RuleOf> {
  const rules = new RecordedRules();
  const wanted = new Set(cells.filter(({ posture }) => posture === null).map(({ policy }) => policy));
  if (wanted.size > 0) {
    await readNewest(bus, 'CONFIG_LOG', {
      sinceMs: 0,
      filterSubjects: [`${ROOT}.config.${RUNTIME_KEYS}`],
      onMessage: (message) => {
        const key = message.subject.slice(`${ROOT}.config.`.length);
        const { value, text } = revisionIn(message);
        if (wanted.has(key) && value !== undefined) rules.addStored(key, text);
      },
      signal,
    });
  }
  for (const named of stored) if (wanted.has(named.key)) rules.add(named);
  return rules.ruleOf;
}

/** As enforced, and beside or instead of the stored ones. Pure. */
export function policiesToTry(
  files: readonly FilePolicy[],
  stored: readonly NamedPolicy[],
  alone: boolean,
): { policies: NamedPolicy[]; tried: Set<string> } {
  const tried = new Set(files.map(({ key }) => key));
  const enforced = files.map((file): NamedPolicy => ({ ...file, policy: { ...file.policy, mode: 'enforce' } }));
  const others = alone ? [] : stored.filter(({ key, policy }) => !tried.has(key) && policy.enabled);
  return { policies: [...others, ...enforced], tried };
}

/** @throws PolicyError POLICY_LIMIT, BusError; the signal's reason */
export async function readSimulation(
  reader: Reader,
  files: readonly FilePolicy[],
  options: SimulationOptions,
): Promise<Simulation> {
  const [stored, pods, read] = await Promise.all([readPolicies(reader), readPods(reader), readRecord(reader, options)]);
  const { record } = read;
  const inForce = namedPolicies(stored);
  const { policies, tried } = policiesToTry(files, inForce, options.alone);
  const ruleOf = await readRules(reader, inForce, record.unsampled);
  const judged = await judgeRecord(record, { policies, tried, pods, ruleOf }, reader.signal);
  const wanted = options.pod;
  const shownPods = wanted ? pods.filter((pod) => matchesPod(wanted, pod)) : pods;
  return {
    ...judged,
    since: options.since,
    alone: options.alone,
    files,
    beside: policies.length - files.length,
    coverage: coverageOf(record, { policies, tried, pods: shownPods }),
    oldestMicros: read.oldestMicros,
    omitted: record.omitted,
    inexact: record.inexact,
    cut: read.cut,
    refusals: read.refusals,
  };
}

/** @throws as readSimulation */
export async function simulate(
  session: Session,
  files: readonly FilePolicy[],
  options: SimulateOptions,
): Promise<void> {
  const { out, decoder } = session;
  const simulation = await readSimulation(session, files, options);
  decoder.reportUndecodable(out);
  if (options.json) out.json(reportJson(simulation));
  else report(session, simulation);
}

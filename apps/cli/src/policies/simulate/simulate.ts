/**
 * `policy simulate`: decides the operations that violations record under policies of files, as if
 * these were enforced. Nothing is written.
 */

import { ROOT, readNewest } from '@bailiff/bus';
import {
  matchesPod,
  NodeFrames,
  type PodSelector,
  type Reader,
  RefusedCounts,
  readBusTime,
  readPods,
} from '@bailiff/insight';
import { ConfigError, parseConfigKey, parseConfigValue, type RuntimePolicy } from '@bailiff/policy';
import { mergeSelected, type NamedPolicy, type RuleIR } from '@bailiff/runtime';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../../shared/arguments.ts';
import { revisionIn } from '../../shared/config/history.ts';
import type { CliIo } from '../../shared/io.ts';
import { type FilePolicy, readPolicyFiles } from '../../shared/policy/files.ts';
import { RUNTIME_KEYS } from '../../shared/policy/names.ts';
import { namedPolicies, readPolicies } from '../../shared/policy/stored.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { incompleteOf } from '../../shared/unsent.ts';
import { coverageOf } from './coverage.ts';
import { judgeRecord, type RuleOf } from './judge.ts';
import { OperationRecord, type Unsampled } from './record.ts';
import { report, reportJson, type Simulation } from './render.ts';

interface SimulationOptions {
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

interface SimulateOptions extends SimulationOptions {
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
function policiesToTry(
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
    // Of one pod, only its node counts.
    incomplete: await incompleteOf(
      reader,
      { ...read, sinceMs: options.sinceMs },
      wanted ? shownPods[0]?.nodeName : undefined,
    ),
  };
}

/** @throws as readSimulation */
export async function simulate(
  session: Session,
  files: readonly FilePolicy[],
  options: SimulateOptions,
): Promise<void> {
  const { out } = session;
  const simulation = await readSimulation(session, files, options);
  if (options.json) out.json(reportJson(simulation));
  else report(session, simulation);
}

interface Flags {
  since: string;
  pod?: string;
  namespace?: string;
  alone?: boolean;
  json?: boolean;
}

export function registerSimulate(parent: Command, io: CliIo, files: string): void {
  const command = parent
    .command('simulate')
    .description('show which recorded operations policies would have denied, without changing anything')
    .argument('<file...>', files)
    .option('--since <when>', 'start of the range of violations', '7d')
    .option('--pod <pod>', 'only operations of this pod: namespace/name, name or uid')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--alone', 'without the policies that are in force')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy simulate no-shell.yaml --since 7d
  bailiff policy learn --pod shop/web-0 --for 10m --record && bailiff policy simulate web.yaml --since 15m

Every policy of the files is judged as enforced, whatever its mode. It replaces the stored policy of its name, and
holds beside the other policies as they are stored now. Each operation is judged alone: one that follows a denied
operation might not have happened.

Only violations are recorded: operations that a policy denied, or that a rule or posture in audit counted. The output
says for each pod and class what is recorded of allowed operations. \`policy learn --record\` records all of a pod's.

Exit codes: 0 simulated, whatever was found; 6 a file was refused.
`,
    );
  onBus(command, io, async ({ since, pod, namespace, alone = false, json = false }: Flags, given: string[]) => {
    const from = parseWhen(since, '--since');
    const options = { since, pod: pod === undefined ? null : parsePod(pod, '--pod', namespace), alone, json };
    const read = await readPolicyFiles(given, io);
    return async (session) => simulate(session, read, { ...options, sinceMs: from(await readBusTime(session)) });
  });
}

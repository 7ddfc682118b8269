/**
 * `policy learn`: observes a pod under an audited posture and proposes a minimal policy.
 *
 * With --install, a temporary audit policy covers all operations and is removed at the end; after
 * SIGKILL it remains, and a later run reports it. Every ROUND_MS the learned operations are added
 * to it as allowed, so that new samples show new operations. With --since, it proposes from what the
 * bus has recorded, and writes nothing.
 */
import { constants, existsSync } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { filters, readNewest } from '@bailiff/bus';
import {
  deletedText,
  NodeFrames,
  type PlacedPod,
  type PodSelector,
  type Reader,
  readBusTime,
  readNodes,
  readPods,
} from '@bailiff/insight';
import { type ConfigSigner, POSTURE_CLASSES, type PostureClass } from '@bailiff/policy';
import { nodeObstacle, plural, podName, span } from '@bailiff/response';
import { loadPolicyFile, OPERATIONS, PolicyError, postureOf } from '@bailiff/runtime';
import { EXIT } from '@bailiff/service';
import { CliError } from '../../shared/errors.ts';
import { onePod } from '../../shared/one-of.ts';
import { shortName } from '../../shared/policy/names.ts';
import { exitCodeOfState } from '../../shared/policy/places.ts';
import { namedPolicies, readPolicies } from '../../shared/policy/stored.ts';
import type { Session } from '../../shared/session.ts';
import { explainedSets } from '../explain/container-sets.ts';
import { SeenOperations } from './observed-operations.ts';
import type { Proposal } from './propose.ts';
import { proposalYaml } from './propose-yaml.ts';
import { proposalFor, TemporaryPolicy, temporaryKey } from './temporary-policy.ts';

interface OutputOptions {
  /** Null for stdout. */
  out: string | null;
  json: boolean;
}

export interface LearnRecordedOptions {
  pod: PodSelector;
  /** As the user wrote it. */
  since: string;
  sinceMs: number;
  /** Called after each message with the messages read and the messages left. */
  onProgress?: (read: number, left: number) => void;
}

export interface LearnOptions extends OutputOptions {
  pod: PodSelector;
  forMs: number;
  install: boolean;
  /** Count each operation exactly, for `policy simulate`. */
  record: boolean;
  by: string;
  sign?: ConfigSigner;
}

/** What was observed of a pod. */
interface Observed {
  pod: PlacedPod;
  seen: SeenOperations;
  classes: readonly PostureClass[];
  /** `10m` */
  span: string;
}

/** A node applies a change within a second; its next frames then contain new operations. */
const ROUND_MS = 3_000;
/** A node without a status for longer is considered stopped. */
const STALE_MS = 120_000;

/** Classes that are audited and not blocked in some container. Pure. */
export function watchedClasses(sets: ReturnType<typeof explainedSets>): PostureClass[] {
  return POSTURE_CLASSES.filter((name) =>
    sets.some(({ set }) => set !== null && set.postures[name].audit !== null && set.postures[name].block === null),
  );
}

/** Observes until the time has passed or a signal arrives. */
async function watch(
  session: Session,
  { nodeName }: PlacedPod,
  seen: SeenOperations,
  forMs: number,
  installed: TemporaryPolicy | null,
) {
  const { bus, io, out } = session;
  const sinceMs = await readBusTime(session);
  const frames = new NodeFrames(session, sinceMs);
  const end = new AbortController();
  const failures: unknown[] = [];
  let renewing: Promise<void> = Promise.resolve();
  const timer = setTimeout(() => end.abort(), forMs);
  const rounds = setInterval(() => {
    renewing = renewing.then(async () => {
      if (await installed?.renew(seen)) {
        seen.beginRound();
        out.note(`${plural(seen.size, 'operation')} so far`);
      }
    });
    renewing = renewing.catch((error: unknown) => {
      failures.push(error);
      end.abort();
    });
  }, ROUND_MS);
  try {
    await readNewest(bus, 'VIOLATIONS', {
      sinceMs,
      // No other node may say what the pod does.
      filterSubjects: [filters.violations({ node: nodeName, kind: 'lsm' })],
      onFollow: () => undefined,
      onMessage: (message) =>
        frames.read(message, ({ node, frame, refused }) => {
          frame.violations.forEach((violation, index) => {
            if (!refused[index]) seen.take(node, violation);
          });
        }),
      signal: AbortSignal.any([end.signal, io.signal]),
    });
  } finally {
    clearTimeout(timer);
    clearInterval(rounds);
    await renewing;
  }
  if (failures.length > 0) throw failures[0];
}

/** Fails before the observation instead of after it. @throws CliError CLI_USAGE */
async function requireFile(file: string | null): Promise<void> {
  if (file === null) return;
  const folder = path.dirname(file);
  const writable = await access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable) throw new CliError('CLI_USAGE', `--out: ${folder} is not a writable directory`);
  if (existsSync(file)) throw new CliError('CLI_USAGE', `--out: ${file} already exists`);
}

/**
 * @throws CliError CLI_STATE if the node enforces no policies, with the exit code of `policy
 * status`
 */
async function requireNode(session: Session, pod: PlacedPod): Promise<void> {
  const [nodes, nowMs] = await Promise.all([readNodes(session), readBusTime(session)]);
  const obstacle = nodeObstacle(nodes.get(pod.nodeName), nowMs, STALE_MS);
  if (!obstacle) return;
  const { reason, remedy, state } = obstacle;
  const exitCode = exitCodeOfState(state);
  const code = exitCode === EXIT.ok ? {} : { exitCode };
  throw new CliError('CLI_STATE', `${pod.nodeName}: ${reason}`, { remedy, ...code });
}

async function shouldInstall(
  session: Session,
  pod: PlacedPod,
  classes: readonly PostureClass[],
  requested: boolean,
): Promise<boolean> {
  if (requested) return true;
  if (classes.length > 0) return false;
  const { io } = session;
  const none = `no default posture audits ${podName(pod)}`;
  if (io.interactive) {
    const answer = await io.ask(`${none}. Install a temporary policy that audits all its operations? [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return true;
  }
  throw new CliError('CLI_STATE', none, {
    remedy: 'pass --install for a temporary policy that does, or set a defaultPosture to audit',
  });
}

/**
 * @throws CliError CLI_STATE | CLI_NOT_FOUND, BusError; what writing the
 * file throws
 */
export async function learn(session: Session, options: LearnOptions): Promise<void> {
  const { out } = session;
  await requireFile(options.out);
  const [pods, stored] = await Promise.all([readPods(session), readPolicies(session)]);
  const pod = onePod(pods, options.pod);
  await requireNode(session, pod);
  const classes = watchedClasses(explainedSets(namedPolicies(stored), pod));
  const { record } = options;
  const install = await shouldInstall(session, pod, classes, options.install || record);
  const seen = new SeenOperations(pod, record ? temporaryKey(pod).name : null);
  const installed = install ? new TemporaryPolicy(session, pod, options) : null;
  const startMs = session.io.nowMs();
  try {
    if (installed) {
      await installed.install(seen);
      const name = shortName(installed.key);
      out.note(
        `the temporary policy ${name} audits all its operations (if this command is killed: bailiff policy delete ${name})`,
      );
    } else out.note(`learning the classes that a policy audits: ${classes.join(', ')}`);
    out.note(`observing ${podName(pod)} for ${span(options.forMs)}; Ctrl-C ends early and proposes what was observed`);
    await watch(session, pod, seen, options.forMs, installed);
  } finally {
    await installed?.remove();
  }
  const tookMs = session.io.nowMs() - startMs;
  const observed = { pod, seen, classes: install ? POSTURE_CLASSES : classes, span: span(tookMs) };
  return print(session, proposed(observed), options);
}

export interface Proposed {
  proposal: Proposal;
  /** The policy as YAML with comments. */
  text: string;
  /** `5 operations became 2 rules` */
  summary: string;
  seen: Pick<SeenOperations, 'size' | 'violations' | 'unsampled' | 'unsampledNow'>;
  pod: PlacedPod;
  /** Why the policy would be refused as it is; usually empty. */
  problems: string[];
}

/** @throws CliError CLI_STATE if nothing was observed */
function proposed({ pod, seen, classes, span: from }: Observed): Proposed {
  if (seen.size === 0) {
    throw new CliError('CLI_STATE', `no operation of ${podName(pod)} was audited: nothing to propose`, {
      remedy:
        'check that the pod was active, and with `bailiff policy status` that policies are in force on its node; ' +
        `\`bailiff policy learn --pod ${podName(pod)} --for 10m --record\` records what it does`,
    });
  }
  const proposal = proposalFor(pod, seen, classes);
  const { violations, unsampled, unsampledNow } = seen;
  const text = proposalYaml(proposal, {
    pod: podName(pod),
    node: pod.nodeName,
    span: from,
    unsampled,
    unsampledNow,
    violations,
  });
  const left = proposal.left.length > 0 ? `, ${proposal.left.length} omitted` : '';
  const summary = `${plural(seen.size, 'operation')} became ${plural(proposal.rules.length, 'rule')}${left}`;
  return { proposal, text, summary, seen, pod, problems: problemsOf(text) };
}

/** A long observation must not be lost because of one invalid entry, which the reviewer can remove. */
function problemsOf(text: string): string[] {
  try {
    loadPolicyFile(text, 'proposed');
    return [];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.message.split('\n');
  }
}

async function print(
  { io, out }: Session,
  { proposal, text, summary, seen, pod, problems }: Proposed,
  { out: file, json }: OutputOptions,
): Promise<void> {
  if (file !== null) await writeFile(file, text);
  if (json) {
    const { name, namespace, spec, left } = proposal;
    const { size: operations, violations, unsampled, unsampledNow } = seen;
    out.json({ pod: podName(pod), operations, violations, unsampled, unsampledNow, left, name, namespace, spec, file });
  } else if (file === null) io.stdout.write(text);
  out.note(`${summary}${file === null ? '' : `: ${file}`}`);
  if (problems.length > 0) out.note('without changes, the policy would be refused:', ...problems);
  if (file !== null) out.note(`review the policy, then: bailiff policy apply ${file}`);
}

/**
 * What `learn` would have proposed at the end of an observation since then, as far as operations were audited:
 * by a policy of today or of then, or by `learn --record`. Reads only.
 * @throws CliError CLI_STATE | CLI_NOT_FOUND | CLI_USAGE, BusError; the signal's reason
 */
export async function proposeRecorded(reader: Reader, options: LearnRecordedOptions): Promise<Proposed> {
  const { since, sinceMs, onProgress } = options;
  const [pods, stored] = await Promise.all([readPods(reader), readPolicies(reader)]);
  const pod = onePod(pods, options.pod);
  const seen = new SeenOperations(pod, temporaryKey(pod).name);
  const frames = new NodeFrames(reader, sinceMs);
  let messages = 0;
  const { cut } = await readNewest(reader.bus, 'VIOLATIONS', {
    sinceMs,
    // No other node may say what the pod does.
    filterSubjects: [filters.violations({ node: pod.nodeName, kind: 'lsm' })],
    onMessage: (message) => {
      messages += 1;
      onProgress?.(messages, message.pending);
      return frames.read(message, ({ node, frame, refused }) =>
        frame.violations.forEach((violation, index) => {
          if (refused[index]) return;
          const before = seen.size;
          seen.take(node, violation);
          if (seen.size > before) seen.beginRound();
        }),
      );
    },
    signal: reader.signal,
  });
  if (cut) reader.note('only the newest violations of this time were read: there are too many');
  const deleted = await deletedText(reader, sinceMs);
  if (deleted !== '') reader.note(deleted);
  const watched = new Set(watchedClasses(explainedSets(namedPolicies(stored), pod)));
  for (const { operation } of seen.learned) {
    const op = OPERATIONS.find((name) => name === operation.operation);
    const name = op === undefined ? null : postureOf(op);
    if (name) watched.add(name);
  }
  const classes = seen.isRecorded ? POSTURE_CLASSES : POSTURE_CLASSES.filter((name) => watched.has(name));
  return proposed({ pod, seen, classes, span: `the record since ${since}` });
}

/** @throws as proposeRecorded; what writing the file throws */
export async function learnRecorded(session: Session, options: LearnRecordedOptions & OutputOptions): Promise<void> {
  await requireFile(options.out);
  const found = await proposeRecorded(session, options);
  session.decoder.reportUndecodable(session.out);
  return print(session, found, options);
}

/**
 * `policy learn`: watches what an audited posture says of a pod and proposes the least policy.
 *
 * With --install it puts a temporary policy in place that audits everything of the pod, and takes it away again however it ends, but for
 * SIGKILL: it only audits, and a later run says that it is there. While it watches it writes into that policy what it has learned, every
 * ROUND_MS: what is allowed is counted no more, so that the few operations that are shown are new ones.
 */
import { constants, existsSync } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { filters } from '@bailiff/bus';
import { POSTURE_CLASSES, type PostureClass } from '@bailiff/policy';
import { nodeObstacle } from '@bailiff/response';
import { loadPolicyFile, PolicyError } from '@bailiff/runtime';
import type { ViolationFrame } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { type PodSelector, podName } from '../../shared/arguments.ts';
import { readStream } from '../../shared/bus/read-stream.ts';
import { CliError } from '../../shared/errors.ts';
import { readNodes } from '../../shared/read/nodes.ts';
import { onePod, type PlacedPod, readPods } from '../../shared/read/pods.ts';
import type { Session } from '../../shared/session.ts';
import { plural } from '../../shared/text/plural.ts';
import { span } from '../../shared/text/time.ts';
import { explainedSets } from '../explain/container-sets.ts';
import { shortName } from '../names.ts';
import { exitCodeOfState } from '../status-rules.ts';
import { namedPolicies, readPolicies } from '../stored.ts';
import { SeenOperations } from './observed-operations.ts';
import { proposalYaml } from './propose-yaml.ts';
import { Installed, proposalFor } from './temporary-policy.ts';

export interface LearnOptions {
  pod: PodSelector;
  forMs: number;
  /** Null: stdout. */
  out: string | null;
  install: boolean;
  by: string;
  json: boolean;
}

/** A node takes a change within a second; its next frames then show what is new. */
const ROUND_MS = 3_000;
/** A node silent for longer judges nothing that we would hear of. */
const STALE_MS = 120_000;

/** Classes of which something is audited and nothing blocked, in any container. Pure. */
export function watchedClasses(sets: ReturnType<typeof explainedSets>): PostureClass[] {
  return POSTURE_CLASSES.filter((name) =>
    sets.some(({ set }) => set !== null && set.postures[name].audit !== null && set.postures[name].block === null),
  );
}

/** Reads until the time is up or somebody says so. */
async function watch(session: Session, seen: SeenOperations, forMs: number, installed: Installed | null) {
  const { bus, decoder, io, out } = session;
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
    await readStream(bus, 'VIOLATIONS', {
      sinceMs: io.nowMs(),
      filterSubjects: [filters.violations({ kind: 'lsm' })],
      follow: true,
      onMessage: (message) =>
        decoder.read(message, 'ViolationFrame', ({ violations }: ViolationFrame) => {
          for (const violation of violations) seen.take(violation);
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

/** Before an hour of watching: a file that cannot be written is an error now. @throws CliError CLI_USAGE */
async function requireFile(file: string | null): Promise<void> {
  if (file === null) return;
  const folder = path.dirname(file);
  const writable = await access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable) throw new CliError('CLI_USAGE', `--out: ${folder} is no folder that can be written to`);
  if (existsSync(file)) throw new CliError('CLI_USAGE', `--out: ${file} is there already`);
}

/** @throws CliError CLI_STATE when nobody would tell of anything; with the exit code that `policy status` has for it */
async function requireNode(session: Session, pod: PlacedPod): Promise<void> {
  const status = (await readNodes(session)).get(pod.nodeName);
  const obstacle = nodeObstacle(status, session.io.nowMs(), STALE_MS);
  if (!obstacle) return;
  const { reason, remedy, state } = obstacle;
  const exitCode = exitCodeOfState(state);
  const code = exitCode === EXIT.ok ? {} : { exitCode };
  throw new CliError('CLI_STATE', `${pod.nodeName}: ${reason}`, { remedy, ...code });
}

async function wantsInstall(
  session: Session,
  pod: PlacedPod,
  classes: readonly PostureClass[],
  said: boolean,
): Promise<boolean> {
  if (said) return true;
  if (classes.length > 0) return false;
  const { io } = session;
  const none = `nothing of ${podName(pod)} is audited that no rule names`;
  if (io.interactive) {
    const answer = await io.ask(`${none}. Install a policy that audits all of it, for the time of learning? [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return true;
  }
  throw new CliError('CLI_STATE', none, {
    remedy:
      '--install puts a policy in place that does, and takes it away afterwards; or set a defaultPosture to audit',
  });
}

/** @returns the exit code. @throws CliError CLI_STATE | CLI_NOT_FOUND, BusError; what writing the file throws */
export async function learn(session: Session, options: LearnOptions): Promise<number> {
  const { out } = session;
  await requireFile(options.out);
  const [pods, stored] = await Promise.all([readPods(session), readPolicies(session)]);
  const pod = onePod(pods, options.pod);
  await requireNode(session, pod);
  const classes = watchedClasses(explainedSets(namedPolicies(stored), pod));
  const install = await wantsInstall(session, pod, classes, options.install);
  const seen = new SeenOperations(pod);
  const installed = install ? new Installed(session, pod, options.by) : null;
  const startMs = session.io.nowMs();
  try {
    if (installed) {
      await installed.install(seen);
      const name = shortName(installed.key);
      out.note(`${name} audits everything of it until then (if this is killed: bailiff policy delete ${name})`);
    } else out.note(`learning of ${classes.join(', ')}: what a policy audits`);
    out.note(`learning from ${podName(pod)} for ${span(options.forMs)}; Ctrl-C ends it and proposes what was seen`);
    await watch(session, seen, options.forMs, installed);
  } finally {
    await installed?.remove();
  }
  return propose(session, pod, seen, install ? POSTURE_CLASSES : classes, {
    ...options,
    tookMs: session.io.nowMs() - startMs,
  });
}

async function propose(
  session: Session,
  pod: PlacedPod,
  seen: SeenOperations,
  classes: readonly PostureClass[],
  { out: file, json, tookMs }: LearnOptions & { tookMs: number },
): Promise<number> {
  const { io, out } = session;
  if (seen.size === 0) {
    throw new CliError('CLI_STATE', `nothing of ${podName(pod)} was audited: nothing to propose`, {
      remedy: 'did it do anything? `bailiff policy status` says whether policies are in force on its node',
    });
  }
  const proposal = proposalFor(pod, seen, classes);
  const { violations, unsampled, unsampledNow } = seen;
  const text = proposalYaml(proposal, {
    pod: podName(pod),
    node: pod.nodeName,
    span: span(tookMs),
    unsampled,
    unsampledNow,
    violations,
  });
  const said = `${plural(seen.size, 'operation')} became ${plural(proposal.rules.length, 'rule')}`;
  if (file !== null) await writeFile(file, text);
  if (json) {
    const { name, namespace, spec, left } = proposal;
    out.json({
      pod: podName(pod),
      operations: seen.size,
      violations,
      unsampled,
      unsampledNow,
      left,
      name,
      namespace,
      spec,
      file,
    });
  } else if (file === null) io.stdout.write(text);
  out.note(
    `${said}${proposal.left.length > 0 ? `, ${proposal.left.length} are left out` : ''}${file === null ? '' : `: ${file}`}`,
  );
  try {
    loadPolicyFile(text, file ?? 'proposed');
  } catch (error) {
    // Ten minutes of watching are not thrown away for one entry that a person can take out.
    if (!(error instanceof PolicyError)) throw error;
    out.note('as it is, it would be refused:', ...error.message.split('\n'));
  }
  if (file !== null) out.note(`review it, then: bailiff policy apply ${file}`);
  return 0;
}

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
import { BusError, deleteConfig, filters, writeConfig } from '@bailiff/bus';
import {
  ConfigError,
  type ConfigKey,
  formatConfigKey,
  POSTURE_CLASSES,
  type PostureClass,
  parseConfigValue,
} from '@bailiff/policy';
import { loadPolicyFile, PolicyError } from '@bailiff/runtime';
import type { ViolationFrame } from '@bailiff/schemas';
import { readStream } from '../bus/read-stream.ts';
import { readStored } from '../config/change.ts';
import { CliError } from '../errors.ts';
import { readNodes } from '../read/nodes.ts';
import { type PodSelector, podName } from '../selectors.ts';
import type { Session } from '../session.ts';
import { plural } from '../text/plural.ts';
import { span } from '../text/time.ts';
import { explainedSets } from './explained.ts';
import { lastingLabels, SeenOperations } from './learn-seen.ts';
import { keyOf, shortName } from './names.ts';
import { onePod, type PlacedPod, readPods } from './pods.ts';
import { type Proposal, proposePolicy } from './propose.ts';
import { proposalYaml } from './propose-yaml.ts';
import { nodeObstacle } from './status-rules.ts';
import { namedPolicies, readPolicies } from './stored.ts';

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
const WHY = 'bailiff policy learn';

/** Classes of which something is audited and nothing blocked, in any container. Pure. */
export function watchedClasses(sets: ReturnType<typeof explainedSets>): PostureClass[] {
  return POSTURE_CLASSES.filter((name) =>
    sets.some(({ set }) => set !== null && set.postures[name].audit !== null && set.postures[name].block === null),
  );
}

/** Which policies would be proposed and installed. Pure. */
export function proposalFor(pod: PlacedPod, seen: SeenOperations, classes: readonly PostureClass[]): Proposal {
  const owner = pod.owners.at(-1)?.name ?? pod.name;
  const { namespace } = pod;
  const proposal = proposePolicy(seen.learned, {
    name: owner,
    namespace,
    matchLabels: lastingLabels(pod.labels),
    classes,
  });
  if (seen.dropped > 0) proposal.left.push(`${seen.dropped} further operations: more distinct ones than are kept`);
  if (Object.keys(lastingLabels(pod.labels)).length === 0)
    proposal.left.push('REVIEW: the pod has no labels that last, so this selects the whole namespace');
  return proposal;
}

/** The temporary policy, and what is known of it. */
class Installed {
  readonly key: ConfigKey;
  readonly #session: Session;
  readonly #pod: PlacedPod;
  readonly #by: string;
  /** Of the bucket, as we wrote it; 0: not there. */
  #revision = 0;
  /** Operations that it allows. */
  #allowed = 0;

  constructor(session: Session, pod: PlacedPod, by: string) {
    this.key = keyOf(pod.namespace, `learn-${pod.name}`.slice(0, 63).replace(/[-.]+$/, ''));
    this.#session = session;
    this.#pod = pod;
    this.#by = by;
  }

  #value(seen: SeenOperations) {
    const { spec } = proposalFor(this.#pod, seen, POSTURE_CLASSES);
    const defaultPosture = Object.fromEntries(POSTURE_CLASSES.map((name) => [name, 'audit']));
    const selector = { podLabels: { matchLabels: { ...this.#pod.labels } } };
    return {
      ...spec,
      description: `Temporary, of ${WHY}.`,
      mode: 'audit',
      severity: 'informational',
      selector,
      defaultPosture,
    };
  }

  async #write(seen: SeenOperations): Promise<void> {
    const { bus } = this.#session;
    const value = this.#value(seen);
    parseConfigValue(this.key, JSON.stringify(value));
    const written = await writeConfig(bus, this.key, value, {
      by: this.#by,
      why: WHY,
      expectedRevision: this.#revision,
    });
    this.#revision = written.bucketRevision;
    this.#allowed = seen.size;
  }

  /** @throws CliError CLI_STATE */
  async install(seen: SeenOperations): Promise<void> {
    const name = shortName(this.key);
    if (Object.keys(this.#pod.labels).length === 0) {
      throw new CliError('CLI_STATE', `${podName(this.#pod)} has no labels: a policy cannot select it alone`);
    }
    if (await readStored(this.#session, this.key)) {
      throw new CliError('CLI_STATE', `the policy ${name} is there already`, {
        remedy: `does somebody else learn from it? If not: bailiff policy delete ${name}`,
      });
    }
    await this.#write(seen);
  }

  /** Writes what is new into it. When that cannot be it stays, which is no failure. @returns whether it was written */
  async renew(seen: SeenOperations): Promise<boolean> {
    if (this.#revision === 0 || seen.size === this.#allowed) return false;
    try {
      await this.#write(seen);
      return true;
    } catch (error) {
      // The bus is away, or the policy has become too large for it: what is learned is worth more than the order it is learned in.
      if (!(error instanceof ConfigError || error instanceof BusError)) throw error;
      this.#session.out.note(`${formatConfigKey(this.key)} stays as it is: ${error.message}`);
      this.#allowed = seen.size;
      return false;
    }
  }

  async remove(): Promise<void> {
    if (this.#revision === 0) return;
    const { bus, out } = this.#session;
    const name = shortName(this.key);
    const byHand = `bailiff policy delete ${name}`;
    try {
      await deleteConfig(bus, this.key, { by: this.#by, why: WHY, expectedRevision: this.#revision });
      out.note(`${name} is taken away`);
    } catch (error) {
      if (!(error instanceof ConfigError)) {
        out.note(`${name} could not be taken away: ${byHand}`);
        throw error;
      }
      out.note(`${name} was changed by somebody else and is left: ${byHand}`);
    }
  }
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

/** @throws CliError CLI_STATE when nobody would tell of anything */
async function requireNode(session: Session, pod: PlacedPod): Promise<void> {
  const status = (await readNodes(session)).get(pod.nodeName);
  const obstacle = nodeObstacle(status, session.io.nowMs(), STALE_MS);
  if (obstacle) throw new CliError('CLI_STATE', `${pod.nodeName}: ${obstacle.reason}`, { remedy: obstacle.remedy });
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
    out.note(`as it is, it would be refused:\n${error.message}`);
  }
  if (file !== null) out.note(`review it, then: bailiff policy apply ${file}`);
  return 0;
}

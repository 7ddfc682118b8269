/**
 * The temporary policy of `policy learn`: put in place, renewed with what was learned, taken away. Invariant: only what we wrote ourselves is
 * written over or taken away.
 */
import { BusError, deleteConfig, writeConfig } from '@bailiff/bus';
import {
  ConfigError,
  type ConfigKey,
  formatConfigKey,
  POSTURE_CLASSES,
  type PostureClass,
  parseConfigValue,
} from '@bailiff/policy';
import { podName } from '../../shared/arguments.ts';
import { readStored } from '../../shared/config/change.ts';
import { CliError } from '../../shared/errors.ts';
import type { PlacedPod } from '../../shared/read/pods.ts';
import type { Session } from '../../shared/session.ts';
import { keyOf, shortName } from '../names.ts';
import { lastingLabels, type SeenOperations } from './observed-operations.ts';
import { type Proposal, proposePolicy } from './propose.ts';

const WHY = 'bailiff policy learn';

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
export class Installed {
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

  /** Writes what is new into it. When that cannot be it isUnchanged, which is no failure. @returns whether it was written */
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

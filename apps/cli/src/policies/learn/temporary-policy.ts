/**
 * The temporary policy of `policy learn`: install, renew, remove. Invariant: only a policy that
 * this command wrote is overwritten or deleted.
 */
import { BusError, deleteConfig, writeConfig } from '@bailiff/bus';
import type { PlacedPod } from '@bailiff/insight';
import {
  ConfigError,
  type ConfigKey,
  type ConfigSigner,
  formatConfigKey,
  POSTURE_CLASSES,
  type PostureClass,
  parseConfigValue,
} from '@bailiff/policy';
import { podName } from '@bailiff/response';
import { isSame, readStored } from '../../shared/config/change.ts';
import { CliError } from '../../shared/errors.ts';
import { signing } from '../../shared/key-file.ts';
import { keyOf, shortName } from '../../shared/policy/names.ts';
import type { Session } from '../../shared/session.ts';
import { lastingLabels, type SeenOperations } from './observed-operations.ts';
import { type Proposal, proposePolicy } from './propose.ts';
import { recordingRules } from './recording.ts';

const WHY = 'bailiff policy learn';

/** The policy proposed for what was observed. Pure. */
export function proposalFor(pod: PlacedPod, seen: SeenOperations, classes: readonly PostureClass[]): Proposal {
  const owner = pod.owners.at(-1)?.name ?? pod.name;
  const { namespace } = pod;
  const proposal = proposePolicy(seen.learned, {
    name: owner,
    namespace,
    matchLabels: lastingLabels(pod.labels),
    classes,
  });
  if (seen.dropped > 0) proposal.left.push(`${seen.dropped} further operations: above the limit of distinct ones`);
  if (Object.keys(lastingLabels(pod.labels)).length === 0)
    proposal.left.push('REVIEW: the pod has no lasting labels, so the policy selects the whole namespace');
  return proposal;
}

export const temporaryKey = ({ namespace, name }: PlacedPod): ConfigKey =>
  keyOf(namespace, `learn-${name}`.slice(0, 63).replace(/[-.]+$/, ''));

export interface TemporaryPolicyOptions {
  /** Count each observed operation, instead of allowing it uncounted. */
  record: boolean;
  by: string;
  sign?: ConfigSigner;
}

/** State of the temporary policy. */
export class TemporaryPolicy {
  readonly key: ConfigKey;
  readonly #session: Session;
  readonly #pod: PlacedPod;
  readonly #options: TemporaryPolicyOptions;
  /** Bucket revision of the last write; 0 if it is not installed. */
  #revision = 0;
  /** The value of a write without a response in time: the bus may have it all the same. */
  #unanswered: Record<string, unknown> | null = null;
  /** Operations that the installed policy allows. */
  #allowed = 0;

  constructor(session: Session, pod: PlacedPod, options: TemporaryPolicyOptions) {
    this.key = temporaryKey(pod);
    this.#session = session;
    this.#pod = pod;
    this.#options = options;
  }

  #value(seen: SeenOperations) {
    const { spec } = proposalFor(this.#pod, seen, POSTURE_CLASSES);
    const defaultPosture = Object.fromEntries(POSTURE_CLASSES.map((name) => [name, 'audit']));
    const selector = { podLabels: { matchLabels: { ...this.#pod.labels } } };
    return {
      ...spec,
      ...(this.#options.record ? { rules: recordingRules(seen.learned) } : {}),
      description: `Temporary policy of ${WHY}.`,
      mode: 'audit',
      severity: 'informational',
      selector,
      defaultPosture,
    };
  }

  #written() {
    const { by, sign } = this.#options;
    return { by, why: WHY, ...signing(sign, this.#session.io.nowMs()) };
  }

  /** Whether the bus has the value of such a write. @throws BusError */
  async #lookUp(): Promise<void> {
    const next = this.#unanswered;
    if (!next) return;
    const stored = await readStored(this.#session, this.key);
    if (stored?.why === WHY && isSame({ key: this.key, stored, next, because: '' }))
      this.#revision = stored.bucketRevision;
    this.#unanswered = null;
  }

  async #write(seen: SeenOperations): Promise<void> {
    const { bus } = this.#session;
    const value = this.#value(seen);
    parseConfigValue(this.key, JSON.stringify(value));
    await this.#lookUp();
    this.#unanswered = value;
    const written = await writeConfig(bus, this.key, value, {
      ...this.#written(),
      expectedRevision: this.#revision,
    });
    this.#revision = written.bucketRevision;
    this.#unanswered = null;
    this.#allowed = seen.size;
  }

  /** @throws CliError CLI_STATE */
  async install(seen: SeenOperations): Promise<void> {
    const name = shortName(this.key);
    if (Object.keys(this.#pod.labels).length === 0) {
      throw new CliError('CLI_STATE', `${podName(this.#pod)} has no labels, so a policy cannot select only this pod`);
    }
    if (await readStored(this.#session, this.key)) {
      throw new CliError('CLI_STATE', `the policy ${name} already exists`, {
        remedy: `another \`policy learn\` may observe this pod; if not: bailiff policy delete ${name}`,
      });
    }
    await this.#write(seen);
  }

  /**
   * Adds newly observed operations. A failed write is reported and not fatal. @returns whether it
   * was written
   */
  async renew(seen: SeenOperations): Promise<boolean> {
    if (this.#revision === 0 || seen.size === this.#allowed) return false;
    try {
      await this.#write(seen);
      return true;
    } catch (error) {
      // Without the bus, or above the size limit, the observation continues with the old policy.
      if (!(error instanceof ConfigError || error instanceof BusError)) throw error;
      this.#session.out.note(`${formatConfigKey(this.key)} was not updated: ${error.message}`);
      this.#allowed = seen.size;
      return false;
    }
  }

  async remove(): Promise<void> {
    if (this.#revision === 0 && !this.#unanswered) return;
    const { bus, out } = this.#session;
    const name = shortName(this.key);
    const byHand = `bailiff policy delete ${name}`;
    try {
      await this.#lookUp();
      if (this.#revision === 0) return;
      await deleteConfig(bus, this.key, { ...this.#written(), expectedRevision: this.#revision });
      out.note(`${name} is deleted`);
    } catch (error) {
      if (!(error instanceof ConfigError)) {
        out.note(`${name} could not be deleted: ${byHand}`);
        throw error;
      }
      out.note(`${name} was changed by another author and is kept: ${byHand}`);
    }
  }
}

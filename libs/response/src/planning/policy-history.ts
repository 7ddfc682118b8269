/**
 * Policy history: the response policies in force at a time, from CONFIG_LOG. Pure. A verdict is
 * planned by the policies at its own time, so every replica and every restart plans the same.
 * Guards and dry run use the newest configuration when the task runs.
 *
 * A disarming has no history: the newest counts, and it stays until it expires or is revoked, also when
 * CONFIG_LOG is recreated. Bounds: MAX_POLICY_KEYS, in which ended disarmings make room; MAX_POLICY_SETS.
 */
import {
  BUILT_IN_RESPONSE_POLICIES,
  type ConfigKey,
  type ConfigVersion,
  type Disarm,
  disarmKeys,
  isSetBack,
  type LoggedChange,
  latestDisarm,
  parseConfigKey,
  parseConfigValue,
  type RefusedChange,
  type ResponsePolicy,
  refusedChange,
  requireReadKey,
  requireSignature,
  SignedConfig,
  tooManyKeys,
  VersionedConfig,
} from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';

/**
 * A verdict is planned by the configuration of this long before it, which every replica has read by
 * then.
 */
export const POLICY_SETTLE_MICROS = 1_000_000;
/** Sets of policies kept, one for each change. The oldest one also covers earlier times. */
export const MAX_POLICY_SETS = 1_024;
/** Keys read per kind. A further key is reported and not read. */
export const MAX_POLICY_KEYS = 1_024;

export interface Policies extends ConfigVersion {
  /** Enabled policies, including built-in defaults. */
  byName: ReadonlyMap<string, ResponsePolicy>;
}

export class PolicyHistory {
  readonly #signed: SignedConfig;
  readonly #policies: VersionedConfig<ResponsePolicy, ResponsePolicy, Pick<Policies, 'byName'>>;
  /** The newest value of each key; none if the key was deleted. */
  readonly #disarms = new Map<string, { key: ConfigKey; value: Disarm }>();
  readonly #refusedDisarms = new Map<string, RefusedChange>();
  #sequence = 0;
  #newestMicros = 0;
  #formerUntilMicros = 0;

  constructor(signed: SignedConfig = new SignedConfig()) {
    this.#signed = signed;
    this.#policies = new VersionedConfig({
      kind: 'response',
      defaults: BUILT_IN_RESPONSE_POLICIES,
      signed,
      maxKeys: MAX_POLICY_KEYS,
      maxSets: MAX_POLICY_SETS,
      compile: (_, policy) => (policy.enabled ? policy : null),
      setOf: (byName) => ({ byName }),
    });
  }

  /** CONFIG_LOG was recreated and is read again from its first change. */
  streamRecreated(): void {
    this.#policies.streamRecreated();
    this.#refusedDisarms.clear();
    this.#sequence = 0;
    this.#newestMicros = 0;
    this.#formerUntilMicros = Number.POSITIVE_INFINITY;
  }

  /** Sequence in CONFIG_LOG of the newest applied change of any kind. */
  get revision(): number {
    return this.#sequence;
  }

  /** Applies the next change. Ignores changes seen before and other kinds. */
  apply(change: LoggedChange): void {
    if (change.sequence <= this.#sequence) return;
    this.#sequence = change.sequence;
    const { timestampMicros } = change;
    if (timestampMicros > this.#newestMicros || isSetBack(timestampMicros, this.#newestMicros))
      this.#newestMicros = timestampMicros;
    const key = keyOf(change);
    // Changes of other kinds too are proof of how late it is.
    if (key?.kind === 'response') this.#policies.apply({ ...change, timestampMicros: this.#newestMicros });
    else this.#policies.limitFormer(change.timestampMicros);
    this.#formerUntilMicros = this.#policies.formerUntilMicros ?? this.#formerUntilMicros;
    if (key?.kind === 'disarm') this.#applyDisarm(change, key);
  }

  /** As in VersionedConfig. */
  coverEarlier(timeMicros: number): void {
    this.#policies.coverEarlier(timeMicros);
  }

  /** Enabled policies in force at a time. */
  at(timeMicros: number): Policies {
    return this.#policies.at(timeMicros);
  }

  /** The newest versions, with the policies of a deleted log that are still in force now. */
  latest(nowMicros: number): Policies {
    this.#policies.at(nowMicros);
    return this.#policies.latest();
  }

  /**
   * Verdicts before this time may be planned by policies of a deleted log, which only this process
   * knows; 0 if there are none.
   */
  formerUntilMicros(nowMicros: number): number {
    return this.#formerUntilMicros === Number.POSITIVE_INFINITY ? nowMicros : this.#formerUntilMicros;
  }

  /** Describes the disarming that covers the node or namespace; null if armed. */
  disarmedFor(nowMs: number, where: { node: string; namespace: string | null }): string | null {
    const covering = disarmKeys(where.node, where.namespace).flatMap((key) => this.#disarms.get(key) ?? []);
    const disarms = covering.map(({ value }) => value);
    const latest = latestDisarm(disarms, nowMs);
    const [disarm, key] = [disarms[latest], covering[latest]?.key];
    if (!disarm || !key) return null;
    const scope = key.scope === 'cluster' ? 'the cluster' : `${key.scope} ${key.namespace ?? key.name}`;
    return `${scope} is disarmed until ${disarm.until}${disarm.by ? ` by ${disarm.by}` : ''}`;
  }

  /** Number of disarmings in force by scope. */
  disarms(nowMs: number): { cluster: number; node: number; namespace: number } {
    const counts = { cluster: 0, node: 0, namespace: 0 };
    for (const { key, value } of this.#disarms.values())
      if (Date.parse(value.until) > nowMs) counts[key.scope as keyof typeof counts] += 1;
    return counts;
  }

  /** Keys whose newest value was refused, with the reason. */
  refused(): RefusedChange[] {
    return [...this.#policies.latest().problems, ...this.#refusedDisarms.values()];
  }

  #applyDisarm(change: LoggedChange, key: ConfigKey): void {
    try {
      requireReadKey(key);
      requireSignature(this.#signed, change);
      if (change.json === null) this.#disarms.delete(change.key);
      else this.#setDisarm(change.key, key, parseConfigValue(key, change.json) as Disarm);
      this.#refusedDisarms.delete(change.key);
    } catch (error) {
      this.#refusedDisarms.set(
        change.key,
        refusedChange(change, error, this.#disarms.has(change.key) ? 'last-good' : 'nothing'),
      );
    }
  }

  #setDisarm(text: string, key: ConfigKey, value: Disarm): void {
    if (!this.#disarms.has(text) && this.#disarms.size >= MAX_POLICY_KEYS) {
      for (const [other, known] of this.#disarms)
        if (Date.parse(known.value.until) * 1000 <= this.#newestMicros) this.#disarms.delete(other);
      if (this.#disarms.size >= MAX_POLICY_KEYS) tooManyKeys(MAX_POLICY_KEYS);
    }
    this.#disarms.set(text, { key, value });
  }
}

/** Null: a key of another program or a newer version, which its own reader reports. */
function keyOf({ key }: LoggedChange): ConfigKey | null {
  try {
    return parseConfigKey(key);
  } catch {
    return null;
  }
}

/** Whether a policy matches a verdict. One that counts audited violations matches only `actions: [audit]`. */
export function matches(policy: ResponsePolicy, verdict: Pick<Verdict, 'level' | 'rule' | 'pod' | 'audited'>): boolean {
  const { levels, rules, namespaces, actions = ['drop'] } = policy.match;
  if (!policy.enabled) return false;
  if (!actions.includes(verdict.audited ? 'audit' : 'drop')) return false;
  if (levels && !levels.includes(verdict.level)) return false;
  if (rules && !rules.includes(verdict.rule)) return false;
  return !namespaces || (verdict.pod !== null && namespaces.includes(verdict.pod.namespace));
}

/**
 * Policy history: the response policies in force at a time, from CONFIG_LOG. Pure. A verdict is
 * planned by the policies at its own time, so every replica and every restart plans the same.
 * Guards and dry run use the newest configuration when the task runs.
 *
 * An invalid value is reported, and the last valid one stays. So is a value or a deletion without a
 * required signature (ADR 36); then a recreated CONFIG_LOG ends no policy.
 * Deleting a key restores its default. After CONFIG_LOG is recreated, a policy stays until its key is
 * written again, at most FORMER_CONFIG_MICROS after the first change; a disarming stays until it
 * expires or is revoked. Bounds: MAX_VERSIONS_PER_KEY, MAX_POLICY_KEYS, in which deleted policies and
 * ended disarmings make room.
 */
import {
  BUILT_IN_RESPONSE_POLICIES,
  ConfigError,
  type ConfigKey,
  type Disarm,
  disarmKeys,
  FORMER_CONFIG_MICROS,
  latestDisarm,
  parseConfigKey,
  parseConfigValue,
  type ResponsePolicy,
  requireReadKey,
  SignedConfig,
} from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';

/**
 * A verdict is planned by the configuration of this long before it, which every replica has read by
 * then.
 */
export const POLICY_SETTLE_MICROS = 1_000_000;
/** Versions kept per key. The oldest one also covers earlier times. */
export const MAX_VERSIONS_PER_KEY = 256;
/** Keys read per kind. A further key is reported and not read. */
export const MAX_POLICY_KEYS = 1024;

/** One message of CONFIG_LOG. */
export interface ConfigEntry {
  sequence: number;
  timestampMicros: number;
  key: string;
  /** null if the key was deleted. */
  json: string | null;
  /** As in the bus; absent: unsigned. */
  signature?: string;
}

export interface RefusedEntry {
  key: string;
  sequence: number;
  reason: string;
}

export interface Policies {
  /** Sequence in CONFIG_LOG of the newest included change; 0 = built-in defaults. */
  revision: number;
  byName: ReadonlyMap<string, ResponsePolicy>;
}

interface Version<T> {
  timestampMicros: number;
  sequence: number;
  /** null = deleted */
  value: T | null;
}

export class PolicyHistory {
  readonly #signed: SignedConfig;
  #policies = new Map<string, Version<ResponsePolicy>[]>();
  /** The newest value of each key; none if the key was deleted. */
  #disarms = new Map<string, { key: ConfigKey; value: Disarm }>();
  #refused = new Map<string, RefusedEntry>();
  #sequence = 0;
  #newestMicros = 0;
  /** Policies of a deleted log, and the time until which they are in force. */
  #former: { policies: Map<string, Version<ResponsePolicy>[]>; untilMicros: number } | null = null;
  #latest: Policies | null = null;

  constructor(signed: SignedConfig = new SignedConfig()) {
    this.#signed = signed;
  }

  /** CONFIG_LOG was recreated and is read again from its first entry. */
  streamRecreated(): void {
    // Recreated again before the former policies ended: the first log's stay in force too.
    const earlier = this.#former?.untilMicros === Number.POSITIVE_INFINITY ? this.#former.policies : [];
    this.#former = { policies: new Map([...earlier, ...this.#policies]), untilMicros: Number.POSITIVE_INFINITY };
    this.#policies = new Map();
    this.#refused.clear();
    this.#sequence = 0;
    this.#newestMicros = 0;
    this.#latest = null;
  }

  /** Sequence in CONFIG_LOG of the newest applied entry of any kind. */
  get revision(): number {
    return this.#sequence;
  }

  /** Applies the next entry. Ignores entries seen before and other kinds. */
  apply(entry: ConfigEntry): void {
    if (entry.sequence <= this.#sequence) return;
    this.#take(entry);
    this.#limitFormer(entry);
  }

  /** Policies that need a signature stay in force until the new log has all of them. */
  #limitFormer({ timestampMicros }: ConfigEntry): void {
    const former = this.#former;
    if (former?.untilMicros !== Number.POSITIVE_INFINITY) return;
    const isReplaced = (name: string) => this.#policies.has(name) || former.policies.get(name)?.at(-1)?.value === null;
    if (!this.#signed.requires('response') || [...former.policies.keys()].every(isReplaced))
      former.untilMicros = timestampMicros + FORMER_CONFIG_MICROS;
  }

  #take(entry: ConfigEntry): void {
    this.#sequence = entry.sequence;
    // A new leader's clock may be behind: a later change must not take effect before an earlier
    // one.
    this.#newestMicros = Math.max(this.#newestMicros, entry.timestampMicros);
    this.#latest = null;
    let key: ConfigKey;
    try {
      key = parseConfigKey(entry.key);
    } catch {
      return; // A key of another program or a newer version; its own reader reports it.
    }
    if (key.kind !== 'response' && key.kind !== 'disarm') return;
    try {
      requireReadKey(key);
      const refusal = this.#signed.refusal({ ...entry, signature: entry.signature ?? '' });
      if (refusal !== '') throw new ConfigError('CONFIG_SIGNATURE', `${entry.key}: ${refusal}`);
      if (key.kind === 'response') this.#addPolicy(entry, key);
      else this.#setDisarm(entry, key);
      this.#refused.delete(entry.key);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#refused.set(entry.key, { key: entry.key, sequence: entry.sequence, reason: error.message });
    }
  }

  /** Enabled policies in force at a time, including built-in defaults. */
  at(timeMicros: number): Policies {
    return this.#inForce(timeMicros, timeMicros);
  }

  /** The newest versions, with the policies of a deleted log that are still in force now. */
  latest(nowMicros: number): Policies {
    if (nowMicros < (this.#former?.untilMicros ?? 0)) return this.#inForce(Number.MAX_SAFE_INTEGER, nowMicros);
    this.#latest ??= this.at(Number.MAX_SAFE_INTEGER);
    return this.#latest;
  }

  #inForce(timeMicros: number, nowMicros: number): Policies {
    const byName = new Map(Object.entries(BUILT_IN_RESPONSE_POLICIES));
    const former = this.#former;
    const isFormer = former !== null && nowMicros < former.untilMicros;
    let revision = 0;
    for (const name of new Set([...(isFormer ? former.policies.keys() : []), ...this.#policies.keys()])) {
      const version =
        versionAt(this.#policies.get(name) ?? [], timeMicros) ??
        (isFormer ? versionAt(former.policies.get(name) ?? [], timeMicros) : undefined);
      if (!version) continue;
      revision = Math.max(revision, version.sequence);
      if (version.value) byName.set(name, version.value);
    }
    for (const [name, policy] of byName) if (!policy.enabled) byName.delete(name);
    return { revision, byName };
  }

  /**
   * Verdicts before this time may be planned by policies of a deleted log, which only this process
   * knows; 0 if there are none.
   */
  formerUntilMicros(nowMicros: number): number {
    const until = this.#former?.untilMicros ?? 0;
    return until === Number.POSITIVE_INFINITY ? nowMicros : until;
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
  refused(): RefusedEntry[] {
    return [...this.#refused.values()];
  }

  #addPolicy(entry: ConfigEntry, key: ConfigKey): void {
    const known = this.#policies.get(key.name);
    const value = newValue<ResponsePolicy>(entry, key);
    const versions = known ?? [];
    if (!known) {
      this.#makeRoomForPolicy();
      this.#policies.set(key.name, versions);
    }
    versions.push({ timestampMicros: this.#newestMicros, sequence: entry.sequence, value });
    if (versions.length > MAX_VERSIONS_PER_KEY) versions.shift();
  }

  /** Verdicts before its deletion are planned without the policy that was deleted first. */
  #makeRoomForPolicy(): void {
    if (this.#policies.size < MAX_POLICY_KEYS) return;
    let first: { name: string; sequence: number } | null = null;
    for (const [name, versions] of this.#policies) {
      const newest = versions.at(-1);
      if (newest?.value === null && newest.sequence < (first?.sequence ?? Number.POSITIVE_INFINITY))
        first = { name, sequence: newest.sequence };
    }
    if (!first) throw tooManyKeys();
    this.#policies.delete(first.name);
  }

  #setDisarm(entry: ConfigEntry, key: ConfigKey): void {
    const value = newValue<Disarm>(entry, key);
    if (value === null) {
      this.#disarms.delete(entry.key);
      return;
    }
    if (!this.#disarms.has(entry.key) && this.#disarms.size >= MAX_POLICY_KEYS) {
      for (const [text, known] of this.#disarms)
        if (Date.parse(known.value.until) * 1000 <= this.#newestMicros) this.#disarms.delete(text);
      if (this.#disarms.size >= MAX_POLICY_KEYS) throw tooManyKeys();
    }
    this.#disarms.set(entry.key, { key, value });
  }
}

/** The value of an entry. @throws ConfigError if it is invalid */
const newValue = <T>({ json }: ConfigEntry, key: ConfigKey): T | null =>
  json === null ? null : (parseConfigValue(key, json) as T);

const tooManyKeys = () => new ConfigError('CONFIG_KEY', `more than ${MAX_POLICY_KEYS} keys of this kind are not read`);

function versionAt<T>(versions: readonly Version<T>[], timeMicros: number): Version<T> | undefined {
  for (let index = versions.length - 1; index >= 0; index--) {
    const version = versions[index] as Version<T>;
    if (version.timestampMicros <= timeMicros) return version;
  }
  return undefined;
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

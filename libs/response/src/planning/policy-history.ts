/**
 * Policy history: the response policies in force at a time, from CONFIG_LOG. Pure. A verdict is
 * planned by the policies at its own time, so every replica and every restart plans the same.
 * Guards and dry run use the newest configuration when the task runs.
 *
 * An invalid value, or one with a lower `revision`, is reported, and the last valid one stays.
 * Deleting a key restores its default. After CONFIG_LOG is recreated, its first change ends the old
 * policies; a disarming stays until it expires or is revoked. Bounds: MAX_VERSIONS_PER_KEY,
 * MAX_POLICY_KEYS.
 */
import {
  BUILT_IN_RESPONSE_POLICIES,
  ConfigError,
  type ConfigKey,
  type Disarm,
  disarmKeys,
  latestDisarm,
  parseConfigKey,
  parseConfigValue,
  type ResponsePolicy,
  requireReadKey,
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
  #policies = new Map<string, Version<ResponsePolicy>[]>();
  #disarms = new Map<string, { key: ConfigKey; versions: Version<Disarm>[] }>();
  #refused = new Map<string, RefusedEntry>();
  #sequence = 0;
  #newestMicros = 0;
  /** Policies of a deleted log, and the time until which they are in force. */
  #former: { policies: Map<string, Version<ResponsePolicy>[]>; untilMicros: number } | null = null;
  #latest: Policies | null = null;

  /** CONFIG_LOG was recreated and is read again from its first entry. */
  streamRecreated(): void {
    // Recreated twice before an entry arrived: the first log's policies stay in force.
    if (this.#former?.untilMicros !== Number.POSITIVE_INFINITY) {
      this.#former = { policies: this.#policies, untilMicros: Number.POSITIVE_INFINITY };
    }
    this.#policies = new Map();
    for (const disarm of this.#disarms.values()) {
      // Revisions restart too: the next value must not be refused as older.
      disarm.versions = disarm.versions.slice(-1).map((version) => {
        return { ...version, timestampMicros: 0, value: version.value && { ...version.value, revision: 0 } };
      });
    }
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
    this.#sequence = entry.sequence;
    // A new leader's clock may be behind: a later change must not take effect before an earlier
    // one.
    this.#newestMicros = Math.max(this.#newestMicros, entry.timestampMicros);
    this.#latest = null;
    if (this.#former?.untilMicros === Number.POSITIVE_INFINITY) this.#former.untilMicros = entry.timestampMicros;
    let key: ConfigKey;
    try {
      key = parseConfigKey(entry.key);
    } catch {
      return; // A key of another program or a newer version; its own reader reports it.
    }
    if (key.kind !== 'response' && key.kind !== 'disarm') return;
    try {
      requireReadKey(key);
      if (key.kind === 'response') this.#add(this.#versionsOf(this.#policies, key.name), entry, key);
      else this.#add(this.#disarmVersions(entry.key, key), entry, key);
      this.#refused.delete(entry.key);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#refused.set(entry.key, { key: entry.key, sequence: entry.sequence, reason: error.message });
    }
  }

  /** Enabled policies in force at a time, including built-in defaults. */
  at(timeMicros: number): Policies {
    const byName = new Map(Object.entries(BUILT_IN_RESPONSE_POLICIES));
    const former = this.#former;
    const policies = former !== null && timeMicros < former.untilMicros ? former.policies : this.#policies;
    let revision = 0;
    for (const [name, versions] of policies) {
      const version = versionAt(versions, timeMicros);
      if (!version) continue;
      revision = Math.max(revision, version.sequence);
      if (version.value) byName.set(name, version.value);
    }
    for (const [name, policy] of byName) if (!policy.enabled) byName.delete(name);
    return { revision, byName };
  }

  latest(): Policies {
    this.#latest ??= this.at(Number.MAX_SAFE_INTEGER);
    return this.#latest;
  }

  /** Describes the disarming that covers the node or namespace; null if armed. */
  disarmedFor(nowMs: number, where: { node: string; namespace: string | null }): string | null {
    const covering = disarmKeys(where.node, where.namespace).flatMap((key) => this.#disarms.get(key) ?? []);
    const disarms = covering.map(({ versions }) => versionAt(versions, Number.MAX_SAFE_INTEGER)?.value ?? undefined);
    const latest = latestDisarm(disarms, nowMs);
    const [disarm, key] = [disarms[latest], covering[latest]?.key];
    if (!disarm || !key) return null;
    const scope = key.scope === 'cluster' ? 'the cluster' : `${key.scope} ${key.namespace ?? key.name}`;
    return `${scope} is disarmed until ${disarm.until}${disarm.by ? ` by ${disarm.by}` : ''}`;
  }

  /** Number of disarmings in force by scope. */
  disarms(nowMs: number): { cluster: number; node: number; namespace: number } {
    const counts = { cluster: 0, node: 0, namespace: 0 };
    for (const { key, versions } of this.#disarms.values()) {
      const disarm = versionAt(versions, Number.MAX_SAFE_INTEGER)?.value;
      if (disarm && Date.parse(disarm.until) > nowMs) counts[key.scope as keyof typeof counts] += 1;
    }
    return counts;
  }

  /** Keys whose newest value was refused, with the reason. */
  refused(): RefusedEntry[] {
    return [...this.#refused.values()];
  }

  #versionsOf(map: Map<string, Version<ResponsePolicy>[]>, name: string): Version<ResponsePolicy>[] {
    const known = map.get(name);
    if (known) return known;
    requireRoom(map.size);
    const created: Version<ResponsePolicy>[] = [];
    map.set(name, created);
    return created;
  }

  #disarmVersions(text: string, key: ConfigKey): Version<Disarm>[] {
    const known = this.#disarms.get(text);
    if (known) return known.versions;
    requireRoom(this.#disarms.size);
    const created = { key, versions: [] as Version<Disarm>[] };
    this.#disarms.set(text, created);
    return created.versions;
  }

  #add<T extends { revision: number }>(versions: Version<T>[], entry: ConfigEntry, key: ConfigKey): void {
    const value = entry.json === null ? null : (parseConfigValue(key, entry.json) as T);
    const last = versions.at(-1)?.value;
    if (value && last && value.revision < last.revision) {
      throw new ConfigError(
        'CONFIG_REVISION',
        `${entry.key}: revision ${value.revision} is older than ${last.revision}, which is in force`,
        ['revision'],
      );
    }
    versions.push({ timestampMicros: this.#newestMicros, sequence: entry.sequence, value });
    if (versions.length > MAX_VERSIONS_PER_KEY) versions.shift();
  }
}

function requireRoom(size: number): void {
  if (size >= MAX_POLICY_KEYS)
    throw new ConfigError('CONFIG_KEY', `more than ${MAX_POLICY_KEYS} keys of this kind are not read`);
}

function versionAt<T>(versions: readonly Version<T>[], timeMicros: number): Version<T> | undefined {
  for (let index = versions.length - 1; index >= 0; index--) {
    const version = versions[index] as Version<T>;
    if (version.timestampMicros <= timeMicros) return version;
  }
  return undefined;
}

/** Whether a policy matches a verdict. */
export function matches(policy: ResponsePolicy, verdict: Pick<Verdict, 'level' | 'rule' | 'pod'>): boolean {
  const { levels, rules, namespaces } = policy.match;
  if (!policy.enabled) return false;
  if (levels && !levels.includes(verdict.level)) return false;
  if (rules && !rules.includes(verdict.rule)) return false;
  return !namespaces || (verdict.pod !== null && namespaces.includes(verdict.pod.namespace));
}

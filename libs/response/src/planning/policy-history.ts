/**
 * Which response policies were in force at a moment: a pure fold of CONFIG_LOG. A verdict is answered by the policies of its own moment
 * (so two replicas, and a start after a crash, plan the same, and a policy written today never reaches back to yesterday's
 * verdicts), while the guards and the dry-run switch of the newest configuration apply at the moment of acting.
 *
 * A value that does not parse is reported and passed over: the last good one stays in force. A value with a lower `revision` than the
 * last good one of its key is refused the same way. Deleting a key gives its default back. A log that was made anew counts from its first
 * change on; moments before that are answered by what was known of the old one, and a disarming stands until it ends or is taken back. Bounds: the versions kept of a key, and the
 * reports.
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

/** A verdict is planned by the configuration of this long before it, which every replica has by the time the verdict arrives. */
export const POLICY_SETTLE_MICROS = 1_000_000;
/** Versions of one key that are kept; what is older than the oldest of them is answered by the oldest. */
export const MAX_VERSIONS_PER_KEY = 256;
/** Keys of one kind that are read; a later key is reported and not read. */
export const MAX_POLICY_KEYS = 1024;

/** One message of CONFIG_LOG. */
export interface ConfigEntry {
  sequence: number;
  timestampMicros: number;
  key: string;
  /** null when the key was deleted */
  json: string | null;
}

export interface RefusedEntry {
  key: string;
  sequence: number;
  reason: string;
}

export interface Policies {
  /** Sequence in CONFIG_LOG of the newest configuration that was considered; 0 = built-in defaults. */
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
  /** Of a log that was made anew since, and until when they answer. */
  #former: { policies: Map<string, Version<ResponsePolicy>[]>; untilMicros: number } | null = null;
  #latest: Policies | null = null;

  /** The log was made anew: its entries come from the first again. */
  streamRecreated(): void {
    // Twice before the new log said anything: what answers now goes on answering.
    if (this.#former?.untilMicros !== Number.POSITIVE_INFINITY) {
      this.#former = { policies: this.#policies, untilMicros: Number.POSITIVE_INFINITY };
    }
    this.#policies = new Map();
    for (const disarm of this.#disarms.values()) {
      // Revisions begin again as well: the next word is not to be taken for an older one.
      disarm.versions = disarm.versions.slice(-1).map((version) => {
        return { ...version, timestampMicros: 0, value: version.value && { ...version.value, revision: 0 } };
      });
    }
    this.#refused.clear();
    this.#sequence = 0;
    this.#newestMicros = 0;
    this.#latest = null;
  }

  /** Sequence in CONFIG_LOG of the newest entry that was taken, of whatever kind. */
  get revision(): number {
    return this.#sequence;
  }

  /** Takes the next entry; entries that were seen already, and kinds that are none of its business, are passed over. */
  apply(entry: ConfigEntry): void {
    if (entry.sequence <= this.#sequence) return;
    this.#sequence = entry.sequence;
    // A clock that was set back between two leaders of the bus must not hide a change behind an older one.
    this.#newestMicros = Math.max(this.#newestMicros, entry.timestampMicros);
    this.#latest = null;
    if (this.#former?.untilMicros === Number.POSITIVE_INFINITY) this.#former.untilMicros = entry.timestampMicros;
    let key: ConfigKey;
    try {
      key = parseConfigKey(entry.key);
    } catch {
      return; // Some other program's key, or one of a version to come: its own reader reports it.
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

  /** Policies in force at a moment, built-in defaults among them; those switched off are left out. */
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

  /** Scope in words while the operator has disarmed the cluster, the node or the namespace; null when armed. */
  disarmedFor(nowMs: number, where: { node: string; namespace: string | null }): string | null {
    const covering = disarmKeys(where.node, where.namespace).flatMap((key) => this.#disarms.get(key) ?? []);
    const disarms = covering.map(({ versions }) => versionAt(versions, Number.MAX_SAFE_INTEGER)?.value ?? undefined);
    const latest = latestDisarm(disarms, nowMs);
    const [disarm, key] = [disarms[latest], covering[latest]?.key];
    if (!disarm || !key) return null;
    const what = key.scope === 'cluster' ? 'the cluster' : `${key.scope} ${key.namespace ?? key.name}`;
    return `${what} is disarmed until ${disarm.until}${disarm.by ? ` by ${disarm.by}` : ''}`;
  }

  /** How many disarmings are in force, by scope. */
  disarms(nowMs: number): { cluster: number; node: number; namespace: number } {
    const counts = { cluster: 0, node: 0, namespace: 0 };
    for (const { key, versions } of this.#disarms.values()) {
      const disarm = versionAt(versions, Number.MAX_SAFE_INTEGER)?.value;
      if (disarm && Date.parse(disarm.until) > nowMs) counts[key.scope as keyof typeof counts] += 1;
    }
    return counts;
  }

  /** Keys whose newest value is not in force, with the reason. */
  refused(): RefusedEntry[] {
    return [...this.#refused.values()];
  }

  #versionsOf(map: Map<string, Version<ResponsePolicy>[]>, name: string): Version<ResponsePolicy>[] {
    const there = map.get(name);
    if (there) return there;
    requireRoom(map.size);
    const made: Version<ResponsePolicy>[] = [];
    map.set(name, made);
    return made;
  }

  #disarmVersions(text: string, key: ConfigKey): Version<Disarm>[] {
    const there = this.#disarms.get(text);
    if (there) return there.versions;
    requireRoom(this.#disarms.size);
    const made = { key, versions: [] as Version<Disarm>[] };
    this.#disarms.set(text, made);
    return made.versions;
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

/** Whether a policy answers a verdict. */
export function matches(policy: ResponsePolicy, verdict: Pick<Verdict, 'level' | 'rule' | 'pod'>): boolean {
  const { levels, rules, namespaces } = policy.match;
  if (!policy.enabled) return false;
  if (levels && !levels.includes(verdict.level)) return false;
  if (rules && !rules.includes(verdict.rule)) return false;
  return !namespaces || (verdict.pod !== null && namespaces.includes(verdict.pod.namespace));
}

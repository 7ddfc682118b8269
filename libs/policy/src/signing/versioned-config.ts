/**
 * The values of one kind of configuration in force at each time, from CONFIG_LOG. Pure. The rules of
 * the correlator and the policies of the responder are such.
 *
 * Invariants: the same log gives the same sets in every process. A refused revision leaves the last valid
 * one in force, and is a problem until a valid revision or a deletion follows. So does one without
 * a required signature, deletions included (ADR 36). Deleting a key restores its default.
 *
 * After CONFIG_LOG is recreated, a value stays in force until the new log has its key, at most
 * FORMER_CONFIG_MICROS after the first change there. If the kind needs a signature, it stays until a signed change.
 */
import assert from 'node:assert/strict';
import { ConfigError, type ConfigKind, FORMER_CONFIG_MICROS, parseConfigKey } from '../configuration/keys.ts';
import { parseConfigValue } from '../configuration/values.ts';
import type { SignedConfig } from './signed-config.ts';

const SET_BACK_MICROS = 10_000_000;

/**
 * Whether a time of the bus is so far before an earlier message's that the clock of that one was ahead. If it is less,
 * the clock of another leader is behind.
 */
export const isSetBack = (timeMicros: number, earlierMicros: number): boolean =>
  earlierMicros - timeMicros >= SET_BACK_MICROS;

/** One change in the log. */
export interface LoggedChange {
  /** In CONFIG_LOG; increasing. */
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  key: string;
  /** null = deleted */
  json: string | null;
  /** As in the bus; absent: unsigned. */
  signature?: string;
}

/** A change that was refused. */
export interface RefusedChange {
  key: string;
  /** Sequence of the refused change in CONFIG_LOG. */
  sequence: number;
  code: ConfigError['code'];
  /** Dotted paths of the invalid fields. */
  fields: readonly string[];
  message: string;
  /** The revision in force instead. */
  inForce: 'last-good' | 'default' | 'nothing';
}

/** @throws `error` if it is not a ConfigError */
export function refusedChange(
  { key, sequence }: LoggedChange,
  error: unknown,
  inForce: RefusedChange['inForce'],
): RefusedChange {
  if (!(error instanceof ConfigError)) throw error;
  const { code, fields, message } = error;
  return { key, sequence, code, fields, message, inForce };
}

/** @throws ConfigError CONFIG_SIGNATURE */
export function requireSignature(signed: SignedConfig, change: LoggedChange): void {
  const refusal = signed.refusal({ ...change, signature: change.signature ?? '' });
  if (refusal !== '') throw new ConfigError('CONFIG_SIGNATURE', `${change.key}: ${refusal}`);
}

/** @throws ConfigError CONFIG_KEY */
export function tooManyKeys(most: number): never {
  throw new ConfigError('CONFIG_KEY', `more than ${most} keys of this kind are not read`);
}

export interface ConfigVersion {
  /** Sequence in CONFIG_LOG of the newest change of the kind; 0 = built-in defaults. */
  readonly revision: number;
  /** Server time of that change. */
  readonly fromMicros: number;
  readonly problems: readonly RefusedChange[];
}

export interface VersionedConfigOptions<V, T, S> {
  kind: ConfigKind;
  defaults: Readonly<Record<string, V>>;
  signed: SignedConfig;
  /** Stored keys. A further one is refused. */
  maxKeys: number;
  /** Sets kept, one for each change. The oldest one also covers earlier times. */
  maxSets: number;
  /** Called once for each value. @returns null: it is disabled, which overrides a default too */
  compile(name: string, value: V): T | null;
  /** The set of enabled values by name. */
  setOf(values: ReadonlyMap<string, T>): S;
}

export class VersionedConfig<V, T, S extends object> {
  readonly #options: VersionedConfigOptions<V, T, S>;
  readonly #defaults = new Map<string, T>();
  /** By name: the value in force; null = disabled. */
  readonly #stored = new Map<string, T | null>();
  /** Values of a deleted log that the new one has not written yet, and the time until which they stay. */
  #former: { values: Map<string, T | null>; untilMicros: number } | null = null;
  readonly #problems = new Map<string, RefusedChange>();
  /** Of deleted logs, for times before the first set of the present one, whose server's clock may be behind. */
  #earlier: (S & ConfigVersion)[] = [];
  #sets: (S & ConfigVersion)[] = [];
  /** Index of the set that `at` returned last. */
  #at = 0;
  #sequence = 0;

  constructor(options: VersionedConfigOptions<V, T, S>) {
    this.#options = options;
    for (const [name, value] of Object.entries(options.defaults)) {
      const compiled = options.compile(name, value);
      if (compiled !== null) this.#defaults.set(name, compiled);
    }
    this.#push(0, 0);
  }

  /** Applies the next change of the log. @returns the new set; null: the change is of another kind */
  apply(change: LoggedChange): (S & ConfigVersion) | null {
    if (!change.key.startsWith(`${this.#options.kind}.`)) return null;
    this.#endFormer(change.timestampMicros);
    assert(change.sequence > this.#sequence, 'changes are applied in the order of the log');
    this.#sequence = change.sequence;
    const refused = this.#store(change);
    if (refused) this.#problems.set(change.key, refused);
    else this.#problems.delete(change.key);
    this.limitFormer(change.timestampMicros);
    this.#push(change.sequence, change.timestampMicros);
    return this.latest();
  }

  /** The log was recreated and is read again from its first change. */
  streamRecreated(): void {
    const values = new Map([...(this.#former?.values ?? []), ...this.#stored]);
    this.#former = { values, untilMicros: Number.POSITIVE_INFINITY };
    this.#stored.clear();
    this.#problems.clear();
    this.#earlier = [...this.#earlier, ...this.#sets, { ...this.latest(), problems: [] }].slice(-this.#options.maxSets);
    this.#sets = [];
    this.#at = 0;
    this.#sequence = 0;
  }

  /** The new log has a change of this time: from now on it is known how long former values stay. */
  limitFormer(timestampMicros: number): void {
    const { kind, signed } = this.#options;
    if (this.#former?.untilMicros !== Number.POSITIVE_INFINITY) return;
    if (this.#former.values.size > 0 && signed.requires(kind)) return;
    this.#former.untilMicros = timestampMicros + FORMER_CONFIG_MICROS;
  }

  /** When the values of a deleted log end; infinite: the new log has not limited them yet. Null: there are none. */
  get formerUntilMicros(): number | null {
    return this.#former?.untilMicros ?? null;
  }

  /** The set in force at a time. Increasing times cost one comparison. */
  at(timeMicros: number): S & ConfigVersion {
    this.#endFormer(timeMicros);
    const sets = this.#sets;
    if (this.#earlier.length > 0 && (sets[0]?.fromMicros ?? Number.POSITIVE_INFINITY) > timeMicros)
      return (
        this.#earlier.findLast(({ fromMicros }) => fromMicros <= timeMicros) ?? (this.#earlier[0] as S & ConfigVersion)
      );
    if ((sets[this.#at] as ConfigVersion).fromMicros > timeMicros) this.#at = 0;
    while (this.#at + 1 < sets.length && (sets[this.#at + 1] as ConfigVersion).fromMicros <= timeMicros) this.#at++;
    return sets[this.#at] as S & ConfigVersion;
  }

  latest(): S & ConfigVersion {
    return (this.#sets.at(-1) ?? this.#earlier.at(-1)) as S & ConfigVersion;
  }

  /**
   * The log began later than what is judged by it: the set of this time covers earlier times, too. Sets of a
   * deleted log that this process knows stay.
   */
  coverEarlier(timeMicros: number): void {
    if (this.#earlier.length > 0) return;
    const first = this.#sets.findLastIndex(({ fromMicros }) => fromMicros <= timeMicros);
    this.#sets.splice(0, Math.max(0, first));
    this.#at = 0;
  }

  /** All sets in force at or after a time. */
  since(timeMicros: number): (S & ConfigVersion)[] {
    const all = [...this.#earlier, ...this.#sets];
    return all.filter((_, index) => (all[index + 1]?.fromMicros ?? Number.POSITIVE_INFINITY) >= timeMicros);
  }

  #store(change: LoggedChange): RefusedChange | null {
    const { compile, maxKeys, signed } = this.#options;
    let name = '';
    try {
      const key = parseConfigKey(change.key);
      name = key.name;
      requireSignature(signed, change);
      if (change.json === null) this.#stored.delete(name);
      else {
        const value = parseConfigValue(key, change.json) as V;
        if (!this.#stored.has(name) && this.#stored.size >= maxKeys) tooManyKeys(maxKeys);
        this.#stored.set(name, compile(name, value));
      }
      this.#former?.values.delete(name);
      return null;
    } catch (error) {
      const isKept = this.#stored.has(name) || this.#former?.values.has(name);
      return refusedChange(change, error, isKept ? 'last-good' : this.#defaults.has(name) ? 'default' : 'nothing');
    }
  }

  #endFormer(timeMicros: number): void {
    if (this.#former === null || timeMicros < this.#former.untilMicros) return;
    const { untilMicros } = this.#former;
    this.#former = null;
    this.#push(this.latest().revision, untilMicros);
  }

  #push(revision: number, timeMicros: number): void {
    const { maxSets, setOf } = this.#options;
    const values = new Map<string, T>(this.#defaults);
    for (const [name, value] of [...(this.#former?.values ?? []), ...this.#stored]) {
      if (value === null) values.delete(name);
      else values.set(name, value);
    }
    // A clock was ahead and is set back: what was stored meanwhile is in force from this change on.
    while (isSetBack(timeMicros, this.#sets.at(-1)?.fromMicros ?? 0)) this.#sets.pop();
    this.#at = Math.min(this.#at, this.#sets.length);
    // A new leader's clock may be behind: a later change must not take effect before an earlier one.
    const fromMicros = Math.max(timeMicros, this.#sets.at(-1)?.fromMicros ?? 0);
    this.#sets.push({ ...setOf(values), revision, fromMicros, problems: [...this.#problems.values()] });
    if (this.#sets.length <= maxSets) return;
    this.#sets.shift();
    this.#at = Math.max(0, this.#at - 1);
  }
}

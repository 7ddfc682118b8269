/**
 * Writes the configuration: validated, by compare and set, with author and reason.
 *
 * The command line and ipam-sync (custom resources) write to bailiff_config, the source of
 * CONFIG_LOG. A key is owned by the command line, by one custom resource, or unowned. Writers other
 * than the owner need `takeOver`. An unowned key needs it from a custom resource, not from the
 * command line. Invalid and contradictory values are not stored. Of two writers that started
 * from the same revision, one fails. The `revision` inside a value increases with each write. It is
 * for people: readers follow the order of the bus, so that no number freezes a key. A signature is
 * stored beside the value, and covers it without its `revision` (ADR 36).
 */
import { randomUUID } from 'node:crypto';
import {
  ConfigError,
  type ConfigKey,
  checkConfigWrite,
  formatConfigKey,
  formatOwner,
  MAX_REVISION,
  parseConfigKey,
  parseConfigValue,
  parseOwner,
  type ResourceOwner,
  SIGNATURE_HEADER,
  type SignedChange,
} from '@bailiff/policy';
import { retry } from '@bailiff/service/retry';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { type KvEntry, openBucket } from '../kv/bucket.ts';

export const CONFIG_BUCKET = 'bailiff_config';

export interface WriteConfigOptions {
  /** Author, for the log. */
  by: string;
  /** Reason in one sentence, for the log. */
  why: string;
  /**
   * Bucket revision that the writer has seen; 0 = the key did not exist. Default: the current
   * revision.
   */
  expectedRevision?: number;
  /** The custom resource that owns the value. Default: the command line owns it. */
  owner?: ResourceOwner;
  /** Write although another owner holds the key, and become its owner. */
  takeOver?: boolean;
  /**
   * Leave the key unowned: the value stays until the next write, and a custom resource may claim
   * it.
   */
  release?: boolean;
  /**
   * Restore an earlier value. It may contain contradictions, because it may be older than the check
   * for them.
   */
  restores?: boolean;
  /**
   * Signs the change. Default: it is unsigned. @param stored the present signature of the key; empty: none
   */
  sign?: (change: Omit<SignedChange, 'signature'>, stored: string) => string;
}

export interface StoredConfig {
  key: string;
  /** Revision in the bucket, as in `expectedRevision`. */
  bucketRevision: number;
  /** The `revision` field of the value. */
  revision: number;
  json: string;
  timestampMicros: number;
  by: string;
  why: string;
  deleted: boolean;
  /**
   * The custom resource that owns the key, or owned it until its deletion; null: the command line
   * or unowned.
   */
  owner: ResourceOwner | null;
  /** The key is unowned. */
  released: boolean;
  /** Not verified; empty: unsigned. */
  signature: string;
}

const MAX_NOTE = 512;
/** A header is a single line. */
const note = (text: string) =>
  text
    .replaceAll(/[\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_NOTE);

function revisionIn(json: string): number {
  try {
    const revision = (JSON.parse(json) as { revision?: unknown } | null)?.revision;
    return Number.isInteger(revision) && (revision as number) > 0 ? (revision as number) : 0;
  } catch {
    // An invalid stored value, written without this library, must not block a valid write.
    return 0;
  }
}

/** Converts an entry of the bucket. */
export function storedConfig(entry: KvEntry): StoredConfig {
  const json = entry.value.toString('utf8');
  return {
    key: entry.key,
    bucketRevision: entry.revision,
    revision: entry.deleted ? Number(entry.header('Bailiff-Revision')) || 0 : revisionIn(json),
    json,
    timestampMicros: entry.timestampMicros,
    by: entry.header('Bailiff-By'),
    why: entry.header('Bailiff-Why'),
    deleted: entry.deleted,
    owner: ownerIn(entry.header),
    released: isReleased(entry.header),
    signature: entry.header(SIGNATURE_HEADER),
  };
}

const OWNER = 'Bailiff-Owner';
const GENERATION = 'Bailiff-Generation';
const RESOURCE_VERSION = 'Bailiff-Resource-Version';
/**
 * Value of the owner header for an unowned key. An older reader takes it for the command line and
 * leaves the key alone.
 */
const UNOWNED = 'nobody';

/** Whether a key is unowned, by the headers of its newest value. */
export const isReleased = (header: (name: string) => string): boolean => header(OWNER) === UNOWNED;

/**
 * The custom resource that owns a key, by the headers of its newest value. Null: the command line
 * owns the key, or the key is unowned (`isReleased`).
 */
export function ownerIn(header: (name: string) => string): ResourceOwner | null {
  const owner = parseOwner(header(OWNER));
  if (!owner) return null;
  return { ...owner, generation: Number(header(GENERATION)) || 0, resourceVersion: header(RESOURCE_VERSION) };
}

function ownerHeaders({ owner, release }: WriteConfigOptions): Record<string, string> {
  if (!owner) return { [OWNER]: release ? UNOWNED : 'cli' };
  const { generation, resourceVersion } = owner;
  return { [OWNER]: formatOwner(owner), [GENERATION]: String(generation), [RESOURCE_VERSION]: resourceVersion };
}

const signatureHeader = (signature: string): Record<string, string> =>
  signature === '' ? {} : { [SIGNATURE_HEADER]: signature };

/** @throws ConfigError CONFIG_OWNER if another owner holds the key */
function checkOwner(stored: StoredConfig | null, { owner, takeOver }: WriteConfigOptions): void {
  if (!stored || stored.deleted || takeOver || stored.owner?.uid === owner?.uid) return;
  const current = stored.owner
    ? `the custom resource ${stored.owner.kind} ${stored.owner.name}`
    : `the command line (written by ${stored.by || 'an unknown author'})`;
  throw new ConfigError('CONFIG_OWNER', `${stored.key} is owned by ${current}`);
}

/** The current value of a key; null if it does not exist. @throws BusError */
export async function readConfig(bus: Bus, key: ConfigKey | string): Promise<StoredConfig | null> {
  const entry = await openBucket(bus, CONFIG_BUCKET).get(textOf(key));
  return entry && storedConfig(entry);
}

/** Revisions of a key in the bucket, oldest first, deletions included. @throws BusError */
export async function configHistory(bus: Bus, key: ConfigKey | string): Promise<StoredConfig[]> {
  return (await openBucket(bus, CONFIG_BUCKET).history(textOf(key))).map(storedConfig);
}

const textOf = (key: ConfigKey | string) => formatConfigKey(typeof key === 'string' ? parseConfigKey(key) : key);

/**
 * Numbers begin again after the highest one, or one beyond it, that another client stored: readers
 * refuse a higher one. The number of messages in the bucket exceeds that of the writes of a key.
 */
const revisionAfter = (stored: number, bucketRevision: number): number =>
  stored < MAX_REVISION ? stored + 1 : bucketRevision + 1;

function refuseOlder(key: string, given: number, stored: number): never {
  throw new ConfigError(
    'CONFIG_REVISION',
    `${key}: revision ${given} is older than the stored ${stored}: read it again and repeat the change`,
    ['revision'],
  );
}

/**
 * Writes with the newest revision as the condition. After a lost ack the write is repeated;
 * bucket.ts recognises its message id.
 */
async function compareAndSet(
  bus: Bus,
  key: string,
  json: string | null,
  base: number,
  headers: Record<string, string>,
): Promise<number> {
  const bucket = openBucket(bus, CONFIG_BUCKET);
  const options = { previousRevision: base, headers, msgId: randomUUID() };
  const endMs = performance.now() + RETRY_MS;
  const write = () => (json === null ? bucket.delete(key, options) : bucket.put(key, json, options));
  return retry(write, {
    waitMs: (cause, failures) => {
      const error = toBusError(cause, key);
      if (error.code === 'BUS_CONFLICT') {
        const message = `${key}: another client wrote first: read it again and repeat the change`;
        throw new ConfigError('CONFIG_REVISION', message, [], { cause });
      }
      if (!['BUS_TIMEOUT', 'BUS_UNREACHABLE'].includes(error.code)) throw error;
      if (performance.now() >= endMs) throw new BusError(error.code, `${error.message}. ${MAY_BE_STORED}`, { cause });
      return busBackoffMs(failures - 1);
    },
  });
}

/** Covers a server restart and two response timeouts. */
const RETRY_MS = 6_000;
const MAY_BE_STORED = 'The change may be stored all the same';

/**
 * Validates and stores a value, without filling in defaults. A value without `revision` takes the
 * next one. A lower `revision` than the stored one is rejected; an equal one is replaced by the
 * next.
 * @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA | CONFIG_CONTRADICTION |
 * CONFIG_REVISION | CONFIG_OWNER; BusError
 */
export async function writeConfig(
  bus: Bus,
  key: ConfigKey | string,
  value: string | object,
  options: WriteConfigOptions,
): Promise<StoredConfig> {
  const parsedKey = typeof key === 'string' ? parseConfigKey(key) : key;
  const text = formatConfigKey(parsedKey);
  const json = typeof value === 'string' ? value : JSON.stringify(value);
  if (options.restores) parseConfigValue(parsedKey, json);
  else checkConfigWrite(parsedKey, json);
  const written = JSON.parse(json) as { revision?: number };
  const newest = await openBucket(bus, CONFIG_BUCKET).newest(text);
  const stored = newest && storedConfig(newest);
  const base = newest?.revision ?? 0;
  if (options.expectedRevision !== undefined && options.expectedRevision !== visibleRevision(stored)) {
    throw new ConfigError(
      'CONFIG_REVISION',
      `${text}: revision ${visibleRevision(stored)} is stored, ${options.expectedRevision} was expected`,
    );
  }
  checkOwner(stored, options);
  const storedRevision = stored?.revision ?? 0;
  if (written.revision !== undefined && written.revision < storedRevision && storedRevision < MAX_REVISION) {
    refuseOlder(text, written.revision, storedRevision);
  }
  const revision = Math.max(written.revision ?? 0, revisionAfter(storedRevision, base));
  const final = JSON.stringify({ ...written, revision });
  const by = note(options.by);
  const why = note(options.why);
  const signature = options.sign?.({ key: text, json: final }, stored?.signature ?? '') ?? '';
  const headers = { 'Bailiff-By': by, 'Bailiff-Why': why, ...ownerHeaders(options), ...signatureHeader(signature) };
  const bucketRevision = await compareAndSet(bus, text, final, base, headers);
  const owner = options.owner ?? null;
  const kept = { owner, released: owner === null && options.release === true, signature };
  return { key: text, bucketRevision, revision, json: final, timestampMicros: 0, by, why, deleted: false, ...kept };
}

/** Revision as readers see it: a deleted key does not exist. */
const visibleRevision = (stored: StoredConfig | null) => (stored && !stored.deleted ? stored.bucketRevision : 0);

/**
 * Deletes a key. The tombstone keeps its revision, so that an older value cannot return. A key that is
 * deleted already is deleted again only with a signature, which its tombstone may lack.
 * @throws as writeConfig
 */
export async function deleteConfig(bus: Bus, key: ConfigKey | string, options: WriteConfigOptions): Promise<void> {
  const text = textOf(key);
  const newest = await openBucket(bus, CONFIG_BUCKET).newest(text);
  const stored = newest && storedConfig(newest);
  if (!stored || (stored.deleted && !options.sign)) return;
  if (options.expectedRevision !== undefined && options.expectedRevision !== visibleRevision(stored)) {
    throw new ConfigError('CONFIG_REVISION', `${text}: revision ${stored.bucketRevision} is stored`);
  }
  checkOwner(stored, options);
  await compareAndSet(bus, text, null, stored.bucketRevision, {
    ...ownerHeaders(options),
    'Bailiff-By': note(options.by),
    'Bailiff-Why': note(options.why),
    'Bailiff-Revision': String(stored.revision),
    ...signatureHeader(options.sign?.({ key: text, json: null }, stored.signature) ?? ''),
  });
}

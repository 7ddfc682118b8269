/**
 * Writing the configuration: checked against its schema, compare and set, by whom and why.
 *
 * Place in the path: CLI (set, rollback, disarm), ipam-sync (custom resources) → bailiff_config → CONFIG_LOG and every reader. Invariants: a
 * key is kept by the command line, by one custom resource or by nobody, and nobody else writes it unless he says so; nothing that a reader would
 * refuse, and nothing that contradicts itself, is stored; of two writers who began from the same revision one is refused (no update is lost); the `revision` within a
 * value grows with every write, so that a reader with neither the bucket nor the log can tell old from new.
 */
import { randomUUID } from 'node:crypto';
import {
  ConfigError,
  type ConfigKey,
  checkConfigWrite,
  formatConfigKey,
  formatOwner,
  parseConfigKey,
  parseConfigValue,
  parseOwner,
  type ResourceOwner,
} from '@bailiff/policy';
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import { backoffMs, pause } from '../connection/wait.ts';
import { type KvEntry, openBucket } from '../kv/bucket.ts';

export const CONFIG_BUCKET = 'bailiff_config';

export interface WriteConfigOptions {
  /** Who, for the log. */
  by: string;
  /** One sentence, for the log. */
  why: string;
  /** Bucket revision that the writer has seen; 0 = the key was not there. Without it, what is there now is what is built upon. */
  expectedRevision?: number;
  /** The custom resource that it is written for; without one it is written by the command line. */
  owner?: ResourceOwner;
  /** Written although somebody else keeps the key: from then on it is kept by whom this is written for. */
  takeOver?: boolean;
  /** From then on nobody keeps the key: the value stands until somebody writes it, and a custom resource that means it takes it. */
  release?: boolean;
  /** What was there before is put back: it may contradict itself, as it was stored before that was refused. */
  restores?: boolean;
}

export interface StoredConfig {
  key: string;
  /** Revision in the bucket: what expectedRevision means. */
  bucketRevision: number;
  /** The `revision` field of the value. */
  revision: number;
  json: string;
  timestampMicros: number;
  by: string;
  why: string;
  deleted: boolean;
  /** The custom resource that keeps the key, or kept it until it was deleted; null: the command line, or nobody. */
  owner: ResourceOwner | null;
  /** Nobody keeps it. */
  released: boolean;
}

const MAX_NOTE = 512;
/** A header is one line. */
const note = (text: string) =>
  text
    .replaceAll(/[\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_NOTE);

function revisionIn(json: string): number {
  try {
    const revision = (JSON.parse(json) as { revision?: unknown } | null)?.revision;
    return typeof revision === 'number' ? revision : 0;
  } catch {
    // What was stored around us is no reason to refuse what is right.
    return 0;
  }
}

/** An entry of the bucket as a configuration. */
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
  };
}

const OWNER = 'Bailiff-Owner';
const GENERATION = 'Bailiff-Generation';
const RESOURCE_VERSION = 'Bailiff-Resource-Version';
/** In place of an owner. A reader that does not know it takes it for the command line's, and leaves the key alone. */
const UNOWNED = 'nobody';

/** Whether nobody keeps a key, by the headers of its newest value. */
export const isReleased = (header: (name: string) => string): boolean => header(OWNER) === UNOWNED;

/** Who keeps a key, by the headers of its newest value. What says nothing, or was written around us, is the command line's. */
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

/** @throws ConfigError CONFIG_OWNER when somebody else keeps the key */
function checkOwner(stored: StoredConfig | null, { owner, takeOver }: WriteConfigOptions): void {
  if (!stored || stored.deleted || takeOver || stored.owner?.uid === owner?.uid) return;
  const keeper = stored.owner
    ? `the custom resource ${stored.owner.kind} ${stored.owner.name}`
    : `the command line (written by ${stored.by || 'somebody'})`;
  throw new ConfigError('CONFIG_OWNER', `${stored.key} is kept by ${keeper}`);
}

/** What stands under a key now; null when nothing does. @throws BusError */
export async function readConfig(bus: Bus, key: ConfigKey | string): Promise<StoredConfig | null> {
  const entry = await openBucket(bus, CONFIG_BUCKET).get(textOf(key));
  return entry && storedConfig(entry);
}

/** Revisions of a key that the bucket keeps, oldest first, deletions too. @throws BusError */
export async function configHistory(bus: Bus, key: ConfigKey | string): Promise<StoredConfig[]> {
  return (await openBucket(bus, CONFIG_BUCKET).history(textOf(key))).map(storedConfig);
}

const textOf = (key: ConfigKey | string) => formatConfigKey(typeof key === 'string' ? parseConfigKey(key) : key);

function refuseOlder(key: string, said: number, stored: number): never {
  throw new ConfigError(
    'CONFIG_REVISION',
    `${key}: revision ${said} is older than the stored ${stored}: read it again and repeat the change`,
    ['revision'],
  );
}

/** Puts with the newest revision as condition. After a lost ack the same write is repeated: kv.ts recognises its message id. */
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
  for (let attempt = 0; ; attempt += 1) {
    try {
      return json === null ? await bucket.delete(key, options) : await bucket.put(key, json, options);
    } catch (cause) {
      const error = toBusError(cause, key);
      if (error.code === 'BUS_CONFLICT') {
        throw new ConfigError(
          'CONFIG_REVISION',
          `${key}: somebody else wrote first: read it again and repeat the change`,
          [],
          {
            cause,
          },
        );
      }
      if (!['BUS_TIMEOUT', 'BUS_UNREACHABLE'].includes(error.code) || performance.now() >= endMs) throw error;
      await pause(backoffMs(attempt));
    }
  }
}

/** Over a restart of the server, and over two waits for an answer; well within the duplicate window. */
const RETRY_MS = 6_000;

/**
 * Checks and stores a value. A value that says no `revision` takes the next one; one that says a lower one than is stored is refused;
 * one that says the stored one was edited from it and takes the next. What is stored has its defaults left out, as written.
 * @throws ConfigError CONFIG_KEY | CONFIG_JSON | CONFIG_SCHEMA | CONFIG_CONTRADICTION | CONFIG_REVISION | CONFIG_OWNER; BusError
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
  if (written.revision !== undefined && written.revision < storedRevision) {
    refuseOlder(text, written.revision, storedRevision);
  }
  const revision = Math.max(written.revision ?? 0, storedRevision + 1);
  const final = JSON.stringify({ ...written, revision });
  const by = note(options.by);
  const why = note(options.why);
  const headers = { 'Bailiff-By': by, 'Bailiff-Why': why, ...ownerHeaders(options) };
  const bucketRevision = await compareAndSet(bus, text, final, base, headers);
  const owner = options.owner ?? null;
  const kept = { owner, released: owner === null && options.release === true };
  return { key: text, bucketRevision, revision, json: final, timestampMicros: 0, by, why, deleted: false, ...kept };
}

/** What a reader sees: a deleted key is not there. */
const visibleRevision = (stored: StoredConfig | null) => (stored && !stored.deleted ? stored.bucketRevision : 0);

/** Removes a key; its revision is remembered, so that an older value cannot come back. @throws as writeConfig */
export async function deleteConfig(bus: Bus, key: ConfigKey | string, options: WriteConfigOptions): Promise<void> {
  const text = textOf(key);
  const newest = await openBucket(bus, CONFIG_BUCKET).newest(text);
  const stored = newest && storedConfig(newest);
  if (!stored || stored.deleted) return;
  if (options.expectedRevision !== undefined && options.expectedRevision !== stored.bucketRevision) {
    throw new ConfigError('CONFIG_REVISION', `${text}: revision ${stored.bucketRevision} is stored`);
  }
  checkOwner(stored, options);
  await compareAndSet(bus, text, null, stored.bucketRevision, {
    ...ownerHeaders(options),
    'Bailiff-By': note(options.by),
    'Bailiff-Why': note(options.why),
    'Bailiff-Revision': String(stored.revision),
  });
}

/** Detects likely typos in keys that neither exist nor are built in. */
import { CONFIG_BUCKET, openBucket } from '@bailiff/bus';
import { ConfigError, type ConfigKey, checkConfigWrite, formatConfigKey } from '@bailiff/policy';
import { builtInKeys } from '../config-keys/keys.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { nearest } from '../text/nearest.ts';

/** The existing key with the most similar name; null if none is similar. Pure. */
export function suggestedKey(key: ConfigKey, stored: readonly string[]): string | null {
  const { name, ...place } = key;
  const prefix = formatConfigKey({ ...place, name: 'x' }).slice(0, -1);
  const names = [...stored, ...builtInKeys()].flatMap((text) =>
    text.startsWith(prefix) ? [text.slice(prefix.length)] : [],
  );
  const similar = nearest(formatConfigKey(key).slice(prefix.length), names);
  return similar === null ? null : prefix + similar;
}

export const storedKeys = async ({ bus }: Session): Promise<string[]> =>
  (await openBucket(bus, CONFIG_BUCKET).entries()).map(({ key }) => key);

/**
 * The error for a refused value under an unknown key with a similar known one. Null if no key is
 * similar: then the refused fields are the better error. Pure.
 */
export function noSuchKey(key: ConfigKey, refused: unknown, stored: readonly string[]): CliError | null {
  if (!(refused instanceof ConfigError) || refused.code !== 'CONFIG_SCHEMA') return null;
  const similar = suggestedKey(key, stored);
  if (similar === null) return null;
  return new CliError('CLI_NOT_FOUND', `${formatConfigKey(key)}: the key does not exist; did you mean ${similar}?`, {
    cause: refused,
    remedy: '`bailiff config list` shows the keys; a new key needs a complete value from a file (-f)',
  });
}

/**
 * Checks that single fields form a complete value. @throws CliError CLI_NOT_FOUND; ConfigError;
 * BusError
 */
export async function requireComplete(session: Session, key: ConfigKey, next: Record<string, unknown>): Promise<void> {
  try {
    checkConfigWrite(key, JSON.stringify(next));
  } catch (error) {
    throw (error instanceof ConfigError && noSuchKey(key, error, await storedKeys(session))) || error;
  }
}

/** A key under which nothing is stored or built in, given by single fields: more often a slip than a new key. */
import { CONFIG_BUCKET, openBucket } from '@bailiff/bus';
import { ConfigError, type ConfigKey, checkConfigWrite, formatConfigKey } from '@bailiff/policy';
import { builtInKeys } from '../config-keys/keys.ts';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { nearest } from '../text/nearest.ts';

/** `did you mean <key>?` among those that are there; null when none is near. Pure. */
export function meantKey(key: ConfigKey, stored: readonly string[]): string | null {
  const { name, ...place } = key;
  const prefix = formatConfigKey({ ...place, name: 'x' }).slice(0, -1);
  const names = [...stored, ...builtInKeys()].flatMap((text) =>
    text.startsWith(prefix) ? [text.slice(prefix.length)] : [],
  );
  const meant = nearest(formatConfigKey(key).slice(prefix.length), names);
  return meant === null ? null : prefix + meant;
}

export const storedKeys = async ({ bus }: Session): Promise<string[]> =>
  (await openBucket(bus, CONFIG_BUCKET).entries()).map(({ key }) => key);

/**
 * A value that is refused under a key that nobody has: a near key is what was meant; far from all, what its fields lack is what has to be
 * known, and null is answered. Pure.
 */
export function noSuchKey(key: ConfigKey, refused: unknown, stored: readonly string[]): CliError | null {
  if (!(refused instanceof ConfigError) || refused.code !== 'CONFIG_SCHEMA') return null;
  const meant = meantKey(key, stored);
  if (meant === null) return null;
  return new CliError(
    'CLI_NOT_FOUND',
    `${formatConfigKey(key)}: no such key, so this would be a new one; did you mean ${meant}?`,
    {
      cause: refused,
      remedy: '`bailiff config list` shows what there is; a new one is written whole, from a file (-f)',
    },
  );
}

/** Of fields that make no whole value by themselves. @throws CliError CLI_NOT_FOUND; ConfigError; BusError */
export async function requireWhole(session: Session, key: ConfigKey, next: Record<string, unknown>): Promise<void> {
  try {
    checkConfigWrite(key, JSON.stringify(next));
  } catch (error) {
    throw (error instanceof ConfigError && noSuchKey(key, error, await storedKeys(session))) || error;
  }
}

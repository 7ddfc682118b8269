/** A key under which nothing is stored or shipped, given by single fields: more often a slip than a new key. */
import { CONFIG_BUCKET, openBucket } from '@bailiff/bus';
import { ConfigError, type ConfigKey, checkConfigWrite, formatConfigKey } from '@bailiff/policy';
import { CliError } from '../errors.ts';
import type { Session } from '../session.ts';
import { nearest } from '../text/nearest.ts';
import { builtInKeys } from './keys.ts';

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

/** Of fields that make no whole value by themselves. @throws CliError CLI_NOT_FOUND; BusError */
export async function requireWhole(session: Session, key: ConfigKey, next: Record<string, unknown>): Promise<void> {
  try {
    checkConfigWrite(key, JSON.stringify(next));
  } catch (error) {
    if (!(error instanceof ConfigError) || error.code !== 'CONFIG_SCHEMA') throw error;
    const meant = meantKey(key, await storedKeys(session));
    // A near key is what was meant; far from all, what its fields lack is what has to be known.
    if (meant === null) throw error;
    throw new CliError(
      'CLI_NOT_FOUND',
      `${formatConfigKey(key)}: no such key, so this would be a new one; did you mean ${meant}?`,
      {
        cause: error,
        remedy: '`bailiff config list` shows what there is; a new one is written whole, from a file (-f)',
      },
    );
  }
}

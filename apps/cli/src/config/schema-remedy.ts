/** What to do about a value whose fields are wrong: a key that shows one that is right, the field that was meant, how lists are written. Pure. */
import { type ConfigError, type ConfigKey, formatConfigKey, parseConfigKey } from '@bailiff/policy';
import { nearest } from '../text/nearest.ts';
import { builtIn, builtInKeys } from './keys.ts';

/** A key of the kind that surely has a value: itself, or a shipped one; null when none is shipped. */
function exampleOf(key: ConfigKey): ConfigKey | null {
  if (builtIn(key) !== undefined) return key;
  const shipped = builtInKeys().find((text) => text.startsWith(`${key.kind}.`));
  return shipped === undefined ? null : parseConfigKey(shipped);
}

/** Names of the fields beside `path`, whose last name is not known. */
function namesBeside(value: unknown, path: readonly string[]): string[] {
  let at = value;
  for (const name of path.slice(0, -1)) {
    if (typeof at !== 'object' || at === null) return [];
    at = (at as Record<string, unknown>)[name];
  }
  return typeof at === 'object' && at !== null ? Object.keys(at) : [];
}

/** Lines; empty when there is nothing to say. */
export function schemaRemedy({ key, fields, message }: Pick<ConfigError, 'key' | 'fields' | 'message'>): string {
  if (!key) return '';
  const lines: string[] = [];
  const example = exampleOf(key);
  const value = example ? builtIn(example) : undefined;
  for (const field of fields) {
    const path = field.split('.');
    const names = namesBeside(value, path);
    const last = path.at(-1) as string;
    const meant = names.includes(last) ? null : nearest(last, names);
    if (meant !== null) lines.push(`did you mean ${[...path.slice(0, -1), meant].join('.')}?`);
  }
  if (/expected array/.test(message)) lines.push(`a list is JSON, quoted from the shell: '["kube-system"]'`);
  if (example) lines.push(`\`bailiff config get ${formatConfigKey(example)}\` shows one that is right`);
  return lines.join('\n');
}

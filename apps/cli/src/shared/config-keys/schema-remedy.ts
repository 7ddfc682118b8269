/** What to do about a value whose fields are wrong: a key that shows one that is right, the field that was meant, how lists are written. Pure. */
import { type ConfigError, type ConfigKey, formatConfigKey, parseConfigKey } from '@bailiff/policy';
import { nearest } from '../text/nearest.ts';
import { fieldNames } from './field-names.ts';
import { builtIn, builtInKeys } from './keys.ts';

/** A key of the kind that surely has a value: itself, or a built-in one; null when none is built in. */
function exampleOf(key: ConfigKey): ConfigKey | null {
  if (builtIn(key) !== undefined) return key;
  const known = builtInKeys().find((text) => text.startsWith(`${key.kind}.`));
  return known === undefined ? null : parseConfigKey(known);
}

/** Lines; empty when there is nothing to say. */
export function schemaRemedy({ key, fields, message }: Pick<ConfigError, 'key' | 'fields' | 'message'>): string {
  if (!key) return '';
  const lines: string[] = [];
  const example = exampleOf(key);
  for (const field of fields) {
    const path = field.split('.');
    const names = fieldNames(key, path.slice(0, -1));
    const last = path.at(-1) as string;
    const meant = names.includes(last) ? null : nearest(last, names);
    if (meant !== null) lines.push(`did you mean ${[...path.slice(0, -1), meant].join('.')}?`);
  }
  if (/expected array/.test(message)) lines.push(`a list is JSON, quoted from the shell: '["kube-system"]'`);
  if (example) lines.push(`\`bailiff config get ${formatConfigKey(example)}\` shows one that is right`);
  return lines.join('\n');
}

/**
 * Remedies for a value with wrong fields: suggested names, list syntax, and a key with a valid
 * value. Pure.
 */
import { type ConfigError, type ConfigKey, formatConfigKey, parseConfigKey } from '@bailiff/policy';
import { nearest } from '../text/nearest.ts';
import { fieldNames } from './field-names.ts';
import { builtIn, builtInKeys } from './keys.ts';

/** The key itself if it is built in, else a built-in key of its kind; null without one. */
function exampleOf(key: ConfigKey): ConfigKey | null {
  if (builtIn(key) !== undefined) return key;
  const known = builtInKeys().find((text) => text.startsWith(`${key.kind}.`));
  return known === undefined ? null : parseConfigKey(known);
}

/** One remedy per line; empty without any. */
export function schemaRemedy({ key, fields, message }: Pick<ConfigError, 'key' | 'fields' | 'message'>): string {
  if (!key) return '';
  const lines: string[] = [];
  const example = exampleOf(key);
  for (const field of fields) {
    const path = field.split('.');
    const names = fieldNames(key, path.slice(0, -1));
    const last = path.at(-1) as string;
    const similar = names.includes(last) ? null : nearest(last, names);
    if (similar !== null) lines.push(`did you mean ${[...path.slice(0, -1), similar].join('.')}?`);
  }
  if (/expected array/.test(message)) lines.push(`write a list as JSON, quoted for the shell: '["kube-system"]'`);
  if (example) lines.push(`\`bailiff config get ${formatConfigKey(example)}\` shows a valid value`);
  return lines.join('\n');
}

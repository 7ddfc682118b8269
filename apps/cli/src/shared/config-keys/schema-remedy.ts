/**
 * Remedies for a value with wrong fields: suggested names, list syntax, and a key with a valid
 * value. Pure.
 */

import { type ConfigError, type ConfigKey, formatConfigKey, parseConfigKey, schemaFor } from '@bailiff/policy';
import * as z from 'zod';
import { nearest } from '../text/nearest.ts';
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

interface Schema {
  properties?: Record<string, Schema>;
  propertyNames?: { enum?: readonly string[] };
  additionalProperties?: Schema | boolean;
  items?: Schema;
  oneOf?: readonly Schema[];
  anyOf?: readonly Schema[];
  allOf?: readonly Schema[];
}

/** A schema and all its alternatives. */
function variants(schema: Schema): Schema[] {
  const { oneOf = [], anyOf = [], allOf = [] } = schema;
  return [schema, ...[...oneOf, ...anyOf, ...allOf].flatMap(variants)];
}

function within(schema: Schema, name: string): Schema[] {
  return variants(schema).flatMap(({ properties, additionalProperties, items }) => {
    const named = properties?.[name] ?? (/^\d+$/.test(name) ? items : undefined);
    if (named) return [named];
    return typeof additionalProperties === 'object' ? [additionalProperties] : [];
  });
}

/**
 * Field names at `path` of a value under `key`, over all variants. Empty if the path does not exist
 * or its names are free.
 * @param path without the field itself: `['steps', '0']`
 */
export function fieldNames(key: Pick<ConfigKey, 'kind' | 'scope'>, path: readonly string[]): string[] {
  const root = z.toJSONSchema(schemaFor(key), { io: 'input', unrepresentable: 'any', reused: 'inline' }) as Schema;
  const places = path.reduce<Schema[]>((at, name) => at.flatMap((schema) => within(schema, name)), [root]);
  const names = places
    .flatMap(variants)
    .flatMap(({ properties, propertyNames }) => [...Object.keys(properties ?? {}), ...(propertyNames?.enum ?? [])]);
  return [...new Set(names)];
}

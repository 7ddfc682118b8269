/** Which fields a place in a value may have, for saying what was likely meant. Pure. */
import { type ConfigKey, schemaFor } from '@bailiff/policy';
import * as z from 'zod';

interface Schema {
  properties?: Record<string, Schema>;
  propertyNames?: { enum?: readonly string[] };
  additionalProperties?: Schema | boolean;
  items?: Schema;
  oneOf?: readonly Schema[];
  anyOf?: readonly Schema[];
  allOf?: readonly Schema[];
}

/** A schema and what it is made of by alternatives. */
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
 * Names of the fields at `path` of a value under `key`, of all its variants; empty when there is no such place or its names are free.
 * @param path of the place, without the field: `['steps', '0']`
 */
export function fieldNames(key: Pick<ConfigKey, 'kind' | 'scope'>, path: readonly string[]): string[] {
  const root = z.toJSONSchema(schemaFor(key), { io: 'input', unrepresentable: 'any', reused: 'inline' }) as Schema;
  const places = path.reduce<Schema[]>((at, name) => at.flatMap((schema) => within(schema, name)), [root]);
  const names = places
    .flatMap(variants)
    .flatMap(({ properties, propertyNames }) => [...Object.keys(properties ?? {}), ...(propertyNames?.enum ?? [])]);
  return [...new Set(names)];
}

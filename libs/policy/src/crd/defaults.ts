/** The spec of a resource with the defaults that the API server adds. Pure. */
import type { ResourceKind } from '../configuration/custom-resources.ts';
import { specOf } from './definitions.ts';
import type { Schema } from './structural.ts';

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function filled(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value)) return value.map((one) => (isObject(schema['items']) ? filled(one, schema['items']) : one));
  if (!isObject(value)) return value;
  const { properties = {}, additionalProperties } = schema as Record<string, Schema | undefined>;
  const missing = Object.entries(properties).filter(
    ([name, field]) => !Object.hasOwn(value, name) && isObject(field) && 'default' in field,
  );
  const all = [
    ...Object.entries(value),
    ...missing.map(([name, field]) => [name, (field as Schema)['default']] as const),
  ];
  return Object.fromEntries(
    all.map(([name, field]) => {
      const of = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
      return [name, isObject(of) ? filled(field, of) : field];
    }),
  );
}

/** As the API server stores it with the definitions of this version. */
export const withResourceDefaults = (kind: ResourceKind, spec: Readonly<Record<string, unknown>>) =>
  filled(spec, specOf(kind)) as Record<string, unknown>;

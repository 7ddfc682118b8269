/**
 * Converts JSON Schema from zod to a structural OpenAPI v3 schema for a CustomResourceDefinition.
 * Pure.
 *
 * The API server prunes unknown fields, so `additionalProperties: false` is dropped. A union
 * becomes one object with the fields of all branches, or an integer-or-string. A schema that cannot
 * be converted is an error.
 */
export type Schema = { [key: string]: unknown };

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Keywords that are copied. */
const KEPT = [
  'type',
  'enum',
  'pattern',
  'format',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'default',
  'description',
];
/** Keywords that are expressed otherwise, or that structural schemas do not have. */
const DROPPED = ['$schema', 'title', 'propertyNames'];

/** A validation rule in the Common Expression Language. */
export interface Validation {
  rule: string;
  message: string;
}

/** Expression for the milliseconds of the duration `self`. */
const MS =
  "self.endsWith('ms') ? int(self.substring(0, size(self) - 2)) : int(self.substring(0, size(self) - 1)) * " +
  "(self.endsWith('s') ? 1000 : self.endsWith('m') ? 60000 : self.endsWith('h') ? 3600000 : 86400000)";

function durationRule({ min, max }: { min: number; max: number }): Validation {
  const within = min > 0 ? `ms >= ${min} && ms <= ${max}` : `ms <= ${max}`;
  return { rule: `[${MS}].all(ms, ${within})`, message: `must be ${min} ms to ${max} ms` };
}

export function addRule(schema: Schema, rule: Validation): void {
  const rules = (schema['x-kubernetes-validations'] ?? []) as Validation[];
  schema['x-kubernetes-validations'] = [...rules, rule];
}

const isText = (branch: Schema) => branch['type'] === 'string';
const isWhole = (branch: Schema) => branch['type'] === 'integer';

/** `80` or `"8000-8999"`; `tcp` or `6`. */
function intOrString(branches: readonly Schema[], at: string): Schema {
  const text = branches.find(isText);
  const number = branches.find(isWhole);
  if (branches.length !== 2 || !text || !number)
    throw new Error(`${at}: a union that a structural schema cannot express`);
  const words = text['enum'] as string[] | undefined;
  const pattern = words ? `^(${words.join('|')})$` : text['pattern'];
  const maxLength = words ? Math.max(...words.map((word) => word.length)) : text['maxLength'];
  if (maxLength === undefined) throw new Error(`${at}: a string without maxLength`);
  return {
    'x-kubernetes-int-or-string': true,
    pattern,
    maxLength,
    minimum: number['minimum'],
    maximum: number['maximum'],
  };
}

/** One object with the fields of all branches. Rules say which fields go together. */
function unite(branches: readonly Schema[], at: string): Schema {
  const properties: Schema = {};
  for (const branch of branches) {
    if (branch['type'] !== 'object') throw new Error(`${at}: a union that a structural schema cannot express`);
    for (const [name, field] of Object.entries(branch['properties'] as Schema)) {
      properties[name] = name in properties ? widest(properties[name] as Schema, field as Schema) : field;
    }
  }
  const inAll = (of: (branch: Schema) => readonly string[], name: string) =>
    branches.every((b) => of(b).includes(name));
  const fieldsOf = (branch: Schema) => Object.keys(branch['properties'] as Schema);
  const requiredOf = (branch: Schema) => branch['required'] as string[];
  // A default of some branches would also be set for the others, which do not have the field.
  for (const [name, { default: _, ...rest }] of Object.entries(properties as Record<string, Schema>))
    if (!inAll(fieldsOf, name)) properties[name] = rest;
  const required = Object.keys(properties).filter((name) => inAll(requiredOf, name));
  return { type: 'object', properties, required };
}

/** Schema of a field in two branches that accepts the values of both. */
function widest(a: Schema, b: Schema): Schema {
  const words = (schema: Schema) => (schema['const'] === undefined ? schema['enum'] : [schema['const']]);
  if (a['type'] === 'string' && Array.isArray(words(a)) && Array.isArray(words(b))) {
    return { ...a, const: undefined, enum: [...new Set([...(words(a) as string[]), ...(words(b) as string[])])] };
  }
  if (a['type'] !== 'object') return a;
  const of = (schema: Schema) => (schema['properties'] ?? {}) as Schema;
  const both = Object.keys(of(a)).map((name) => {
    const [first, second] = [of(a)[name] as Schema, (of(b)[name] ?? of(a)[name]) as Schema];
    return [name, looser(first, second)] as const;
  });
  return { ...a, properties: Object.fromEntries(both) };
}

function looser(a: Schema, b: Schema): Schema {
  if (typeof a['maximum'] !== 'number' || typeof b['maximum'] !== 'number') return a;
  return { ...a, maximum: Math.max(a['maximum'], b['maximum']) };
}

function numbers(schema: Schema): Schema {
  const safe = (value: unknown) => value !== undefined && Math.abs(value as number) < Number.MAX_SAFE_INTEGER;
  return {
    ...(schema['type'] === 'integer' ? { format: 'int64' } : {}),
    ...(safe(schema['minimum']) ? { minimum: schema['minimum'] } : {}),
    ...(safe(schema['maximum']) ? { maximum: schema['maximum'] } : {}),
  };
}

/** @param at path of the schema, for errors */
export function structural(schema: Schema, at: string): Schema {
  const { anyOf, oneOf, const: only, durationMs, uniqueItems, ...rest } = schema;
  const described = rest['description'] === undefined ? {} : { description: rest['description'] };
  if (Array.isArray(anyOf)) return { ...intOrString(anyOf as Schema[], at), ...described };
  if (Array.isArray(oneOf)) return structural(unite(oneOf as Schema[], at), at);
  const known = new Set([...KEPT, ...DROPPED, 'minimum', 'maximum', 'properties', 'required', 'items']);
  for (const key of Object.keys(rest))
    if (!known.has(key) && key !== 'additionalProperties') throw new Error(`${at}: unsupported keyword ${key}`);
  const result: Schema = {};
  for (const key of KEPT) if (rest[key] !== undefined) result[key] = rest[key];
  if (only !== undefined) result['enum'] = [only];
  if (rest['type'] === 'integer' || rest['type'] === 'number') Object.assign(result, numbers(rest));
  if (isSchema(rest['properties'])) {
    const fields = Object.entries(rest['properties']).map(([name, field]) => [
      name,
      structural(field as Schema, `${at}.${name}`),
    ]);
    result['properties'] = Object.fromEntries(fields);
    if (Array.isArray(rest['required']) && rest['required'].length > 0) result['required'] = rest['required'];
  } else if (isSchema(rest['additionalProperties'])) Object.assign(result, mapOf(rest, at));
  if (isSchema(rest['items'])) {
    result['items'] = structural(rest['items'], `${at}[]`);
    // Only scalars can form a set. The mirror finds other duplicates.
    if (uniqueItems === true && typeof (result['items'] as Schema)['type'] === 'string')
      result['x-kubernetes-list-type'] = 'set';
  }
  if (durationMs) addRule(result, durationRule(durationMs as { min: number; max: number }));
  return result;
}

/**
 * Converts a map. Keys of an enumeration become properties, because structural schemas have no
 * schema for keys.
 */
function mapOf(schema: Schema, at: string): Schema {
  const names = (schema['propertyNames'] as Schema | undefined)?.['enum'] as string[] | undefined;
  const value = structural(schema['additionalProperties'] as Schema, `${at}.*`);
  return names
    ? { properties: Object.fromEntries(names.map((name) => [name, value])) }
    : { additionalProperties: value };
}

/** The schema without defaults, so that missing fields stay missing. */
export function withoutDefaults(schema: Schema): Schema {
  const walk = (value: unknown, isSchemaHere: boolean): unknown => {
    if (Array.isArray(value)) return value.map((one) => walk(one, isSchemaHere));
    if (!isSchema(value)) return value;
    const entries = Object.entries(value).filter(([key]) => !(isSchemaHere && key === 'default'));
    return Object.fromEntries(entries.map(([key, one]) => [key, walk(one, !(isSchemaHere && key === 'properties'))]));
  };
  return walk(schema, true) as Schema;
}

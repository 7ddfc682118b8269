/**
 * Fields of a zod schema as rows: path, type with its range, default, description. Pure. Derived
 * from its JSON Schema, so that the reference matches the validation. Supports the constructs in
 * use; others are an error.
 */
import * as z from 'zod';

export interface Field {
  /**
   * `guards.budget.maxPods`; `steps[]` is each entry of a list, `modes.<key>` each key of a map.
   */
  path: string;
  /** `integer, 1 to 8`; `list of text, 1 to 64`. */
  type: string;
  /** As JSON; empty without a default. */
  fallback: string;
  required: boolean;
  description: string;
}

interface Schema {
  type?: string;
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: readonly unknown[];
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  format?: string;
  properties?: Record<string, Schema>;
  propertyNames?: Schema;
  additionalProperties?: Schema | boolean;
  required?: readonly string[];
  items?: Schema;
  oneOf?: readonly Schema[];
  anyOf?: readonly Schema[];
}

export const jsonSchemaOf = (schema: z.ZodType): Schema =>
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema;

/** A schema with variants has a title and fields for each; any other one has no title. */
export function variantsOf(schema: z.ZodType): { title: string; fields: Field[] }[] {
  const json = jsonSchemaOf(schema);
  if (json.oneOf === undefined) return [{ title: '', fields: fieldsOf(json) }];
  return json.oneOf.map((variant) => ({
    title: String(variant.properties?.['type']?.const),
    fields: fieldsOf(variant),
  }));
}

function fieldsOf(schema: Schema, prefix = ''): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    return fieldRows(path, field, schema.required?.includes(key) ?? false);
  });
}

function fieldRows(path: string, field: Schema, required: boolean): Field[] {
  const own: Field = {
    path,
    type: typeText(field, path),
    fallback: field.default === undefined ? '' : JSON.stringify(field.default),
    required,
    description: field.description ?? '',
  };
  const { items, additionalProperties } = field;
  // The fields of a group show its defaults.
  if (field.properties) return [{ ...own, fallback: '' }, ...fieldsOf(field, path)];
  if (items?.properties) return [own, ...fieldsOf(items, `${path}[]`)];
  if (typeof additionalProperties === 'object' && additionalProperties.properties)
    return [own, ...fieldsOf(additionalProperties, `${path}.<key>`)];
  return [own];
}

const range = (min: number | undefined, max: number | undefined, unit = ''): string => {
  // The general limits of integers in JSON are not shown.
  if (min === 1 && max === undefined && unit !== '') return 'not empty';
  const most = max === undefined || Math.abs(max) >= Number.MAX_SAFE_INTEGER ? undefined : max;
  if (min !== undefined && most !== undefined) return min === most ? `${min}${unit}` : `${min} to ${most}${unit}`;
  if (most !== undefined) return `at most ${most}${unit}`;
  return min === undefined || (min === 0 && unit !== '') ? '' : `at least ${min}${unit}`;
};

const joined = (...parts: string[]): string => parts.filter((part) => part !== '').join(', ');
const words = (values: readonly unknown[]): string =>
  values.map((value) => (typeof value === 'string' ? `\`${value}\`` : String(value))).join(' | ');

/** Type of a field as text; values of an enumeration as code. */
function typeText(field: Schema, path: string): string {
  if (field.const !== undefined) return words([field.const]);
  if (field.enum) return words(field.enum);
  const choices = field.oneOf ?? field.anyOf;
  if (choices) return choices.map((choice) => typeText(choice, path)).join(' or ');
  switch (field.type) {
    case 'integer':
      return joined('whole number', range(field.minimum ?? field.exclusiveMinimum, field.maximum));
    case 'number':
      return joined('number', range(field.minimum, field.maximum));
    case 'boolean':
      return 'yes or no';
    case 'string':
      if (field.format === 'date-time') return 'time';
      return joined('text', range(field.minLength, field.maxLength, ' characters'));
    case 'array':
      return joined(`list of ${typeText(field.items ?? {}, path)}`, range(field.minItems, field.maxItems, ' entries'));
    case 'object': {
      const { additionalProperties, propertyNames } = field;
      if (typeof additionalProperties !== 'object') return 'group';
      const keys = propertyNames?.enum ? `${words(propertyNames.enum)} → ` : '';
      return `map: ${keys}${typeText(additionalProperties, path)}`;
    }
    default:
      throw new TypeError(`${path}: no words for ${JSON.stringify(field)}`);
  }
}

/**
 * Structural schemas of custom resources: prunes unknown fields, sets defaults, validates values.
 * Pure. Supports the OpenAPI v3 subset of definitions with the format cidr only; cel.ts evaluates
 * rules (x-kubernetes-validations). Causes contain the path of the field, as on a real server.
 */
import { isIP } from 'node:net';
import type { StatusCause } from '../errors.ts';
import { isObject, type JsonObject, listAt, sameJson, thaw } from '../types.ts';

const preserve = 'x-kubernetes-preserve-unknown-fields';
const intOrString = 'x-kubernetes-int-or-string';

/** A copy without unknown fields and with defaults. Metadata at the root is unchanged. */
export function pruneAndDefault(schema: JsonObject, value: unknown, isRoot = true): unknown {
  if (Array.isArray(value)) {
    const items = schema['items'];
    return isObject(items) ? value.map((item) => pruneAndDefault(items, item, false)) : value;
  }
  if (!isObject(value)) return value;
  const properties: JsonObject = isObject(schema['properties']) ? schema['properties'] : {};
  const additional = schema['additionalProperties'];
  const result: JsonObject = {};
  for (const [key, member] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (isRoot && ['apiVersion', 'kind', 'metadata'].includes(key)) result[key] = member;
    else if (isObject(known)) {
      if (member !== null || known['nullable'] === true) result[key] = pruneAndDefault(known, member, false);
    } else if (isObject(additional)) result[key] = pruneAndDefault(additional, member, false);
    else if (additional === true || schema[preserve] === true) result[key] = member;
  }
  for (const [key, known] of Object.entries(properties)) {
    if (result[key] !== undefined || !isObject(known) || known['default'] === undefined) continue;
    result[key] = pruneAndDefault(known, thaw(known['default']), false);
  }
  return result;
}

/** Paths of unknown fields, which pruning removes. */
export function unknownFields(schema: JsonObject, value: unknown, field = ''): string[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return isObject(items) ? value.flatMap((item, index) => unknownFields(items, item, `${field}[${index}]`)) : [];
  }
  if (!isObject(value)) return [];
  const properties: JsonObject = isObject(schema['properties']) ? schema['properties'] : {};
  const additional = schema['additionalProperties'];
  return Object.entries(value).flatMap(([key, member]) => {
    const inside = field === '' ? key : `${field}.${key}`;
    if (field === '' && ['apiVersion', 'kind', 'metadata'].includes(key)) return [];
    const known = Object.hasOwn(properties, key) ? properties[key] : additional;
    if (isObject(known)) return unknownFields(known, member, inside);
    return known === true || schema[preserve] === true ? [] : [inside];
  });
}

const cause = (reason: string, field: string, message: string): StatusCause => ({
  reason: `FieldValue${reason}`,
  message,
  field,
});

const wrong = (field: string, value: unknown, why: string) =>
  cause('Invalid', field, `Invalid value: ${JSON.stringify(value)}: ${field} in body ${why}`);

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** Errors of a value; empty if it is valid. `field` is '' at the root. */
export function schemaCauses(schema: JsonObject, value: unknown, field = ''): StatusCause[] {
  if (value === null && schema['nullable'] === true) return [];
  const actual = typeOf(value);
  const wanted = schema['type'];
  const mixed = schema[intOrString] === true && (actual === 'integer' || actual === 'string');
  const fits = wanted === undefined || wanted === actual || (wanted === 'number' && actual === 'integer') || mixed;
  if (!fits) {
    return [
      cause(
        'TypeInvalid',
        field,
        `Invalid value: "${actual}": ${field} in body must be of type ${wanted}: "${actual}"`,
      ),
    ];
  }
  const causes = [...enumCauses(schema, value, field), ...combinedCauses(schema, value, field)];
  if (typeof value === 'number') causes.push(...numberCauses(schema, value, field));
  if (typeof value === 'string') causes.push(...stringCauses(schema, value, field));
  if (Array.isArray(value)) causes.push(...listCauses(schema, value, field));
  if (isObject(value)) causes.push(...objectCauses(schema, value, field));
  return causes;
}

function enumCauses(schema: JsonObject, value: unknown, field: string): StatusCause[] {
  const allowed = schema['enum'];
  if (!Array.isArray(allowed) || allowed.some((entry) => sameJson(entry, value))) return [];
  const list = allowed.map((entry) => JSON.stringify(entry)).join(', ');
  return [cause('NotSupported', field, `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`)];
}

function combinedCauses(schema: JsonObject, value: unknown, field: string): StatusCause[] {
  const holds = (part: JsonObject) => schemaCauses(part, value, field).length === 0;
  const causes = listAt(schema, 'allOf').flatMap((part) => schemaCauses(part, value, field));
  const anyOf = listAt(schema, 'anyOf');
  if (anyOf.length > 0 && !anyOf.some(holds))
    causes.push(wrong(field, value, 'must validate at least one schema (anyOf)'));
  const oneOf = listAt(schema, 'oneOf');
  if (oneOf.length > 0 && oneOf.filter(holds).length !== 1) {
    causes.push(wrong(field, value, 'must validate one and only one schema (oneOf)'));
  }
  if (isObject(schema['not']) && holds(schema['not']))
    causes.push(wrong(field, value, 'must not validate the schema (not)'));
  return causes;
}

const bound = (schema: JsonObject, name: string): number | undefined => {
  const value = schema[name];
  return typeof value === 'number' ? value : undefined;
};

function numberCauses(schema: JsonObject, value: number, field: string): StatusCause[] {
  const causes: StatusCause[] = [];
  const [minimum, maximum, multiple] = [
    bound(schema, 'minimum'),
    bound(schema, 'maximum'),
    bound(schema, 'multipleOf'),
  ];
  const low = minimum !== undefined && (schema['exclusiveMinimum'] === true ? value <= minimum : value < minimum);
  const high = maximum !== undefined && (schema['exclusiveMaximum'] === true ? value >= maximum : value > maximum);
  if (low) causes.push(wrong(field, value, `should be greater than or equal to ${minimum}`));
  if (high) causes.push(wrong(field, value, `should be less than or equal to ${maximum}`));
  if (multiple !== undefined && value % multiple !== 0)
    causes.push(wrong(field, value, `should be a multiple of ${multiple}`));
  return causes;
}

function stringCauses(schema: JsonObject, value: string, field: string): StatusCause[] {
  const causes: StatusCause[] = [];
  const [shortest, longest] = [bound(schema, 'minLength'), bound(schema, 'maxLength')];
  const length = [...value].length;
  if (shortest !== undefined && length < shortest)
    causes.push(wrong(field, value, `should be at least ${shortest} chars long`));
  if (longest !== undefined && length > longest) {
    causes.push(cause('TooLong', field, `Too long: may not be more than ${longest} bytes`));
  }
  const pattern = schema['pattern'];
  if (typeof pattern === 'string' && !new RegExp(pattern, 'u').test(value)) {
    causes.push(wrong(field, value, `should match '${pattern}'`));
  }
  if (schema['format'] === 'cidr' && !isCidr(value)) {
    causes.push(cause('Invalid', field, `Invalid value: ${JSON.stringify(value)}: must be of type cidr`));
  }
  return causes;
}

function isCidr(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/');
  const family = isIP(address);
  return rest.length === 0 && family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}

function listCauses(schema: JsonObject, value: unknown[], field: string): StatusCause[] {
  const causes: StatusCause[] = [];
  const [fewest, most] = [bound(schema, 'minItems'), bound(schema, 'maxItems')];
  if (fewest !== undefined && value.length < fewest)
    causes.push(wrong(field, value.length, `should have at least ${fewest} items`));
  if (most !== undefined && value.length > most) {
    causes.push(cause('TooMany', field, `Too many: ${value.length}: must have at most ${most} items`));
  }
  const items = schema['items'];
  if (isObject(items)) causes.push(...value.flatMap((item, index) => schemaCauses(items, item, `${field}[${index}]`)));
  causes.push(...duplicateCauses(schema, value, field));
  return causes;
}

/** Sets, and maps keyed by fields, contain no duplicates. */
function duplicateCauses(schema: JsonObject, value: unknown[], field: string): StatusCause[] {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return [];
  const keys = listAt<string>(schema, 'x-kubernetes-list-map-keys');
  const idOf = (item: unknown) =>
    type === 'map' && isObject(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : item;
  const seen = new Set<string>();
  return value.flatMap((item, index) => {
    const id = JSON.stringify(idOf(item));
    if (!seen.has(id)) {
      seen.add(id);
      return [];
    }
    return [cause('Duplicate', `${field}[${index}]`, `Duplicate value: ${id}`)];
  });
}

function objectCauses(schema: JsonObject, value: JsonObject, field: string): StatusCause[] {
  const causes: StatusCause[] = [];
  const inside = (key: string) => (field === '' ? key : `${field}.${key}`);
  for (const key of listAt<string>(schema, 'required')) {
    if (value[key] === undefined) causes.push(cause('Required', inside(key), 'Required value'));
  }
  const [fewest, most] = [bound(schema, 'minProperties'), bound(schema, 'maxProperties')];
  const count = Object.keys(value).length;
  if (fewest !== undefined && count < fewest)
    causes.push(wrong(field, count, `should have at least ${fewest} properties`));
  if (most !== undefined && count > most) {
    causes.push(cause('TooMany', field, `Too many: ${count}: must have at most ${most} items`));
  }
  const properties: JsonObject = isObject(schema['properties']) ? schema['properties'] : {};
  for (const [key, member] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : schema['additionalProperties'];
    if (isObject(known)) causes.push(...schemaCauses(known, member, inside(key)));
  }
  return causes;
}

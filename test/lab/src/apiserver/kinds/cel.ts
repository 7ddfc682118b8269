/**
 * Evaluates rules of custom schemas (x-kubernetes-validations) after the schema itself is valid.
 * Transition rules (oldSelf), optional fields and message expressions are not supported. A rule
 * that cannot be evaluated rejects the object, as on a real server.
 */
import { Environment } from '@marcbachmann/cel-js';
import type { StatusCause } from '../errors.ts';
import { isObject, type JsonObject, listAt, textAt } from '../types.ts';

const environment = new Environment({ unlistedVariablesAreDyn: true });

/**
 * Value of an expression; the bindings are values of celValue. @throws Error if it cannot be
 * evaluated
 */
export const evaluate = (expression: string, bindings: Record<string, unknown>): unknown =>
  environment.evaluate(expression, bindings);

/** Integers in JSON are integers of CEL, not doubles. */
export function celValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celValue);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, celValue(member)]));
}

function ruleCause(validation: JsonObject, value: unknown, field: string): StatusCause[] {
  const rule = textAt(validation, 'rule');
  const shown = isObject(value) ? 'object' : Array.isArray(value) ? 'array' : value;
  const refused = (why: string): StatusCause[] => [
    { reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(shown)}: ${why}`, field },
  ];
  if (rule.includes('oldSelf')) return [];
  try {
    const holds = evaluate(rule, { self: celValue(value) });
    return holds === true ? [] : refused(textAt(validation, 'message') || `failed rule: ${rule}`);
  } catch (error) {
    return refused(`rule could not be evaluated: ${(error as Error).message.split('\n')[0]}`);
  }
}

/**
 * Violations of the rules of a schema and its nested schemas; the value matches the schema
 * otherwise.
 */
export function celCauses(schema: JsonObject, value: unknown, field = ''): StatusCause[] {
  if (value === null || value === undefined) return [];
  const causes = listAt(schema, 'x-kubernetes-validations').flatMap((rule) => ruleCause(rule, value, field));
  if (Array.isArray(value)) {
    const { items } = schema;
    if (isObject(items)) causes.push(...value.flatMap((item, index) => celCauses(items, item, `${field}[${index}]`)));
  } else if (isObject(value)) {
    const properties: JsonObject = isObject(schema['properties']) ? schema['properties'] : {};
    for (const [key, member] of Object.entries(value)) {
      const known = Object.hasOwn(properties, key) ? properties[key] : schema['additionalProperties'];
      if (isObject(known)) causes.push(...celCauses(known, member, field === '' ? key : `${field}.${key}`));
    }
  }
  return causes;
}

/** Zod schemas of strings and lists in JSON documents, with the limits of limits.ts. */
import * as z from 'zod';
import { LIST_LIMITS, type ListClass, TEXT_LIMITS, type TextClass } from '../codec/limits.ts';

/** A string; its UTF-16 units are never more than its bytes. */
export const text = (name: TextClass) => z.string().max(TEXT_LIMITS[name].bytes);
/** A string with at least one character. */
export const filled = (name: TextClass) => text(name).min(1);
export const list = <T extends z.ZodType>(name: ListClass, items: T) => z.array(items).max(LIST_LIMITS[name].items);

/** A record by names; the limit is `maxProperties` in JSON Schema. */
export function record<K extends z.ZodString, V extends z.ZodType>(name: ListClass, keys: K, values: V) {
  const { items } = LIST_LIMITS[name];
  return z
    .record(keys, values)
    .refine((entries) => Object.keys(entries).length <= items, { error: `Too big: expected at most ${items} entries` })
    .meta({ maxProperties: items });
}

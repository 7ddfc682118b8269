/**
 * Every field has a description: the reference, the CRDs and `kubectl explain` are generated from
 * it.
 */
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { schemaFor } from '../configuration/values.ts';

interface Def {
  type: string;
  innerType?: z.ZodType;
  element?: z.ZodType;
  options?: readonly z.ZodType[];
  shape?: Record<string, z.ZodType>;
}
const WRAPPERS = new Set(['default', 'optional', 'prefault', 'nullable', 'readonly']);

/** Dotted paths of fields without a description. */
function undescribed(schema: z.ZodType, path: string): string[] {
  const def = schema.def as unknown as Def;
  if (WRAPPERS.has(def.type)) return undescribed(def.innerType as z.ZodType, path);
  if (def.type === 'array') return undescribed(def.element as z.ZodType, `${path}[]`);
  if (def.type === 'union') return (def.options ?? []).flatMap((option) => undescribed(option, path));
  if (def.type !== 'object') return [];
  return Object.entries(def.shape ?? {}).flatMap(([name, field]) => {
    const at = `${path}.${name}`;
    return [...(descriptionOf(field) ? [] : [at]), ...undescribed(field, at)];
  });
}

function descriptionOf(schema: z.ZodType): string | undefined {
  const def = schema.def as unknown as Def;
  return schema.description ?? (WRAPPERS.has(def.type) ? descriptionOf(def.innerType as z.ZodType) : undefined);
}

describe('fields of the configuration', () => {
  it.each([
    ['spoof', 'cluster'],
    ['spoof', 'namespace'],
    ['correlation', 'cluster'],
    ['response', 'cluster'],
    ['disarm', 'cluster'],
    ['runtime', 'cluster'],
    ['runtime', 'namespace'],
  ] as const)('%s at %s scope - each has a description', (kind, scope) => {
    expect(undescribed(schemaFor({ kind, scope }), `${kind}.${scope}`)).toEqual([]);
  });

  it('a field without a description is found', () => {
    const bare = z.strictObject({
      said: z.string().describe('x').optional(),
      list: z.array(z.object({ not: z.int() })).describe('y'),
    });
    expect(undescribed(bare, 'k')).toEqual(['k.list[].not']);
  });
});

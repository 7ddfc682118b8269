/**
 * Lists the leaves of a zod object: dotted key, kind of value, default and description. Flags,
 * environment variables and --help are derived from it. Pure; the depth is limited by the schema.
 */
import type * as z from 'zod';

export type LeafKind = 'text' | 'number' | 'boolean' | 'list' | 'json';

export interface Leaf {
  /** Dotted path, camelCase. */
  path: string;
  kind: LeafKind;
  optional: boolean;
  description: string;
  /** Default of the schema; undefined without one. */
  fallback: unknown;
}

interface Def {
  type: string;
  innerType?: z.ZodType;
  in?: z.ZodType;
  element?: z.ZodType;
  defaultValue?: unknown;
  options?: readonly z.ZodType[];
}
const defOf = (schema: z.ZodType): Def => schema.def as unknown as Def;

/** Leaves in schema order. */
export function leavesOf(schema: z.ZodObject, prefix = ''): Leaf[] {
  const leaves: Leaf[] = [];
  for (const [key, field] of Object.entries(schema.shape) as [string, z.ZodType][]) {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const inner = unwrap(field);
    if (defOf(inner.schema).type === 'object') leaves.push(...leavesOf(inner.schema as z.ZodObject, path));
    else {
      const { optional, fallback } = inner;
      const description = field.description ?? inner.schema.description ?? '';
      leaves.push({ path, kind: kindOf(inner.schema), optional, description, fallback });
    }
  }
  return leaves;
}

function unwrap(field: z.ZodType): { schema: z.ZodType; optional: boolean; fallback: unknown } {
  let schema = field;
  let optional = false;
  let fallback: unknown;
  for (;;) {
    const def = defOf(schema);
    if (def.type === 'default' || def.type === 'prefault') {
      optional = true;
      fallback ??= def.defaultValue;
    } else if (def.type === 'optional') optional = true;
    const next = def.innerType ?? (def.type === 'pipe' ? def.in : undefined);
    if (next === undefined) return { schema, optional, fallback };
    schema = next;
  }
}

function kindOf(schema: z.ZodType): LeafKind {
  const { type } = defOf(schema);
  if (type === 'number' || type === 'int') return 'number';
  if (type === 'boolean') return 'boolean';
  if (type === 'array' || type === 'set') return 'list';
  if (type === 'record' || type === 'union' || type === 'tuple' || type === 'map') return 'json';
  return 'text';
}

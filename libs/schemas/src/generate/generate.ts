/**
 * Generates types.gen.ts (TypeScript types) and schemas.gen.ts (the schema texts, embedded so that a
 * bundle needs no other file) from avro/ and history/. Pure; main.ts reads and writes the files.
 *
 * Invariant: the output is formatted like the formatter's, so a test can compare it. Supported:
 * records, enums, arrays, unions with null, primitives. Anything else is rejected.
 */
import { fingerprintHex } from '../codec/canonical.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Schema = { [key: string]: Json };

const PRIMITIVES: Record<string, string> = {
  boolean: 'boolean',
  int: 'number',
  long: 'number',
  float: 'number',
  double: 'number',
  string: 'string',
  bytes: 'Buffer',
};

interface Emitter {
  declarations: string[];
}

const isObject = (value: Json | undefined): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** TypeScript of a field's type. Declares the named types in it. */
function typeText(type: Json | undefined, out: Emitter): string {
  if (Array.isArray(type)) {
    const branches = type.filter((branch) => branch !== 'null').map((branch) => typeText(branch, out));
    return [...branches, ...(branches.length < type.length ? ['null'] : [])].join(' | ');
  }
  if (typeof type === 'string') return PRIMITIVES[type] ?? type;
  if (!isObject(type)) throw new TypeError(`not a type: ${JSON.stringify(type)}`);
  switch (type['type']) {
    case 'record':
      declareRecord(type, out);
      return String(type['name']);
    case 'enum':
      declareEnum(type, out);
      return String(type['name']);
    case 'array': {
      const items = typeText(type['items'], out);
      return items.includes(' ') ? `(${items})[]` : `${items}[]`;
    }
    default: {
      const primitive = PRIMITIVES[String(type['type'])];
      if (primitive === undefined) throw new TypeError(`no TypeScript for ${JSON.stringify(type)}`);
      return primitive;
    }
  }
}

/** Line width of the formatter. */
const LINE_WIDTH = 120;

function declareEnum(type: Schema, out: Emitter): void {
  const symbols = (type['symbols'] as string[]).map((symbol) => `'${symbol}'`);
  const line = `export type ${String(type['name'])} = ${symbols.join(' | ')};`;
  const broken = `export type ${String(type['name'])} =${symbols.map((symbol) => `\n  | ${symbol}`).join('')};`;
  out.declarations.push(line.length <= LINE_WIDTH ? line : broken);
}

function docOf(field: Schema): string {
  const type = Array.isArray(field['type']) ? field['type'].find(isObject) : field['type'];
  const micros = isObject(type) && type['logicalType'] === 'timestamp-micros' ? 'microseconds since 1970' : '';
  return [field['doc'], micros].filter(Boolean).join('; ');
}

function declareRecord(record: Schema, out: Emitter): void {
  const lines = (record['fields'] as Schema[]).flatMap((field) => {
    const doc = docOf(field);
    return [...(doc ? [`  /** ${doc} */`] : []), `  ${String(field['name'])}: ${typeText(field['type'], out)};`];
  });
  const head = record['doc'] ? `/** ${String(record['doc'])} */\n` : '';
  out.declarations.push(`${head}export interface ${String(record['name'])} {\n${lines.join('\n')}\n}`);
}

/** types.gen.ts of the current schemas, in this order. */
export function generateTypes(schemas: readonly unknown[]): string {
  const out: Emitter = { declarations: [] };
  for (const schema of schemas) declareRecord(schema as Schema, out);
  const head = '// Generated from avro/*.avsc by src/generate/main.ts: do not edit.\n';
  return `${head}\n${out.declarations.join('\n\n')}\n`;
}

/** A schema without its documentation, as `bailiff_schemas` stores it. */
export function withoutDoc(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDoc);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept = Object.entries(schema).filter(([key]) => key !== 'doc');
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutDoc(value)]));
}

export interface HistoricSchema {
  version: string;
  schema: unknown;
}

/** schemas.gen.ts: the current texts, then the released ones. */
export function generateSchemas(current: readonly unknown[], history: readonly HistoricSchema[]): string {
  const row = (version: string, schema: unknown) => {
    const text = JSON.stringify(withoutDoc(schema));
    if (text.includes("'") || text.includes('\\')) throw new TypeError('a schema text must not need escapes');
    const fields = { version, name: String((schema as Schema)['name']), fingerprint: fingerprintHex(schema), text };
    return `  {\n${Object.entries(fields)
      .map(([key, value]) => `    ${key}: '${value}',\n`)
      .join('')}  },`;
  };
  const table = (name: string, doc: string, rows: string[]) =>
    `/** ${doc} */\nexport const ${name}: readonly SchemaText[] = [\n${rows.join('\n')}\n];`;
  return [
    '// Generated from avro/*.avsc and history/ by src/generate/main.ts: do not edit.',
    'export interface SchemaText {\n  version: string;\n  name: string;\n  /** fingerprintHex() of the text. */\n  fingerprint: string;\n  text: string;\n}',
    table(
      'CURRENT_SCHEMAS',
      'What this build writes.',
      current.map((schema) => row('current', schema)),
    ),
    history.length === 0
      ? '/** What releases wrote. */\nexport const RELEASED_SCHEMAS: readonly SchemaText[] = [];'
      : table(
          'RELEASED_SCHEMAS',
          'What releases wrote.',
          history.map(({ version, schema }) => row(version, schema)),
        ),
    '',
  ]
    .join('\n\n')
    .replace(/\n+$/, '\n');
}

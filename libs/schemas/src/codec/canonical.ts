/**
 * Parsing Canonical Form of an Avro schema and its CRC-64-AVRO (Rabin) fingerprint, as the Avro
 * specification defines them ("Transforming into Parsing Canonical Form", "Schema Fingerprints").
 *
 * codec.ts and registry.ts name schemas by it; keys of `bailiff_schemas` are `fp-<hex>`. Invariant:
 * schemas with the same fingerprint encode to the same bytes. Docs, aliases, defaults and logical
 * types are not part of it.
 */

const PRIMITIVES = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']);

/**
 * Limit of a canonical form, in characters. Each name gets the namespace of its record, so a text of 64 KiB can have a form
 * of 268 MB.
 */
const MAX_FORM = 64 * 1024;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function fullName(name: string, namespace: string): string {
  if (name.includes('.') || namespace === '') return name;
  return `${namespace}.${name}`;
}

function canonicalNamed(schema: { [key: string]: Json }, namespace: string): string {
  const name = String(schema['name']);
  const said = typeof schema['namespace'] === 'string' ? schema['namespace'] : namespace;
  const full = fullName(name, said);
  const inner = full.includes('.') ? full.slice(0, full.lastIndexOf('.')) : '';
  const head = `{"name":${JSON.stringify(full)},"type":"${String(schema['type'])}"`;
  if (schema['type'] === 'enum') return `${head},"symbols":${JSON.stringify(schema['symbols'])}}`;
  if (schema['type'] === 'fixed') return `${head},"size":${Number(schema['size'])}}`;
  const fields = (schema['fields'] as { [key: string]: Json }[]).map(
    (field) => `{"name":${JSON.stringify(field['name'])},"type":${canonical(field['type'] as Json, inner)}}`,
  );
  return `${head},"fields":[${fields.join(',')}]}`;
}

function canonical(schema: Json, namespace: string): string {
  const form = formOf(schema, namespace);
  if (form.length > MAX_FORM) throw new TypeError('the canonical form is too long');
  return form;
}

function formOf(schema: Json, namespace: string): string {
  if (typeof schema === 'string') return JSON.stringify(PRIMITIVES.has(schema) ? schema : fullName(schema, namespace));
  if (Array.isArray(schema)) return `[${schema.map((branch) => canonical(branch, namespace)).join(',')}]`;
  if (schema === null || typeof schema !== 'object') throw new TypeError(`not an Avro schema: ${String(schema)}`);
  switch (schema['type']) {
    case 'record':
    case 'enum':
    case 'fixed':
      return canonicalNamed(schema, namespace);
    case 'array':
      return `{"type":"array","items":${canonical(schema['items'] as Json, namespace)}}`;
    case 'map':
      return `{"type":"map","values":${canonical(schema['values'] as Json, namespace)}}`;
    default:
      return canonical(schema['type'] as Json, namespace);
  }
}

/** Parsing Canonical Form of a parsed schema. @throws TypeError if it is not a schema, or longer than MAX_FORM */
export function canonicalForm(schema: unknown): string {
  return canonical(schema as Json, '');
}

/** Fingerprint of the empty string, which is also the polynomial. */
const EMPTY = 0xc15d213aa4d7a795n;
const makeTable = () =>
  Array.from({ length: 256 }, (_, index) => {
    let fingerprint = BigInt(index);
    for (let bit = 0; bit < 8; bit += 1) fingerprint = (fingerprint >> 1n) ^ (fingerprint & 1n ? EMPTY : 0n);
    return fingerprint;
  });
/** Created on first use: most processes read only schemas whose fingerprints are built in. */
let table: bigint[] | null = null;

/** CRC-64-AVRO of bytes, as an unsigned 64-bit number. */
export function rabin64(bytes: Uint8Array): bigint {
  table ??= makeTable();
  let fingerprint = EMPTY;
  for (const byte of bytes) {
    fingerprint = (fingerprint >> 8n) ^ (table[Number((fingerprint ^ BigInt(byte)) & 0xffn)] as bigint);
  }
  return fingerprint;
}

/** CRC-64-AVRO of a parsed schema. */
export function fingerprintOf(schema: unknown): bigint {
  return rabin64(Buffer.from(canonicalForm(schema), 'utf8'));
}

/** The same as 16 lower-case hex digits, most significant first, as in keys and errors. */
export function fingerprintHex(schema: unknown): string {
  return fingerprintOf(schema).toString(16).padStart(16, '0');
}

/** docs/reference/schemas.md: the Avro schemas of bus messages with their descriptions. */
import { createHash } from 'node:crypto';
import { CURRENT_SCHEMAS, canonicalForm, RELEASED_SCHEMAS } from '@bailiff/schemas';
import { readCurrent } from '../../libs/schemas/src/generate/files.ts';
import { code, page, section, table } from './markdown.ts';

export type AvroType = string | AvroType[] | Named;
interface Named {
  type: string;
  name?: string;
  doc?: string;
  logicalType?: string;
  symbols?: string[];
  items?: AvroType;
  fields?: AvroField[];
}
export interface AvroField {
  name: string;
  type: AvroType;
  doc?: string;
  default?: unknown;
}
export interface AvroRecord extends Named {
  name: string;
  fields: AvroField[];
}

const link = (name: string): string => `[${name}](#${name.toLowerCase()})`;

/** `long` as microseconds, `list of Violation`, `PodRef or null`. */
function typeText(type: AvroType): string {
  if (Array.isArray(type))
    return (
      type
        .filter((one) => one !== 'null')
        .map(typeText)
        .join(' or ') + (type.includes('null') ? ' or null' : '')
    );
  if (typeof type === 'string') return /^[A-Z]/.test(type) ? link(type) : type;
  if (type.type === 'array') return `list of ${typeText(type.items ?? 'null')}`;
  if (type.type === 'record') return link(type.name ?? '');
  if (type.type === 'enum') return (type.symbols ?? []).map(code).join(' | ');
  if (type.logicalType === 'timestamp-micros') return 'long, microseconds since 1970';
  if (type.logicalType !== undefined) throw new TypeError(`no words for ${JSON.stringify(type)}`);
  return typeText(type.type);
}

/** All records of a schema, the outermost first; each once. */
export function recordsOf(type: AvroType): AvroRecord[] {
  if (typeof type === 'string') return [];
  if (Array.isArray(type)) return type.flatMap(recordsOf);
  if (type.type === 'array') return recordsOf(type.items ?? 'null');
  if (type.type !== 'record') return [];
  const record = type as AvroRecord;
  return [record, ...record.fields.flatMap((field) => recordsOf(field.type))];
}

export const everyRecord = (): AvroRecord[] => (readCurrent() as AvroType[]).flatMap(recordsOf);

function recordSection(record: AvroRecord): string {
  const rows = record.fields.map(({ name, type, doc, default: fallback }) => [
    code(name),
    typeText(type),
    fallback === undefined ? '' : code(JSON.stringify(fallback)),
    doc ?? '',
  ]);
  return section(record.name, record.doc ?? '', table(['field', 'type', 'default', 'what'], rows));
}

export function schemasPage(): string {
  const versions = [...CURRENT_SCHEMAS, ...RELEASED_SCHEMAS].map(({ name, version, fingerprint, text }) => [
    code(name),
    version,
    code(fingerprint),
    code(
      createHash('sha256')
        .update(canonicalForm(JSON.parse(text)))
        .digest('hex'),
    ),
  ]);
  return page(
    'Schemas',
    `A message is \`C3 01\`, eight bytes of fingerprint (CRC-64-AVRO, little endian), and the body in Avro's binary encoding. \`bailiff schemas export --dir schemas\` writes every schema under its
fingerprint; on the bus they are in \`bailiff_schemas\`. Versions are read by one another both ways. Field names follow OpenTelemetry where it has a word.`,
    [
      section('Fingerprints', table(['schema', 'version', 'fingerprint', 'SHA-256 of the canonical form'], versions)),
      ...everyRecord().map(recordSection),
    ],
  );
}

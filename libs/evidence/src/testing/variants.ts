/**
 * Other forms of an honest bundle, for tests. The exporter signed each, so that nothing but the rule in
 * question finds it. Each was accepted by a verifier, or judged differently by two, or ended one.
 */
import { fingerprintHex } from '@bailiff/schemas';
import { BundleDigest, FORMAT, type Header, PAYLOAD_TYPE, PREDICATE_TYPE, subjectName } from '../format/bundle.ts';
import { seal } from '../format/envelope.ts';
import { contentOf, type EvidenceRecord, recordHash, SCHEMAS, sha256 } from '../format/record.ts';
import { EXPORTER, type incident } from '../testing.ts';
import type { CheckName } from '../verify/report.ts';
import { collidingVerdict } from './colliding.ts';

export interface Variant {
  name: string;
  lines: string[];
  /** This check fails; null: an honest form. */
  found: CheckName | null;
}

export const UNKNOWN_SCHEMA = 'schema: of another version';
export const UNKNOWN_FRAMES = 'schema: frames of another version';

type Change = (text: string) => string;
const same: Change = (text) => text;
/** In place of the first occurrence, which must exist. */
const put =
  (from: string, to: string): Change =>
  (text) => {
    if (!text.includes(from)) throw new Error(`no ${from}`);
    return text.replace(from, () => to);
  };

/** Lines of header and records with a statement about them. @param payload changes its text, in Latin-1 */
export function sealed(lines: readonly string[], payload: Change = same): string[] {
  const [head = '', ...texts] = lines;
  const header = JSON.parse(head) as Header;
  const digest = new BundleDigest(header, head);
  const counts: Record<string, number> = {};
  for (const record of texts.map((text) => JSON.parse(text) as EvidenceRecord)) {
    digest.add(record);
    counts[record.stream] = (counts[record.stream] ?? 0) + 1;
  }
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    predicateType: PREDICATE_TYPE,
    subject: [{ name: subjectName(header.verdictId), digest: { sha256: digest.end() } }],
    predicate: { records: counts, positions: { VIOLATIONS: { first: 1, last: 9 } }, log: null },
  };
  const { _type, subject, predicateType, predicate } = statement;
  const text = payload(JSON.stringify({ _type, subject, predicateType, predicate }));
  return [...lines, JSON.stringify(seal(PAYLOAD_TYPE, Buffer.from(text, 'latin1'), EXPORTER.privateKey))];
}

/** Moves the first byte of a content to its salt, in a record of which another part is redacted. */
export function movedSalt(record: EvidenceRecord): EvidenceRecord {
  let isMoved = false;
  const parts = record.parts.map((part) => {
    if (typeof part === 'string' || !('data' in part) || isMoved) return part;
    isMoved = true;
    const [salt, data] = [part.salt, part.data].map((text) => Buffer.from(text, 'base64')) as [Buffer, Buffer];
    const longer = Buffer.concat([salt, data.subarray(0, 1)]).toString('base64');
    return { ...part, salt: longer, data: data.subarray(1).toString('base64') };
  });
  const moved = { ...record, parts };
  if (!isMoved || !recordHash(moved, 0).equals(recordHash(record, 0))) throw new Error('the hash shows it');
  return moved;
}

/** @param own its lines are those of the bundle without the statement */
export function variantsOf({ records, verdict }: ReturnType<typeof incident>, own: readonly string[]): Variant[] {
  const header = (name: string, change: Change, found: CheckName = 'format'): Variant => ({
    name: `header: ${name}`,
    found,
    lines: sealed([change(own[0] as string), ...own.slice(1)]),
  });
  const payload = (name: string, change: Change): Variant => ({
    name: `payload: ${name}`,
    found: 'format',
    lines: sealed(own, change),
  });
  const line = (name: string, stream: string, change: Change, found: CheckName = 'format'): Variant => {
    const at = 1 + records.findIndex((record) => record.stream === stream);
    return { name: `${stream}: ${name}`, found, lines: sealed(own.map((text, n) => (n === at ? change(text) : text))) };
  };
  const schemaAtOf = (name: string) =>
    1 +
    records.findIndex(({ stream, parts }) => {
      const text = Buffer.from(String(parts[0]), 'base64').toString();
      return stream === SCHEMAS && text.includes(`"name":"${name}"`);
    });
  const schemaAt = schemaAtOf('Verdict');
  const schemaWith = (name: string, text: (old: string) => string): Variant => {
    const record = records[schemaAt - 1] as EvidenceRecord;
    const bytes = Buffer.from(text(Buffer.from(String(record.parts[0]), 'base64').toString()));
    const changed = { ...record, sha256: sha256(bytes).toString('hex'), parts: [bytes.toString('base64')] };
    const lines = own.map((old, at) => (at === schemaAt ? JSON.stringify(changed) : old));
    return { name: `schema: ${name}`, found: 'records', lines: sealed(lines) };
  };
  /** Bytes of the message from `at` on replaced. */
  const verdictWith = (
    name: string,
    found: CheckName | null,
    at: (content: Buffer) => number,
    bytes: number[],
  ): Variant => {
    const lineAt = own.findIndex((text) => text.startsWith('{"stream":"VERDICTS"'));
    const record = JSON.parse(own[lineAt] as string) as EvidenceRecord;
    const content = contentOf(record);
    content.set(bytes, at(content));
    const changed = { ...record, sha256: sha256(content).toString('hex'), parts: [content.toString('base64')] };
    const lines = own.map((old, index) => (index === lineAt ? JSON.stringify(changed) : old));
    return { name: `verdict: ${name}`, found, lines: sealed(lines) };
  };
  const EMPTY_RECORD = { type: 'record', fields: [] };
  /** Messages in a schema that no version has. @param type of its last field @param tail the bytes of that */
  const unknownSchema = (
    name: string,
    { stream = 'VERDICTS', message = 'Verdict', type = EMPTY_RECORD as object, tail = Buffer.of() } = {},
  ): Variant => {
    const lineOfSchema = schemaAtOf(message);
    const schema = JSON.parse(contentOf(records[lineOfSchema - 1] as EvidenceRecord).toString());
    schema.fields.push({ name: 'later', type: { name: 'Later', ...type } });
    const fingerprint = fingerprintHex(schema);
    const lines = own.map((old, at) => {
      const isMessage = old.startsWith(`{"stream":"${stream}"`);
      if (at !== lineOfSchema && !isMessage) return old;
      const record = JSON.parse(old) as EvidenceRecord;
      const content = isMessage ? Buffer.concat([contentOf(record), tail]) : Buffer.from(JSON.stringify(schema));
      if (isMessage) content.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
      const subject = isMessage ? record.subject : `$KV.bailiff_schemas.fp-${fingerprint}`;
      const of = { sha256: sha256(content).toString('hex'), parts: [content.toString('base64')] };
      return JSON.stringify({ ...record, subject, ...of });
    });
    return { name, found: null, lines: sealed(lines) };
  };
  /** Each of its names has the namespace. */
  const longSchema = (): string => {
    const fields = [{ name: 'a', type: Array.from({ length: 100 }, () => 'b') }];
    const text = JSON.stringify({ type: 'record', name: 'Verdict', namespace: 'n'.repeat(1000), fields });
    const record = records[schemaAt - 1] as EvidenceRecord;
    // Of its form, which fingerprintHex() refuses.
    const subject = '$KV.bailiff_schemas.fp-058dbf574b2f068c';
    const [hash, part] = [sha256(Buffer.from(text)).toString('hex'), Buffer.from(text).toString('base64')];
    return JSON.stringify({ ...record, subject, sha256: hash, parts: [part] });
  };
  const configuration = (sequence: number): string =>
    JSON.stringify({
      stream: 'CONFIG_LOG',
      sequence,
      storedAt: 1,
      subject: 'bailiff.v1.config.x',
      sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      parts: [],
    });
  const withConfiguration = (sequence: number, found: CheckName | null): Variant => ({
    name: `CONFIG_LOG: sequence ${sequence}`,
    lines: sealed([own[0] as string, configuration(sequence), ...own.slice(1)]),
    found,
  });
  const zero = '"lettersSince":0';
  return [
    { name: 'honest', lines: sealed(own), found: null },
    header('a space', put('{"format"', '{ "format"')),
    header('a carriage return', (text) => `${text}\r`),
    ...['0.0', '-0', '0e9'].map((number) => header(`the number ${number}`, put(zero, `"lettersSince":${number}`))),
    header('a field twice', put(zero, `"lettersSince":1,${zero}`)),
    header('another order', (text) => {
      const { format, ...rest } = JSON.parse(text) as Header;
      return JSON.stringify({ ...rest, format });
    }),
    header('half a surrogate pair', put('"exporter":"', '"exporter":"\\ud800')),
    header('an escape without need', put(FORMAT, FORMAT.replace('b', '\\u0062'))),
    header('a stream __proto__', put('"created":{', '"created":{"__proto__":1,')),
    header('a field __proto__', put('{"format"', '{"__proto__":1,"format"')),
    header('a stream without records', put('"created":{', '"created":{"1":1,')),
    ...['A B', '', '../x', 'node_a'].map((node) => header(`the node "${node}"`, put('"node-a"', JSON.stringify(node)))),
    header('another node', put('"node-a"', '"node-b"'), 'records'),
    payload('a space', put('{"_type"', '{ "_type"')),
    payload('a line break', (text) => `${text}\n`),
    payload('the number 1.0', put('"first":1', '"first":1.0')),
    payload('a field twice', put('"log":null', '"log":null,"log":null')),
    payload('not UTF-8', put('"log":null', '"log":{"origin":"\xff","size":1,"root":""}')),
    payload('a stream __proto__', put('"records":{', '"records":{"__proto__":7,')),
    payload('an unknown stream', put('"records":{', '"records":{"OTHER":0,')),
    ...['\ufeff', '\u0085', '\u00e4', '\u2028', '\\u0001', '\\ud800'].map((text) =>
      line(`a subject with ${JSON.stringify(text)}`, 'VIOLATIONS', put('.violations.', `.viol${text}ations.`)),
    ),
    line('a salt of another length', 'VIOLATIONS', (text) =>
      JSON.stringify(movedSalt(JSON.parse(text) as EvidenceRecord)),
    ),
    verdictWith('a reason that is not UTF-8', null, (content) => content.indexOf(verdict.reason), [0xff]),
    // Behind the name of the rule.
    verdictWith(
      'an enum without this symbol',
      'verdict',
      (content) => content.indexOf(verdict.rule) + verdict.rule.length,
      [32],
    ),
    // In place of revision, times and counts behind the key of the group.
    verdictWith(
      'a number beyond 2^53',
      'verdict',
      (content) => content.indexOf(verdict.groupKey) + verdict.groupKey.length,
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
    ),
    withConfiguration(1, null),
    withConfiguration(0, 'records'),
    schemaWith('two fields changed their places', (text) =>
      text.replace('"verdictId"', '"x"').replace('"rule"', '"verdictId"').replace('"x"', '"rule"'),
    ),
    unknownSchema(UNKNOWN_SCHEMA),
    unknownSchema(UNKNOWN_FRAMES, { stream: 'VIOLATIONS', message: 'ViolationFrame' }),
    unknownSchema('schema: of another version, with a fixed field', {
      type: { type: 'fixed', size: 3 },
      tail: Buffer.from('abc'),
    }),
    {
      name: 'schema: a canonical form of 100 kB',
      lines: sealed([own[0] as string, longSchema(), ...own.slice(1)]),
      found: 'records',
    },
    schemaWith('a size that no integer has', () => '{"type":"fixed","name":"Verdict","size":1e400}'),
    line('a fingerprint behind nothing', SCHEMAS, (text) => text.replace('$KV.bailiff_schemas.fp-', 'abc'), 'records'),
    schemaWith('another one with the same fingerprint', collidingVerdict),
    schemaWith(
      'a record in itself',
      () => '{"type":"record","name":"Verdict","fields":[{"name":"a","type":"Verdict"}]}',
    ),
    schemaWith('a record without fields', () => '{"type":"record","name":"Verdict"}'),
    schemaWith('nested deep', () => '['.repeat(60_000)),
    schemaWith('no JSON', () => '{'),
    {
      name: 'schema: left out',
      lines: sealed(own.filter((_, at) => at !== schemaAt)),
      found: 'verdict',
    },
  ];
}

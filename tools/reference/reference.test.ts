// docs/reference is up to date, and every key, flag, field, metric, code and command has a
// description.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSubject } from '@bailiff/bus';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { appMetrics, processMetrics } from '../app-metrics.ts';
import { everyCommand } from './commands.ts';
import { everyConfigField } from './config-keys.ts';
import { codesIn, everyCode } from './errors.ts';
import { variantsOf } from './fields.ts';
import { cell } from './markdown.ts';
import { referencePages } from './pages.ts';
import { appConfigs } from './process-config.ts';
import { everyRecord } from './schemas.ts';
import { ROOT, readSource, sourceFiles } from './source-text.ts';
import { matches, rightsOf, SUBJECTS } from './subjects.ts';

const DIRECTORY = path.join(ROOT, 'docs/reference');

it('reference - on disk is what the code says; if not, run `npm run reference`', async () => {
  const pages = await referencePages();
  expect(readdirSync(DIRECTORY).sort()).toEqual([...pages.keys()].sort());
  for (const [file, text] of pages) expect(readFileSync(path.join(DIRECTORY, file), 'utf8'), file).toBe(text);
}, 30_000);

describe('reference - nothing is without its words', () => {
  it('every key of the configuration', () => {
    const fields = everyConfigField();
    expect(fields.length).toBeGreaterThan(100);
    expect(
      fields.filter(({ field }) => field.description === '').map(({ kind, field }) => `${kind}: ${field.path}`),
    ).toEqual([]);
  });

  it('every flag of every app', async () => {
    const apps = await appConfigs();
    expect(apps.map(({ app }) => app)).toEqual(
      expect.arrayContaining(['bus-auth', 'collector', 'correlator', 'responder', 'ipam-sync', 'siem-relay']),
    );
    const bare = apps.flatMap(({ app, fields }) =>
      fields.filter(({ description }) => description === '').map((f) => `${app}: ${f.path}`),
    );
    expect(bare).toEqual([]);
  });

  it('every field of every message', () => {
    const records = everyRecord();
    expect(records.map(({ name }) => name)).toEqual(expect.arrayContaining(['ViolationFrame', 'Verdict', 'Response']));
    const bare = records.flatMap(({ name, doc, fields }) => [
      ...(doc ? [] : [name]),
      ...fields.filter((field) => !field.doc).map((field) => `${name}.${field.name}`),
    ]);
    expect(bare).toEqual([]);
  });

  it('every metric', async () => {
    const all = [...processMetrics(), ...[...(await appMetrics()).values()].flat()];
    expect(all.length).toBeGreaterThan(50);
    expect(all.filter(({ help }) => help === '').map(({ name }) => name)).toEqual([]);
  });

  it('every code of every error', () => {
    const lists = everyCode();
    const bare = lists.flatMap(({ name, codes }) =>
      codes.filter(({ words }) => words === '').map(({ code }) => `${name}: ${code}`),
    );
    expect(bare).toEqual([]);
    const known = new Set(lists.flatMap(({ codes }) => codes.map(({ code }) => code)));
    for (const code of ['BUS_TIMEOUT', 'KUBE_GONE', 'CONFIG_OWNER', 'CLI_USAGE', 'SYSLOG_BROKEN', 'uid-changed'])
      expect(known).toContain(code);
    // A class that names an unknown list would be left out.
    const named = new Set(lists.map(({ name }) => name));
    const left = sourceFiles().flatMap((file) =>
      [...readSource(file).matchAll(/^ {2}readonly code: (\w+);/gm)]
        .map(([, type = '']) => type)
        .filter((type) => type !== 'string' && !named.has(type))
        .map((type) => `${file}: ${type}`),
    );
    expect(left).toEqual([]);
  });

  it('every command', () => {
    const commands = everyCommand();
    expect(commands.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['bailiff', 'bailiff replay', 'bailiff config set']),
    );
    expect(
      commands
        .filter(({ description, help }) => description === '' || !help.includes('Usage: '))
        .map(({ name }) => name),
    ).toEqual([]);
  });
});

describe('reference - how it is made', () => {
  it('codes - by a comment each, by one comment for all, by a class, and what has none', () => {
    const text = `/** Said before. A_ONE: first. A_TWO: second; more. */
export type ACode = 'A_ONE' | 'A_TWO';
export type BCode =
  /** Its own; with a semicolon. */
  | 'B_ONE'
  | 'B_TWO';
/** A thing. */
export class CError extends Error {
  readonly code = 'C_ONE';
}
`;
    expect(
      codesIn('f', text).map(({ name, codes }) => [name, ...codes.map(({ code, words }) => `${code}=${words}`)]),
    ).toEqual([
      ['ACode', 'A_ONE=first', 'A_TWO=second; more'],
      ['BCode', 'B_ONE=Its own; with a semicolon', 'B_TWO='],
      ['CError', 'C_ONE=A thing'],
    ]);
  });

  it('fields - types with their ranges, groups, lists, maps and variants', () => {
    const inner = z.strictObject({ n: z.number().int().min(1).max(8).default(2).describe('a number') });
    const schema = z.strictObject({
      group: inner.describe('a group'),
      list: z.array(inner).min(1).max(3).optional(),
      map: z.record(z.string(), z.enum(['a', 'b'])),
    });
    expect(
      variantsOf(schema)[0]?.fields.map(({ path: at, type, fallback, required }) => [at, type, fallback, required]),
    ).toEqual([
      ['group', 'group', '', true],
      ['group.n', 'whole number, 1 to 8', '2', false],
      ['list', 'list of group, 1 to 3 entries', '', false],
      ['list[].n', 'whole number, 1 to 8', '2', false],
      ['map', 'map: `a` | `b`', '', true],
    ]);
    expect(cell('a | b\n c')).toBe('a \\| b c');
  });

  it('subjects - each form has an example that the code reads, and every form that it reads is listed', () => {
    const kinds = SUBJECTS.map(({ form, example }) => {
      const pattern = form.replaceAll(/<[^>]*>/g, '*');
      expect([form, matches(pattern, example)]).toEqual([form, true]);
      return parseSubject(example)?.what;
    });
    const source = readSource('libs/bus/src/topology/subjects.ts');
    const listed = [...source.matchAll(/^ {2}\| \{ what: '(\w+)'/gm)].map(([, what]) => what);
    expect(listed.length).toBeGreaterThan(5);
    expect(kinds.sort()).toEqual(listed.sort());
  });

  it('rights - of a reader: three streams and no word of its own; of a collector: its own node', () => {
    expect(rightsOf({ role: 'reader' })).toMatchObject({
      publishes: [],
      puts: [],
      streams: ['VIOLATIONS', 'VERDICTS', 'RESPONSES'],
    });
    expect(rightsOf({ role: 'collector', node: 'node-a.example' })).toMatchObject({
      puts: ['bailiff_nodes <node>'],
      streams: ['LATEST_bailiff_config'],
    });
  });
});

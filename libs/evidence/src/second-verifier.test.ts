// The verifier in Python, which was written from docs/evidence-format.md alone, gives the same outcomes as
// this library for the same files.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { COSIGNATURE, formatVerifierKey, signNote, verifierKey } from '@bailiff/policy/note';
import { CURRENT_SCHEMAS, canonicalForm, RELEASED_SCHEMAS } from '@bailiff/schemas';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { CLASSES, parseRecord, redact, sha256 } from './format/record.ts';
import { checkpointIn, formatCheckpoint } from './log/checkpoint.ts';
import { cosign } from './log/cosignature.ts';
import { bundleOf, forge, MANIPULATIONS } from './testing/manipulations.ts';
import { variantsOf } from './testing/variants.ts';
import { EXPORTER, incident, keyOf, LOG, linesOf, MemoryLog, ORIGIN } from './testing.ts';
import { verifyBundle } from './verify/verify.ts';

const run = promisify(execFile);
const PROGRAM = new URL('../python/verify.py', import.meta.url).pathname;
const VECTOR = new URL('../vectors/honest.evidence', import.meta.url).pathname;
const directory = temporaryDirectory();

const pemOf = (seed: number) => path.join(directory, `${seed}.pub`);
for (const seed of [1, 9]) writeFileSync(pemOf(seed), keyOf(seed).publicKey.export({ format: 'pem', type: 'spki' }));
const LOG_KEY = verifierKey(ORIGIN, LOG.privateKey);
const bundle = bundleOf(1);

interface Vector {
  name: string;
  lines: readonly string[];
  /** Seed of the exporter's key; null: none is known. */
  key?: number | null;
  hasLogKey?: boolean;
  head?: string;
  /** Names of witnesses whose keys the verifier knows. */
  witnesses?: readonly string[];
}

const WITNESS = keyOf(5);
const witnessKey = (name: string) => verifierKey(name, WITNESS.publicKey, COSIGNATURE);
const headText = formatCheckpoint(checkpointIn(bundle.log.head()));
const by = (name: string, { key = WITNESS.privateKey, text = headText, time = 1_800_000_000 } = {}) =>
  cosign(text, name, key, time);
/** The bundle with more signatures of its head, which are in every proof. */
const cosigned = (signatures: string) =>
  bundle.lines.map((line, index) => {
    if (index === 0 || index === bundle.lines.length - 1) return line;
    const record = parseRecord(line);
    return record.proof === undefined ? line : JSON.stringify({ ...record, proof: record.proof + signatures });
  });

const redactedLines = bundle.lines.map((line, index) =>
  index === 0 || index === bundle.lines.length - 1 ? line : JSON.stringify(redact(parseRecord(line), CLASSES)),
);
const forked = new MemoryLog();
while (forked.size < bundle.log.size) forked.append(Buffer.from('other'));

/** Differs in the bits that base64 does not use. */
const other = (text: string): string => String.fromCharCode(text.charCodeAt(text.length - 1) + 1);
/** The signature of the log is the first line, in another form of base64, and the second line. */
const withBadSignature = bundle.log
  .head()
  .replace(/(— .*[^=\n])(=+\n)/, (line, text: string, end: string) => text.slice(0, -1) + other(text) + end + line);

function vectors(): Vector[] {
  const all: Vector[] = [
    { name: 'honest', lines: bundle.lines },
    { name: 'honest, a known head', lines: bundle.lines, head: bundle.log.head() },
    { name: 'an older known head', lines: bundle.lines, head: bundle.log.head(3) },
    { name: 'another log', lines: bundle.lines, head: forked.head() },
    { name: 'a known head of another key', lines: bundle.lines, head: bundle.log.head(3, keyOf(4).privateKey) },
    { name: 'no key', lines: bundle.lines, key: null },
    { name: 'another key', lines: bundle.lines, key: 9 },
    { name: 'no key of the log', lines: bundle.lines, hasLogKey: false },
    { name: 'cosigned', lines: cosigned(by('w/1')), witnesses: ['w/1'] },
    { name: 'cosigned by two', lines: cosigned(by('w/1') + by('w/2')), witnesses: ['w/1', 'w/2'] },
    { name: 'cosigned by one of two', lines: cosigned(by('w/1')), witnesses: ['w/1', 'w/2'] },
    { name: 'cosigned by none', lines: bundle.lines, witnesses: ['w/1'] },
    { name: 'cosigned, no witness is known', lines: cosigned(by('w/1')) },
    { name: 'no log, a witness', lines: linesOf(incident(2)), witnesses: ['w/1'] },
    {
      name: 'cosigned: another head',
      lines: cosigned(by('w/1', { text: headText.replace('l', 'm') })),
      witnesses: ['w/1'],
    },
    { name: 'cosigned: another key', lines: cosigned(by('w/1', { key: keyOf(6).privateKey })), witnesses: ['w/1'] },
    { name: 'cosigned: no time', lines: cosigned(by('w/1', { time: 0 })), witnesses: ['w/1'] },
    {
      name: 'cosigned: a time that no date has',
      lines: cosigned(by('w/1', { time: Number.MAX_SAFE_INTEGER })),
      witnesses: ['w/1'],
    },
    {
      name: 'cosigned: a valid and a wrong one',
      lines: cosigned(by('w/1') + by('w/1', { time: 0 })),
      witnesses: ['w/1'],
    },
    { name: 'cosigned: cut off', lines: cosigned(by('w/1').slice(0, -1)), witnesses: ['w/1'] },
    { name: 'cosigned: 16 signatures', lines: cosigned(by('w/2').repeat(13) + by('w/1')), witnesses: ['w/1'] },
    { name: 'cosigned: too many signatures', lines: cosigned(by('w/2').repeat(14) + by('w/1')), witnesses: ['w/1'] },
    { name: 'no log', lines: linesOf(incident(2)) },
    { name: 'not signed', lines: linesOf(incident(2), null, null) },
    { name: 'redacted', lines: redactedLines },
    { name: 'empty', lines: [] },
    { name: 'an empty line', lines: [''] },
    { name: 'deep', lines: ['['.repeat(50_000)] },
    { name: 'a header alone', lines: bundle.lines.slice(0, 1) },
    { name: 'a known head that is none', lines: bundle.lines, head: signNote('x\n', ORIGIN, LOG.privateKey) },
    { name: 'a known head, after a signature that is none', lines: bundle.lines, head: withBadSignature },
    ...variantsOf(incident(1), linesOf(incident(1)).slice(0, -1)),
    { name: 'two statements', lines: [...bundle.lines, bundle.lines.at(-1) as string] },
  ];
  let random = 7;
  const pick = (most: number) => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((random / 2 ** 32) * most);
  };
  for (const kind of MANIPULATIONS) {
    for (let n = 0; n < 2; n++) all.push({ name: `${kind} ${n}`, lines: forge(kind, bundle, pick).lines });
  }
  return all;
}

async function inPython({ lines, key = 1, hasLogKey = true, head, witnesses = [] }: Vector, number: number) {
  const file = path.join(directory, `${number}.evidence`);
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  const known = path.join(directory, `${number}.head`);
  if (head !== undefined) writeFileSync(known, head);
  const args = [
    ...[PROGRAM, file, ...(key === null ? [] : ['--key', pemOf(key)])],
    ...(hasLogKey ? ['--log-key', formatVerifierKey(LOG_KEY)] : []),
    ...(head === undefined ? [] : ['--head', known]),
    ...witnesses.flatMap((name) => ['--witness-key', formatVerifierKey(witnessKey(name))]),
  ];
  const { stdout } = await run('/usr/bin/python3', args).catch((error: { stdout: string; stderr: string }) => {
    if (error.stderr !== '') throw new Error(error.stderr);
    return error;
  });
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/, 2).reverse() as [string, string]),
  );
}

async function here({ lines, key = 1, hasLogKey = true, head, witnesses = [] }: Vector) {
  const publicKey = key === null ? null : keyOf(key).publicKey;
  const witnessKeys = witnesses.map(witnessKey);
  const options = { key: publicKey, logKeys: hasLogKey ? [LOG_KEY] : [], knownHead: head ?? null, witnessKeys };
  const { checks } = await verifyBundle(lines, options);
  return Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));
}

describe('the second verifier', () => {
  it('agrees about every vector, except that it does not judge again', async () => {
    const all = vectors();
    expect(all.length).toBeGreaterThan(100);
    const disagreed: unknown[] = [];
    const left = all.map((vector, number) => ({ vector, number }));
    const work = async () => {
      for (let one = left.shift(); one; one = left.shift()) {
        const [first, second] = [await here(one.vector), await inPython(one.vector, one.number)];
        const expected = { ...first, judged: 'SKIP' };
        if (JSON.stringify(expected) !== JSON.stringify(second)) disagreed.push([one.vector.name, expected, second]);
      }
    };
    await Promise.all([work(), work(), work()]);
    expect(disagreed).toEqual([]);
    // More than a hundred starts of Python: a minute on a machine with other work.
  }, 300_000);
});

it('the second verifier knows the schemas of this version', () => {
  const hashOf = (text: string) => sha256(Buffer.from(canonicalForm(JSON.parse(text)))).toString('hex');
  const table = [...readFileSync(PROGRAM, 'utf8').matchAll(/^ {4}"([0-9a-f]{16})": "([0-9a-f]{64})",$/gm)];
  expect(table.map(([, ...row]) => row)).toEqual(
    [...CURRENT_SCHEMAS, ...RELEASED_SCHEMAS].map(({ fingerprint, text }) => [fingerprint, hashOf(text)]),
  );
});

describe('witnesses', () => {
  const outcomeOf = async (name: string) =>
    (await here(vectors().find((one) => one.name === name) as Vector))['witness'];
  it('PASS needs a valid cosignature of each witness that the verifier knows; without one it is skipped, a wrong one fails', async () => {
    const of = async (...names: string[]) => Promise.all(names.map(outcomeOf));
    expect(
      await of('cosigned', 'cosigned by two', 'cosigned: 16 signatures', 'cosigned: a time that no date has'),
    ).toEqual(['PASS', 'PASS', 'PASS', 'PASS']);
    expect(
      await of('cosigned by one of two', 'cosigned by none', 'cosigned, no witness is known', 'no log, a witness'),
    ).toEqual(['SKIP', 'SKIP', 'SKIP', 'SKIP']);
    expect(
      await of(
        'cosigned: another head',
        'cosigned: another key',
        'cosigned: no time',
        'cosigned: a valid and a wrong one',
      ),
    ).toEqual(['FAIL', 'SKIP', 'FAIL', 'FAIL']);
  });
});

describe('a file of this format', () => {
  it('stays valid, and is judged to the same verdict, as long as format and fold have their versions', async () => {
    const lines = readFileSync(VECTOR, 'utf8').trimEnd().split('\n');
    const options = { key: EXPORTER.publicKey, logKeys: [LOG_KEY], knownHead: null };
    const { checks } = await verifyBundle(lines, options);
    expect(checks.filter(({ outcome }) => outcome !== 'PASS').map(({ name }) => name)).toEqual([
      'witness',
      'consistency',
    ]);
  });
});

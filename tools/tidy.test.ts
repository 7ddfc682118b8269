// House rules that a machine can hold: import direction, file size, and one pin per dependency.
import { lstatSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { listed } from './listed.ts';

const root = path.resolve(import.meta.dirname, '..');
const files = listed();
const source = files.filter((f) => /\.(ts|c|h|cc|mjs)$/.test(f) && !f.includes('.gen.'));
// A link has no text of its own.
const isLink = (f: string) => lstatSync(path.join(root, f)).isSymbolicLink();
const read = (f: string) => readFileSync(path.join(root, f), 'utf8');

const MAX_LINES = 400;
/** Test files may be longer: a table of cases reads best in one place. */
const MAX_TEST_LINES = 800;

describe('tidy', () => {
  it('links - each leads to a file of the repository', () => {
    const target = (f: string) => path.relative(root, realpathSync(path.join(root, f)));
    const isOurs = (to: string) => files.some((f) => f === to || f.startsWith(`${to}/`));
    expect(files.filter(isLink).filter((f) => !isOurs(target(f)))).toEqual([]);
    expect(isOurs('../elsewhere/dist')).toBe(false);
  });

  it('files - none is longer than the limit', () => {
    const long = source
      .map((f) => ({ f, lines: read(f).split('\n').length }))
      .filter(
        ({ f, lines }) =>
          lines > (f.startsWith('test/') || f.includes('.test.') || f.includes('/test/') ? MAX_TEST_LINES : MAX_LINES),
      );
    expect(long).toEqual([]);
  });

  it('imports - nothing imports an app, and libraries import in one direction', () => {
    const wrong: string[] = [];
    const libOf = (f: string) => /^libs\/([^/]+)\//.exec(f)?.[1];
    const allowed: Record<string, readonly string[]> = {
      vocabulary: [],
      schemas: ['vocabulary'],
      policy: ['vocabulary'],
      service: [],
      bpf: ['vocabulary'],
      kube: ['service', 'service/retry'],
      runtime: ['vocabulary', 'policy', 'bpf'],
      bus: ['schemas', 'policy', 'service', 'service/exit-codes', 'service/retry', 'service/turns'],
      correlation: ['schemas', 'policy', 'service/fair-counts'],
      response: ['schemas', 'policy', 'bus', 'service/exit-codes', 'service/printable'],
      insight: ['schemas', 'policy', 'bus', 'correlation', 'response', 'service/fair-counts', 'service/turns'],
      evidence: ['schemas', 'policy', 'bus', 'correlation', 'response', 'service/retry'],
      siem: ['schemas', 'bus', 'service/printable'],
      connector: ['schemas', 'bus', 'service', 'service/retry'],
    };
    // What tests alone load may know more: here, every word that a policy has for an operation.
    const alsoInTests: Record<string, readonly string[]> = { 'libs/siem/src/testing.ts': ['policy'] };
    for (const f of source.filter((name) => name.endsWith('.ts') && !name.includes('.test.'))) {
      for (const match of read(f).matchAll(/from '([^']+)'/g)) {
        const target = match[1] as string;
        const from = libOf(f);
        if (
          (/^@bailiff\/(collector|correlator|responder|ipam-sync|siem-relay|bus-auth|console)/.test(target) &&
            // The command that starts it.
            !(target === '@bailiff/console' && f.startsWith('apps/cli/src/console/'))) ||
          (/apps\//.test(target) && !f.startsWith('apps/'))
        ) {
          if (!/^(test|tools\/reference)\//.test(f)) wrong.push(`${f} imports ${target}`);
        }
        // Pure code of the process frame has an entry of its own, for libraries that are pure.
        const lib = /^@bailiff\/(service\/(?:fair-counts|exit-codes|printable|retry|turns)|[a-z-]+)/.exec(target)?.[1];
        const known = from ? [from, ...(allowed[from] ?? []), ...(alsoInTests[f] ?? [])] : [];
        if (from && f.includes('/src/') && lib && !known.includes(lib)) wrong.push(`${f} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('imports - JetStream is touched only in libs/bus', () => {
    const wrong = source.filter(
      (f) =>
        f.endsWith('.ts') &&
        !f.startsWith('libs/bus/') &&
        !/^(test|libs\/[^/]+\/test)\//.test(f) &&
        !f.includes('.test.') &&
        /from '@nats-io\//.test(read(f)),
    );
    expect(wrong).toEqual([]);
  });

  it('headers - messages are received only where their headers are read safely', () => {
    const safe = 'libs/bus/src/connection/incoming.ts';
    const isApp = (f: string) => /^(apps|libs)\/.*\.ts$/.test(f) && !f.includes('.test.') && f !== safe;
    expect(source.filter((f) => isApp(f) && /\.nc\.(subscribe|request|requestMany)\b/.test(read(f)))).toEqual([]);
  });

  it('packages - every dependency is pinned once, exactly, in the root', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    const all = { ...manifest['dependencies'], ...manifest['devDependencies'] };
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    for (const f of files.filter((name) => /^(apps|libs)\/[^/]+\/package\.json$/.test(name))) {
      const own = JSON.parse(read(f)) as Record<string, unknown>;
      expect([f, own['dependencies'] ?? {}, own['devDependencies'] ?? {}]).toEqual([f, {}, {}]);
    }
  });

  it('time limits - none is a signal that the garbage collection ends', () => {
    const isApp = (f: string) => /^(apps|libs)\/.*\.ts$/.test(f) && !f.includes('.test.') && !f.endsWith('retry.ts');
    expect(source.filter((f) => isApp(f) && read(f).includes('AbortSignal.timeout('))).toEqual([]);
  });

  it('comments - no work left behind in a comment', () => {
    const marker = new RegExp(`\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${['XX', 'X'].join('')})\\b`);
    expect(source.filter((f) => marker.test(read(f)))).toEqual([]);
  });

  // Such a skip has no words: what did not run would look like what passed, and fails the run in CI
  // (closing-reporter.ts).
  const wordless = /(?<![\w.])(?:describe|it|test|suite)(?:\.\w+)*\.(?:skip|skipIf|runIf|todo)\b|\bskip\(\s*\)/;
  it('skips - every skipped test says why: context.skip with a reason', () => {
    // This file has the examples below.
    const isTest = (f: string) => f !== 'tools/tidy.test.ts' && (/(^|\/)test\//.test(f) || f.includes('.test.'));
    expect(source.filter((f) => isTest(f) && wordless.test(read(f)))).toEqual([]);
  });

  it.each([
    [true, "it.skipIf(missing)('name', run);"],
    [true, "describe.skip('name', run);"],
    [true, "test.concurrent.runIf(there)('name', run);"],
    [true, "const one = it.todo('name');"],
    [true, 'context.skip();'],
    [true, "test('name', ({ skip }) => skip());"],
    [false, "context.skip('optional: none is named');"],
    [false, "context.skip(isAbsent, 'it is not here');"],
    [false, "test('name', ({ skip }) => skip(missing));"],
    [false, "it('skips what it may', run);"],
  ])('skips - %s of %s', (isWordless, line) => {
    expect(wordless.test(line)).toBe(isWordless);
  });

  // Certificates, tokens, and recordings of programs that compare times with the present.
  const expires = /-{5}BEGIN|\beyJ[\w-]{16}|\0/;
  it('stored data - nothing has a last day: tests make it, or move its times as test/versions does', () => {
    const stored = files.filter((f) => !isLink(f) && expires.test(read(f)));
    // A verifier of evidence reads no clock; a public key has no end; a picture is read by people.
    const allowed =
      /^test\/versions\/[\d.]+\/[\w.-]+\.br$|^libs\/evidence\/vectors\/|^bailiff\.pub$|^docs\/images\/.*\.png$/;
    expect(stored.filter((f) => !allowed.test(f))).toEqual([]);
    expect(stored.length, 'control').toBeGreaterThan(1);
  });

  it.each([
    [true, ['-----BEG', 'IN CERTIFICATE-----'].join('')],
    [true, `token: ${['ey', 'JhbGciOiJSUzI1NiIsImtpZCI6IiJ9'].join('')}.e30.x`],
    [true, 'PK\0\u0001'],
    [false, 'until 2026-11-29T15:45:14Z'],
    [false, 'BEGIN;'],
  ])('stored data - %s of %j', (isFound, text) => {
    expect(expires.test(text)).toBe(isFound);
  });

  it('lock file - names no host that packages came from', () => {
    expect(/"resolved": "http/.test(read('package-lock.json'))).toBe(false);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { runCli } from '../testing.ts';
import { junit } from './cases.ts';

const directory = temporaryDirectory();
const file = (name: string, document: unknown) => {
  writeFileSync(path.join(directory, name), JSON.stringify(document));
  return path.join(directory, name);
};

const forged = (part: object) => ({ pod: 'shop/web-0', vector: 'ipv4-source', ...part });
const verdict = { rule: 'repeated-spoofing', level: 'high', pod: 'shop/web-0' };

async function failuresOf(command: string, name: string, document: object) {
  const run = await runCli([command, 'test', file(name, document), '--json']);
  expect([run.exitCode === 0 || run.exitCode === 10, run.stderr]).toEqual([true, '']);
  const { results } = JSON.parse(run.stdout) as { results: { failures: string[] }[] };
  const failures = results.flatMap((result) => result.failures);
  expect(run.exitCode).toBe(failures.length > 0 ? 10 : 0);
  return failures;
}

describe('rules test', () => {
  const failures = (test: object, more: object = {}) =>
    failuresOf('rules', 'rules.json', { tests: [{ name: 'a case', ...test }], ...more });

  it('shipped cases - pass', async () => {
    const run = await runCli(['rules', 'test', 'cases/rules']);
    expect([run.exitCode, run.stderr, run.stdout]).toEqual([
      0,
      '',
      expect.stringMatching(/^(\d+) of \1 cases passed\n$/),
    ]);
  });
  it.each([
    ['the expected verdict', [verdict], []],
    ['another level', [{ ...verdict, level: 'low' }], [/no verdict.*level low/, /unexpected: .*\(high\)/]],
    ['another time', [{ ...verdict, at: '1s' }], [/no verdict.*at 1s/, /unexpected: .* at 0s/]],
    ['another pod', [{ ...verdict, pod: 'shop/web-1' }], [/no verdict.*web-1/, /unexpected/]],
    ['none', [], [/unexpected: repeated-spoofing \(high\) of shop\/web-0 at 0s/]],
    ['one more', [verdict, verdict], [/no verdict/]],
  ] as const)('%s - is compared', async (_, verdicts, expected) => {
    const found = await failures({ events: [forged({ count: 10 })], verdicts });
    expect(found).toEqual(expected.map((one) => expect.stringMatching(one)));
  });
  it('expected verdicts that fit several - each gets one of its own, in any order', async () => {
    const rule = { type: 'event_count', level: 'low', timespan: '5s', cooldown: '5s', condition: { gte: 1 } };
    const rules = file('each.json', { each: rule });
    const events = [forged({}), forged({ at: '30s' })];
    const [any, first] = [{ rule: 'each' }, { rule: 'each', at: '0s' }];
    for (const verdicts of [
      [any, first],
      [first, any],
    ])
      expect(await failures({ events, verdicts }, { rules, only: true })).toEqual([]);
    expect(await failures({ events, verdicts: [first, first] }, { rules, only: true })).toEqual([
      'no verdict each, at 0s',
      expect.stringMatching(/^unexpected: each .* at 30s$/),
    ]);
  });
  it('repetitions - each at its time', async () => {
    const events = [forged({ times: 10, every: '5s' })];
    expect(await failures({ events, verdicts: [{ ...verdict, at: '45s' }] })).toEqual([]);
    expect(await failures({ events: [forged({ times: 10, every: '10s' })], verdicts: [] })).toEqual([]);
  });
  it('rules of a file - beside the built-in ones, or alone', async () => {
    const rule = { type: 'event_count', level: 'low', timespan: '60s', condition: { gte: 3 } };
    const rules = file('own.json', { 'three-packets': rule });
    const own = { rule: 'three-packets' };
    const events = [forged({ count: 10 })];
    expect(await failures({ events, verdicts: [own, verdict] }, { rules })).toEqual([]);
    expect(await failures({ events, verdicts: [own] }, { rules, only: true })).toEqual([]);
  });
  it('event that a correlator refuses - fails the case', async () => {
    const found = await failures({ events: [forged({ pod: 'no name/web-0' })], verdicts: [] });
    expect(found).toEqual([expect.stringContaining('a correlator refuses an event')]);
  });
  it('files that are no cases - one line for each mistake, exit code 6', async () => {
    const run = await runCli([
      'rules',
      'test',
      file('bad.json', { tests: [{ name: 'x', events: [{}], verdicts: [{}] }] }),
    ]);
    expect(run.exitCode).toBe(6);
    expect(run.stderr).toMatch(/bad\.json: tests\.0\.events\.0\.pod: [\s\S]*bad\.json: tests\.0\.verdicts\.0\.rule: /);
  });
});

describe('policy test', () => {
  const rule = { name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } };
  const policy = (spec: object) =>
    file('policy.json', {
      kind: 'RuntimePolicy',
      metadata: { name: 'p' },
      spec: { mode: 'enforce', severity: 'low', rules: [rule], ...spec },
    });
  const failures = (test: object, more: object = {}, spec: object = {}) =>
    failuresOf('policy', 'cases.json', {
      policies: [path.basename(policy(spec))],
      tests: [{ name: 'a case', operation: 'execute', path: '/bin/sh', ...test }],
      ...more,
    });

  it('shipped cases - pass', async () => {
    const run = await runCli(['policy', 'test', 'cases/policies']);
    expect([run.exitCode, run.stderr, run.stdout]).toEqual([
      0,
      '',
      expect.stringMatching(/^(\d+) of \1 cases passed\n$/),
    ]);
  });
  it('decision and deciding rule - are compared', async () => {
    expect(await failures({ expect: 'block', by: 'p/shell' })).toEqual([]);
    expect(await failures({ expect: 'pass' })).toEqual([
      expect.stringMatching(/expected pass: .*is blocked.*p\/shell/),
    ]);
    expect(await failures({ expect: 'block', by: 'p/other' })).toEqual([expect.stringContaining('expected p/other')]);
    expect(await failures({ path: '/bin/cat', expect: 'pass' })).toEqual([]);
  });
  it('policy in audit - is not a pass', async () => {
    const audit = { mode: 'audit' };
    expect(await failures({ expect: 'audit', by: 'p/shell' }, {}, audit)).toEqual([]);
    expect(await failures({ expect: 'pass' }, {}, audit)).toHaveLength(1);
  });
  it('pod - selects policies, and a case can have its own', async () => {
    const selector = { podLabels: { matchLabels: { app: 'web' } } };
    const web = { pod: { labels: { app: 'web' } } };
    expect(await failures({ expect: 'block' }, web, { selector })).toEqual([]);
    expect(await failures({ expect: 'block' }, {}, { selector })).toEqual([
      'expected block, but no policy selects the pod',
    ]);
    expect(await failures({ expect: 'pass', pod: { labels: {} } }, web, { selector })).toEqual([]);
  });
  it('pod of a case - replaces the fields that it names, and no other', async () => {
    const selector = { podLabels: { matchLabels: { app: 'web' } }, namespaces: ['shop'], containers: ['proxy'] };
    const shop = { pod: { namespace: 'shop', labels: { app: 'web' }, container: 'proxy' } };
    for (const pod of [{}, { labels: { app: 'web' } }, { namespace: 'shop' }, { container: 'proxy' }])
      expect(await failures({ expect: 'block', pod }, shop, { selector })).toEqual([]);
    expect(await failures({ expect: 'pass', pod: { container: 'main' } }, shop, { selector })).toEqual([]);
  });
  it('deciding rule of a pod that no policy selects - fails the case', async () => {
    const selector = { namespaces: ['shop'] };
    expect(await failures({ expect: 'pass' }, {}, { selector })).toEqual([]);
    expect(await failures({ expect: 'pass', by: 'p/shell' }, {}, { selector })).toEqual([
      'expected pass by p/shell, but no policy selects the pod',
    ]);
  });
  it('operation without its flag - names file and case, exit code 6', async () => {
    const cases = {
      policies: [path.basename(policy({}))],
      tests: [{ name: 'odd', operation: 'connect', expect: 'pass' }],
    };
    const run = await runCli(['policy', 'test', file('odd.json', cases)]);
    expect([run.exitCode, run.stderr]).toEqual([6, expect.stringMatching(/odd\.json: odd: .*needs --address/)]);
  });
});

describe('JUnit', () => {
  it('results - suites by file, hostile text escaped', async () => {
    const out = path.join(directory, 'junit.xml');
    const cases = { tests: [{ name: 'a <b> & "c"\u0007', events: [forged({})], verdicts: [verdict] }] };
    expect((await runCli(['rules', 'test', file('x.json', cases), '--junit', out])).exitCode).toBe(10);
    const text = readFileSync(out, 'utf8');
    expect(text).toContain('<testsuites tests="1" failures="1">');
    expect(text).toContain('name="a &lt;b&gt; &amp; &quot;c&quot;');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be in XML
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });
  it('passed case - no failure element', () => {
    expect(junit([{ file: 'f', name: 'n', failures: [] }])).toMatch(/<testcase classname="f" name="n"\/>/);
  });
});

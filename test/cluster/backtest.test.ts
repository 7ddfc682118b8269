// A stream that real correlators judged, with restarts in between, judged once more by `bailiff
// backtest` under the rights of the identity cli.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { openBucket, publishOnce, verdictSubject } from '@bailiff/bus';
import { makeFrame, makeViolation, podRef } from '@bailiff/correlation/testing';
import { encodeVerdict } from '@bailiff/schemas';
import { encodeUnlimited } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliRun, runCli } from '../../apps/cli/src/testing.ts';
import type { RunningService } from '../support/service.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const owned = (name: string, owner: string) =>
  podRef(name, { namespace: 'shop', ownerKind: 'ReplicaSet', ownerName: owner, ownerUid: `uid-of-${owner}` });
const A = Array.from({ length: 12 }, (_, i) => owned(`a-${i}`, 'web'));
const B = Array.from({ length: 12 }, (_, i) => owned(`b-${i}`, 'cart'));

let rig: CorrelatorRig;
let directory: string;
let passwordFile: string;

function cli(args: string[], options: Parameters<typeof runCli>[1] = {}): Promise<CliRun> {
  const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: passwordFile };
  return runCli(['backtest', ...args], { ...options, env });
}

function file(name: string, content: unknown): string {
  const where = path.join(directory, name);
  writeFileSync(where, typeof content === 'string' ? content : JSON.stringify(content));
  return where;
}

const countRule = (gte: number, more = {}) => ({
  type: 'event_count',
  level: 'high',
  timespan: '60s',
  condition: { gte },
  selection: { kinds: ['spoof'], actions: ['drop'] },
  ...more,
});

interface Json {
  check: { issued: number; reproduced: number; exact: number };
  verdicts: { live: number; trial: number; same: number; appeared: Verdicts; vanished: Verdicts; moved: unknown[] };
  answers: { tally: { action: string; outcome: string; code: string; pods: number }[] };
}
type Verdicts = { pod: { name: string }; rule: string }[];

async function report(args: string[]): Promise<Json & { exitCode: number }> {
  const { stdout, stderr, exitCode } = await cli([...args, '--json']);
  expect(stderr).toBe('');
  const value = JSON.parse(stdout) as Json & { exitCode: number };
  expect(value.exitCode).toBe(exitCode);
  return value;
}

beforeAll(async () => {
  rig = await CorrelatorRig.start();
  directory = temporaryDirectory();
  passwordFile = path.join(directory, 'password');
  writeFileSync(passwordFile, 'password-of-cli', { mode: 0o600 });
  await rig.list(NODE_A, A);
  await rig.list(NODE_B, B);
  await rig.settle();
  await record();
}, 90_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

/**
 * Attacks under three versions of the rules, with correlators that stop and start. In the end one
 * pod is removed from its list.
 */
async function record(): Promise<void> {
  let running: RunningService[] = [await rig.correlator(), await rig.correlator()];
  const attack = async (from: number, packets: number) => {
    for (let i = from; i < from + 3; i++) {
      await rig.spoof(NODE_A, A[i] ?? owned('x', 'x'), packets);
      await rig.spoof(NODE_B, B[i] ?? owned('x', 'x'), packets - 3);
      await rig.spoof(NODE_A, A[i] ?? owned('x', 'x'), 2);
    }
  };
  await attack(0, 11);
  await rig.verdictCount(3);
  // Stops one of two correlators in order, then the other. Violations arrive while none runs.
  await running[0]?.stop();
  await attack(3, 12);
  await rig.verdictCount(6);
  await running[1]?.stop();
  await rig.rule('by-owner', countRule(30, { 'group-by': 'owner', level: 'critical' }));
  await rig.rule('broken', '{"type":');
  await rig.settle();
  await attack(6, 13);
  running = [await rig.correlator()];
  await rig.verdictCount(13);
  await rig.rule('repeated-spoofing', { ...countRule(5), revision: 1 });
  await rig.settle();
  await attack(9, 9);
  // A false report about a pod of another node, which is dead-lettered.
  await rig.spoof(NODE_B, A[0] ?? owned('x', 'x'), 4);
  await rig.verdictCount(20);
  const lie = () => rig.verdicts.some(({ rule }) => rule === 'foreign-pod-claims') && rig.deadLetters.length > 0;
  await waitFor(lie, { what: 'the verdict about the false report', state: () => rig.verdicts.length });
  // The last message of the stream: it cannot be read, and causes a verdict about its node.
  const long = makeViolation({ pod: A[0] ?? null, counterEpoch: 'x'.repeat(100_000), lastSeenAt: Date.now() * 1000 });
  await rig.publish(NODE_A, encodeUnlimited('ViolationFrame', makeFrame([long], { frameSequence: 9_999 })));
  const invalid = () => rig.verdicts.some(({ vectors }) => vectors.includes('invalid-frame'));
  await waitFor(invalid, { what: 'the verdict about the unreadable frame', state: () => rig.verdicts.length });
  for (const one of running) await one.stop();
}

describe('backtest - the live rules', () => {
  it('reproduce every issued verdict byte for byte, through restarts and changes of rules', async () => {
    const { check, exitCode } = await report(['--live']);
    expect(check.issued).toBe(rig.verdicts.length);
    expect(check.issued).toBeGreaterThanOrEqual(20);
    expect(new Set(rig.verdicts.map(({ rule }) => rule)).size).toBeGreaterThanOrEqual(3);
    expect(check).toMatchObject({
      reproduced: check.issued,
      exact: check.issued,
      appeared: [],
      vanished: [],
      moved: [],
    });
    expect(exitCode).toBe(0);
  });

  it('an unreadable message at the end is part of the range; responses of dry runs are not called done', async () => {
    const { stdout, exitCode } = await cli(['--live']);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/1 message could not be decoded/)]);
    const last = Math.max(
      ...rig.verdicts.flatMap(({ evidence }) => evidence.map(({ streamSequence }) => streamSequence)),
    );
    expect(stdout).toMatch(new RegExp(`^VIOLATIONS #\\d+ to #${last}, `));
    // The built-in policy is a dry run.
    expect(stdout).toMatch(/ delete +dry run /);
    expect(stdout).not.toMatch(/ delete +done /);
  });

  it('two runs print the same bytes, as text and as JSON', async () => {
    for (const args of [['--live'], ['--live', '--json']]) {
      const [one, other] = [await cli(args), await cli(args)];
      expect(one.stdout).toBe(other.stdout);
      expect(one.stdout.length).toBeGreaterThan(200);
    }
  });

  it('a range of the stream - windows at its start are as full as they were', async () => {
    const since = new Date((rig.verdicts[8]?.triggeredAt ?? 0) / 1000).toISOString();
    const { check } = await report(['--live', '--since', since]);
    expect(check.issued).toBeGreaterThan(5);
    expect(check.issued).toBeLessThan(rig.verdicts.length);
    expect(check).toMatchObject({ exact: check.issued, appeared: [], vanished: [], moved: [] });
  });
});

describe('backtest - changed rules', () => {
  it('a stricter rule - verdicts appear, none vanishes; exit code 10', async () => {
    const rules = file('strict.yaml', `repeated-spoofing:\n  ${JSON.stringify({ ...countRule(3) })}\n`);
    const { verdicts, exitCode, check } = await report(['--rules', rules]);
    expect(check.reproduced).toBe(check.issued);
    expect(exitCode).toBe(10);
    expect(verdicts.live).toBe(check.issued);
    expect(verdicts.appeared.length).toBeGreaterThan(0);
    expect(verdicts.appeared.every(({ rule }) => rule === 'repeated-spoofing')).toBe(true);
    expect(verdicts.vanished).toEqual([]);
  });

  it('a disabled rule - its verdicts vanish, the others stay', async () => {
    const off = { ...countRule(10), enabled: false };
    const { verdicts, exitCode } = await report([
      '--rules',
      file('off.json', { correlation: { 'repeated-spoofing': off } }),
    ]);
    expect(exitCode).toBe(10);
    expect(verdicts.vanished.length).toBe(rig.verdicts.filter(({ rule }) => rule === 'repeated-spoofing').length);
    expect([verdicts.appeared, verdicts.moved]).toEqual([[], []]);
    expect(verdicts.same).toBeGreaterThan(0);
  });

  it('the same rule again - no difference, exit code 0', async () => {
    const { verdicts, exitCode } = await report([
      '--rules',
      file('same.yaml', { 'by-owner-2': { ...countRule(30), enabled: false } }),
    ]);
    expect(exitCode).toBe(0);
    expect(verdicts).toMatchObject({ appeared: [], vanished: [], moved: [] });
  });

  it('guards - are applied to a changed policy: budgets, protected namespaces, a storm of deletions', async () => {
    const policy = (guards: object) => ({
      dryRun: false,
      match: { levels: ['high'] },
      steps: [{ action: 'delete' }],
      guards,
    });
    const tally = async (guards: object) => {
      const rules = file('policy.json', { response: { 'answer-high': policy(guards) } });
      const { answers } = await report(['--rules', rules]);
      return Object.fromEntries(
        answers.tally.map(({ action, outcome, code, pods }) => [`${action} ${outcome} ${code}`.trim(), pods]),
      );
    };
    expect(await tally({ protectedNamespaces: ['shop'] })).toEqual({
      'delete refuse protected-namespace': expect.any(Number),
    });
    const wide = { budget: { window: '1h', maxPods: 1000, maxPercent: 100, maxNodes: 1 } };
    const storm = await tally({ ...wide, deleteStorm: { deletes: 2, window: '1h' } });
    expect(storm).toMatchObject({
      'delete act': 4,
      'delete refuse delete-storm': expect.any(Number),
      'quarantine act': expect.any(Number),
    });
    const budget = await tally({ budget: { ...wide.budget, maxPods: 3, maxPodsPerNamespace: 3 } });
    expect(budget).toMatchObject({ 'delete act': 3, 'delete refuse budget-exhausted': expect.any(Number) });
    expect(await tally({ ...wide, deleteStorm: { deletes: 999, window: '1h' }, minHealthyReplicas: 13 })).toEqual({
      'delete refuse below-min-healthy': expect.any(Number),
      'quarantine act': expect.any(Number),
    });
  });

  it('text - fits a terminal and shows the differences', async () => {
    const rules = file('strict.yaml', { 'repeated-spoofing': countRule(3) });
    const { stdout, exitCode } = await cli(['--rules', rules], { terminal: 100 });
    expect(exitCode).toBe(10);
    expect(stdout).toContain('Trial rules: repeated-spoofing');
    expect(stdout).toMatch(/WOULD APPEAR/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are taken away to measure.
    const widths = stdout.split('\n').map((line) => line.replaceAll(/\u001b\[[0-9;]*m/g, '').length);
    expect(Math.max(...widths)).toBeLessThanOrEqual(100);
  });

  it('refused - a wrong file is reported with all mistakes; rules are required', async () => {
    const wrong = await cli(['--rules', file('wrong.yaml', { a: { type: 'event_count' }, 'B!': countRule(1) })]);
    expect(wrong.exitCode).toBe(6);
    expect(wrong.stderr).toMatch(/correlation\.cluster\._\.a: refused/);
    expect(wrong.stderr).toMatch(/"B!" is not a Kubernetes name/);
    expect((await cli([])).exitCode).toBe(2);
    expect((await cli(['--live', '--rules', 'x'])).exitCode).toBe(2);
  });
});

describe('backtest - a verdict that the rules do not reproduce', () => {
  it('is shown by --live, with exit code 11', async () => {
    const { sequence: _sequence, storedMicros: _stored, ...verdict } = rig.verdicts[0] as (typeof rig.verdicts)[number];
    const forged = { ...verdict, verdictId: 'f'.repeat(32), rule: 'no-such-rule' };
    await publishOnce(await rig.bus('correlator'), verdictSubject(forged), encodeVerdict(forged));
    const { stdout, exitCode } = await cli(['--live']);
    expect(exitCode).toBe(11);
    expect(stdout).toMatch(/NOT REPRODUCED \(1\)\n.*\n.*no-such-rule/);
  });
});

describe('backtest - data that a recording no longer holds', () => {
  it('a pod that left its snapshot still counts; the report has the number of unattributed ones', async () => {
    const bucket = openBucket(await rig.bus('ipam-sync'), 'bailiff_pods');
    expect(await bucket.get('node-a')).not.toBeNull();
    await rig.list(NODE_A, A.slice(1));
    const { stdout } = await cli(['--live', '--json']);
    const { check, stretch } = JSON.parse(stdout) as Json & { stretch: { unvouched: number } };
    expect(stretch.unvouched).toBeGreaterThan(0);
    expect(check.reproduced).toBeGreaterThan(0);
  });

  it.each([
    ['control: the log stays', false],
    ['the log is made again', true],
  ])('CONFIG_LOG, %s - judged by what operators stored, and the report says from when', async (_, isMadeAgain) => {
    if (isMadeAgain) await rig.recreateConfigLog();
    const { stdout } = await cli(['--live', '--json']);
    const { check, stretch } = JSON.parse(stdout) as MadeAgain;
    expect(stretch.configFrom === null).toBe(!isMadeAgain);
    // The built-in rules have none of this name. It is in force for earlier frames, too.
    const rules = [...check.appeared, ...check.moved.map(({ after }) => after)].map(({ rule }) => rule);
    expect(rules.includes('by-owner')).toBe(isMadeAgain);
    const text = await cli(['--live']);
    expect(/CONFIG_LOG begins at .* UTC: it was made again/.test(text.stdout.replaceAll(/\s+/g, ' '))).toBe(
      isMadeAgain,
    );
  });
});

interface MadeAgain {
  stretch: { configFrom: string | null };
  check: { appeared: { rule: string }[]; moved: { after: { rule: string } }[] };
}

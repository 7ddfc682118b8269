/**
 * `bailiff policy learn`: a temporary policy that is removed however the command ends, and a
 * proposal from the violations published meanwhile.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken, readConfig, writeConfig } from '@bailiff/bus';
import { loadPolicyFile } from '@bailiff/runtime';
import type { OperationSample, Violation } from '@bailiff/schemas';
import { podIdentityOf, sampleLsmViolation, sampleOperation, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CART, healthyStatus, NODE_A, WEB, World } from './cli/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.start();
  await world.put('bailiff_pods', encodeToken(NODE_A), { nodeName: NODE_A, revision: 1, pods: [pod(WEB), pod(CART)] });
  await world.status(healthyStatus(NODE_A, { runtime: RUNTIME }));
});
afterAll(() => world?.[Symbol.asyncDispose]());

const RUNTIME = sampleRuntimeStatus();
const pod = (ref: typeof WEB) =>
  podIdentityOf(ref, {
    labels: { app: ref.ownerName, 'controller-revision-hash': 'abc' },
    containers: [{ name: 'app', id: 'containerd://1' }],
  });
const TEMPORARY = 'runtime.namespace.shop.learn-web-0';

let epochs = 0;
function audited(operation: Partial<OperationSample>, part: Partial<Violation> = {}): Violation {
  epochs += 1;
  return sampleLsmViolation({
    vector: 'learn-web-0/file-posture',
    action: 'audit',
    counterEpoch: `boot/lsm/${epochs}`,
    count: 1,
    suppressed: 0,
    pod: WEB,
    operation: sampleOperation({ outcome: 'audit', executable: '/usr/bin/app', arguments: [], ...operation }),
    ...part,
  });
}
const stored = async (key = TEMPORARY) => {
  const found = await readConfig(await world.as('cli'), key);
  return found && (JSON.parse(found.json) as { rules: { name: string }[]; defaultPosture: object; selector: object });
};
const installed = () => waitFor(async () => (await stored()) !== null, { what: 'the temporary policy', state: stored });
const learn = (args: string[], options: Parameters<World['cli']>[1] = {}) =>
  world.cli(['policy', 'learn', '--pod', 'shop/web-0', ...args], options);

describe('cli policy learn', () => {
  it('--install - audits all and learns until it is interrupted: the policy is removed, the proposal is written', async () => {
    const end = new AbortController();
    const out = path.join(world.directory, 'web.yaml');
    const running = learn(['--for', '1h', '--install', '--out', out], { signal: end.signal });
    await installed();
    expect(await stored()).toMatchObject({
      mode: 'audit',
      defaultPosture: { file: 'audit', execute: 'audit', network: 'audit', capability: 'audit', kernel: 'audit' },
      selector: { podLabels: { matchLabels: { app: 'web', 'controller-revision-hash': 'abc' } } },
      rules: [],
    });
    await world.frame(NODE_A, [
      audited({ operation: 'read', subject: '/etc/hosts' }, { suppressed: 4 }),
      audited({ operation: 'read', subject: '/etc/other' }, { pod: CART }),
      audited({ operation: 'read', subject: '/etc/shadow', outcome: 'block' }, { action: 'drop' }),
      audited({ operation: 'read', subject: '/etc/rule' }, { vector: 'guard/some-rule' }),
    ]);
    await waitFor(async () => (await stored())?.rules.length === 1, {
      what: 'a rule of the learned policy',
      state: stored,
    });
    const connect = { operation: 'connect', subject: '', address: '10.0.0.5', port: 5432, protocol: 6 };
    await world.frame(NODE_A, [audited(connect, { vector: 'learn-web-0/network-posture', suppressed: 2 })]);
    await waitFor(async () => (await stored())?.rules.length === 2, { what: 'the second rule', state: stored });
    end.abort(new Error('interrupted by SIGINT'));
    const { exitCode, stdout, stderr } = await running;
    expect([exitCode, stdout]).toEqual([0, '']);
    expect(stderr).toMatch(
      /shop\/learn-web-0 is deleted\n2 operations became 2 rules: .*web\.yaml\nreview the policy, then: /,
    );
    expect(await stored()).toBeNull();
    const text = readFileSync(out, 'utf8');
    expect(text).toMatch(/# Incomplete: 6 operations were counted without a sample, [02] of them after/);
    expect(text).toMatch(/- \/etc\/hosts # once, by \/usr\/bin\/app\n/);
    const [proposed] = loadPolicyFile(text, 'web.yaml');
    expect(proposed).toMatchObject({
      key: 'runtime.namespace.shop.web',
      policy: { mode: 'audit', selector: { podLabels: { matchLabels: { app: 'web' } } } },
    });
    expect(proposed?.policy.rules.map(({ name }) => name)).toEqual(['read', 'connect-tcp-5432']);
    expect((await world.cli(['policy', 'apply', out, '--yes'])).exitCode).toBe(0);
    await world.cli(['policy', 'delete', 'shop/web', '--yes']);
  }, 30_000);

  it('--record - each observed operation counts in a rule of its own, which `policy simulate` reads exactly', async () => {
    const end = new AbortController();
    const since = new Date().toISOString();
    const running = learn(['--for', '1h', '--record'], { signal: end.signal });
    await installed();
    await world.frame(NODE_A, [audited({ operation: 'read', subject: '/etc/hosts' })]);
    const cells = async () => (await stored())?.rules.map(({ name }) => name);
    await waitFor(async () => (await cells())?.includes('cell-0'), { what: 'a cell of the operation', state: cells });
    expect(await cells()).toEqual(['cell-0', 'rest-drift', 'seen-0']);
    const { revision } = JSON.parse((await readConfig(await world.as('cli'), TEMPORARY))?.json ?? '{}');
    const counted = { vector: 'learn-web-0/cell-0', policy: TEMPORARY, policyRevision: revision, operation: null };
    await world.frame(NODE_A, [
      audited({}, { ...counted, count: 0, suppressed: 5_000, cumulativePackets: 5_000 }),
      // Not learned yet: it gets a cell too.
      audited({ operation: 'read', subject: '/etc/other' }),
    ]);
    await waitFor(async () => (await cells())?.includes('cell-1'), { what: 'the second cell', state: cells });
    end.abort(new Error('interrupted by SIGINT'));
    const { exitCode, stdout } = await running;
    expect([exitCode, await stored()]).toEqual([0, null]);
    const proposal = path.join(world.directory, 'recorded.yaml');
    writeFileSync(proposal, stdout);
    expect(loadPolicyFile(stdout, 'x')[0]?.policy.rules).toMatchObject([
      { name: 'read', file: { paths: ['/etc/hosts', '/etc/other'] } },
    ]);
    const narrower = path.join(world.directory, 'narrower.yaml');
    writeFileSync(narrower, stdout.replace(/ *- \/etc\/hosts.*\n/, ''));
    const denied = async (file: string) => {
      const { stdout: text } = await world.cli(['policy', 'simulate', file, '--since', since, '--json']);
      return JSON.parse(text).denied.map((row: Record<string, unknown>) => [
        row['program'],
        row['subject'],
        row['operations'],
      ]);
    };
    await waitFor(async () => (await denied(narrower)).length === 1, { what: 'the deleted policy in CONFIG_LOG' });
    expect(await denied(narrower)).toEqual([['/usr/bin/app', '/etc/hosts', 5_001]]);
    expect(await denied(proposal)).toEqual([]);
  }, 30_000);

  it('a concurrent change - is kept and reported', async () => {
    const end = new AbortController();
    const running = learn(['--for', '1h', '--install'], { signal: end.signal });
    await installed();
    const cli = await world.as('cli');
    const theirs = { mode: 'enforce', rules: [{ name: 'm', action: 'block', mount: {} }] };
    await writeConfig(cli, TEMPORARY, theirs, { by: 'x', why: 'y' });
    end.abort(new Error('interrupted by SIGINT'));
    const { exitCode, stderr } = await running;
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/was changed by another author and is kept: bailiff policy/),
    ]);
    expect(await stored()).toMatchObject(theirs);
    const again = await learn(['--for', '1s', '--install']);
    expect([again.exitCode, again.stderr]).toEqual([2, expect.stringMatching(/shop\/learn-web-0 already exists/)]);
    expect(await stored()).toMatchObject(theirs);
    await world.cli(['policy', 'delete', 'shop/learn-web-0', '--yes']);
  });

  it('without --install - needs an audited posture, watches only its classes and changes nothing', async () => {
    const none = await learn(['--for', '1s']);
    expect([none.exitCode, none.stderr]).toEqual([
      2,
      expect.stringMatching(/no default posture audits shop\/web-0[\s\S]*--install/),
    ]);
    const no = await learn(['--for', '1s'], { answers: ['n'] });
    expect([no.exitCode, no.stderr]).toEqual([2, expect.stringMatching(/Install a temporary policy .*\[y\/N\]/)]);
    const posture = { defaultPosture: { file: 'audit' } };
    await writeConfig(await world.as('cli'), 'runtime.namespace.shop.files', posture, { by: 'x', why: 'y' });
    let noted = '';
    const running = learn(['--for', '4s', '--json'], {
      onStderr: (all: string) => {
        noted = all;
      },
    });
    await waitFor(() => /observing shop\/web-0 for 4 s/.test(noted), { what: 'it to watch', state: () => noted });
    expect(noted).toMatch(/learning the classes that a policy audits: file/);
    await world.frame(NODE_A, [
      audited({ operation: 'read', subject: '/etc/hosts' }, { vector: 'files/file-posture' }),
    ]);
    const { exitCode, stdout } = await running;
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([
      0,
      { name: 'web', operations: 1, spec: { defaultPosture: { file: 'block' }, rules: [{ name: 'read' }] } },
    ]);
    expect(await stored()).toBeNull();
  }, 30_000);

  it('--since - proposes what an observation of that time proposes, from the own node alone, and writes nothing', async () => {
    const end = new AbortController();
    const running = learn(['--for', '1h', '--record', '--json'], { signal: end.signal });
    await installed();
    const since = new Date().toISOString();
    await world.frame(NODE_A, [
      audited({ operation: 'read', subject: '/etc/hosts' }, { suppressed: 4, cumulativePackets: 5 }),
      audited({ operation: 'read', subject: '/etc/other' }, { pod: CART }),
      audited({ operation: 'read', subject: '/etc/shadow', outcome: 'block' }, { action: 'drop' }),
      audited({ operation: 'execute', subject: '/bin/ls' }, { vector: 'learn-web-0/execute-posture' }),
    ]);
    await world.frame('node-b.example', [audited({ operation: 'read', subject: '/etc/forged' })]);
    await waitFor(async () => ((await stored())?.rules.length ?? 0) > 3, { what: 'both operations', state: stored });
    end.abort(new Error('interrupted by SIGINT'));
    const live = JSON.parse((await running).stdout);
    const [one, text] = [await learn(['--since', since, '--json']), await learn(['--since', since])];
    const { unsampledNow, ...recorded } = JSON.parse(one.stdout);
    const { unsampledNow: _later, ...observed } = live;
    expect([one.exitCode, recorded, unsampledNow]).toEqual([0, observed, 0]);
    expect(recorded).toMatchObject({ operations: 2, unsampled: 4, spec: { defaultPosture: { kernel: 'block' } } });
    expect(text.stdout).toContain(`Proposed from the record since ${since} of shop/web-0 on node-a: 2 operations`);
    expect(loadPolicyFile(text.stdout, 'x')[0]?.policy.mode).toBe('audit');
    expect(await stored()).toBeNull();
    // Nothing is recorded since now.
    const none = await learn(['--since', new Date(Date.now() + 1_000).toISOString()]);
    expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining('--for 10m --record')]);
    for (const words of [[], ['--since', '1h', '--for', '1s'], ['--since', '1h', '--install']])
      expect([words, (await learn(words)).exitCode]).toEqual([words, 2]);
  }, 30_000);

  it('--out - a file that cannot be written or exists is an error at once', async () => {
    const there = path.join(world.directory, 'web.yaml');
    writeFileSync(there, 'reviewed');
    for (const out of [there, '/proc/nonexistent/x.yaml']) {
      expect(await learn(['--for', '1h', '--install', '--out', out])).toMatchObject({ exitCode: 2 });
    }
    expect([readFileSync(there, 'utf8'), await stored()]).toEqual(['reviewed', null]);
  });

  it('a node that enforces nothing - is reported before anything is installed', async () => {
    await world.status(
      healthyStatus(NODE_A, { runtime: { ...RUNTIME, state: 'unavailable', reason: 'EPERM', remedy: 'do x' } }),
    );
    const { exitCode, stderr } = await learn(['--for', '1s', '--install']);
    expect([exitCode, stderr]).toEqual([
      3,
      expect.stringMatching(/node-a: LSM unavailable: "EPERM"\n {2}the node proposes: "do x"/),
    ]);
    await world.status(healthyStatus(NODE_A, { runtime: { ...RUNTIME, state: 'off', reason: 'not wanted' } }));
    expect((await learn(['--for', '1s', '--install'])).exitCode).toBe(2);
    expect(await stored()).toBeNull();
  });

  it.each([
    ['unavailable', 3, healthyStatus(NODE_A, { runtime: { ...RUNTIME, state: 'unavailable', reason: 'EPERM' } })],
    ['of an unreadable status', 7, '{'],
  ] as const)('runtime policies %s - exits like `policy status`', async (_, exitCode, status) => {
    const any = { rules: [{ name: 'm', action: 'block', mount: {} }] };
    await writeConfig(await world.as('cli'), 'runtime.namespace.shop.any', any, { by: 'x', why: 'y' });
    await world.put('bailiff_nodes', encodeToken(NODE_A), status);
    expect((await world.cli(['policy', 'status', 'shop/any'])).exitCode).toBe(exitCode);
    expect((await learn(['--for', '1s', '--install'])).exitCode).toBe(exitCode);
  });
});

/**
 * `bailiff policy promote` and `policy apply --mode`: from audit to enforce, after a list of what
 * enforcing would have denied. On a real server under the rights of `cli`.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { readConfig } from '@bailiff/bus';
import type { Violation } from '@bailiff/schemas';
import { podIdentityOf, sampleLsmViolation, sampleOperation, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CART, healthyStatus, NODE_A, NODE_B, VPN, WEB, World } from './cli/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.start();
  const pods = [WEB, CART].map((pod) => podIdentityOf(pod, { labels: {}, owners: [] }));
  await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods });
  await world.put('bailiff_pods', NODE_B, {
    nodeName: NODE_B,
    revision: 1,
    pods: [podIdentityOf(VPN, { labels: {}, owners: [] })],
  });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const KEY = 'runtime.cluster._.no-shell';
const text = (name: string, mode: string) => `kind: RuntimePolicy
metadata: { name: ${name} }
spec:
  mode: ${mode}
  defaultPosture: { network: block, capability: audit }
  rules:
    - { name: shell, action: block, execute: { paths: [/bin/sh] } }
    - { name: copy, action: kill, file: { paths: [/bin/sh] } }
    - { name: watched, action: audit, execute: { paths: [/bin/ls] } }
`;
const file = (name: string, mode: string): string => {
  const at = path.join(world.directory, `${name}.yaml`);
  writeFileSync(at, text(name, mode));
  return at;
};
const policy = (...args: string[]) => world.cli(['policy', ...args]);
const modeOf = async (key = KEY) => JSON.parse((await readConfig(await world.as('cli'), key))?.json ?? '{}').mode;

let epochs = 0;
const audited = (vector: string, operations: number, part: Partial<Violation> = {}): Violation => {
  epochs += 1;
  return sampleLsmViolation({
    vector: `no-shell/${vector}`,
    policy: KEY,
    action: 'audit',
    pod: WEB,
    cumulativePackets: operations,
    count: operations,
    firstSeenAt: world.t0Micros,
    lastSeenAt: world.t0Micros,
    counterEpoch: `boot/lsm/${epochs}`,
    operation: sampleOperation({ operation: 'execute', subject: '/bin/sh', executable: '/usr/bin/node' }),
    ...part,
  });
};

describe('cli policy apply --mode', () => {
  it('stores audit whatever the file says, and only that; without the option the file decides', async () => {
    const enforcing = file('no-shell', 'enforce');
    expect((await policy('apply', enforcing, '--mode', 'audit', '--yes')).exitCode).toBe(0);
    expect(await modeOf()).toBe('audit');
    const stored = JSON.parse((await readConfig(await world.as('cli'), KEY))?.json ?? '{}');
    expect(stored.rules.map(({ name }: { name: string }) => name)).toEqual(['shell', 'copy', 'watched']);
    expect((await policy('apply', enforcing, '--mode', 'audit')).stderr).toContain('nothing to change');
    expect((await policy('apply', enforcing, '--yes')).exitCode).toBe(0);
    expect(await modeOf()).toBe('enforce');
    expect((await policy('apply', enforcing, '--mode', 'off', '--yes')).exitCode).toBe(2);
    expect((await policy('apply', enforcing, '--mode', 'audit', '--yes')).exitCode).toBe(0);
  });
});

describe('cli policy promote', () => {
  it('shows what would have been denied, writes after a confirmation, and says what is missing from the list', async () => {
    const runtime = sampleRuntimeStatus({
      subjects: 2,
      sets: 1,
      policies: [{ key: KEY, revision: 3, state: 'in-force' as const, reason: '', subjects: 2 }],
    });
    await world.status(healthyStatus(NODE_A, { runtime }));
    const nothing = await policy('promote', 'no-shell', '--dry-run');
    expect(nothing.stdout).toBe('Enforcing no-shell would have denied nothing that is recorded since 7d.\n');
    expect(nothing.stderr).toMatch(
      /no-shell has revision 3 since .*in force on 1 of 1 node, for 2 pods and containers/,
    );

    await world.frame(NODE_A, [
      audited('shell', 7),
      audited('copy', 2, { pod: CART }),
      audited('network-posture', 4, { pod: CART }),
      // None of these would be denied by this change.
      audited('watched', 100),
      audited('capability-posture', 100),
      audited('removed-rule', 100),
      audited('shell', 100, { action: 'drop' }),
      audited('shell', 100, { vector: 'zeta/shell', policy: 'runtime.cluster._.zeta' }),
      audited('shell', 100, { kind: 'spoof', vector: 'ipv4-source', policy: '' }),
      // Counted for an earlier rule, or for no policy.
      audited('shell', 5, { vector: 'alpha/shell', policy: 'runtime.cluster._.alpha' }),
      audited('unresolved', 3, { vector: 'unresolved', policy: '' }),
    ]);
    // A node reports on the pod of another one.
    await world.frame(NODE_A, [audited('shell', 50, { pod: VPN })]);

    const shown = await policy('promote', 'no-shell', '--dry-run');
    expect(shown.exitCode).toBe(0);
    expect(shown.stdout).toMatch(/^Enforcing no-shell would have denied 13 operations of 2 pods since 7d:\n\nPOD/);
    expect(shown.stdout).toMatch(/shop\/web-0 +shell +7 .*execute \/bin\/sh +\/usr\/bin\/node/);
    expect(shown.stdout).toMatch(/shop\/cart-1 +network-posture +4 /);
    expect(shown.stdout).toMatch(/shop\/cart-1 +copy +2 /);
    expect(shown.stdout).not.toMatch(/watched|capability|removed|zeta|vpn/);
    expect(shown.stderr).toMatch(/come before, and the policy may deny some of theirs too: .*alpha\/shell 5/);
    expect(shown.stderr).toMatch(/3 operations had a path or an address that cannot be resolved/);
    expect(shown.stderr).toMatch(/- mode: audit\n\+ mode: enforce/);
    expect(shown.stderr).toContain('nothing was written (--dry-run)');
    expect(await modeOf()).toBe('audit');

    const json = JSON.parse((await policy('promote', 'no-shell', '--dry-run', '--json')).stdout);
    expect([json.operations, json.unresolved, json.dryRun]).toEqual([13, 3, true]);
    expect(json.where).toMatch(/^in force on 1 of 1 node/);
    expect(json.denied.map(({ vector, operations }: Record<string, unknown>) => [vector, operations])).toEqual([
      ['no-shell/shell', 7],
      ['no-shell/network-posture', 4],
      ['no-shell/copy', 2],
    ]);

    const declined = await world.cli(['policy', 'promote', 'no-shell'], { answers: ['n'] });
    expect([declined.exitCode, await modeOf()]).toEqual([2, 'audit']);
    const promoted = await world.cli(['policy', 'promote', 'no-shell', '--reason', 'quiet'], { answers: ['y'] });
    expect([promoted.exitCode, await modeOf()]).toEqual([0, 'enforce']);
    expect(promoted.stdout).toContain(`${KEY}: revision 4\n`);
    expect((await readConfig(await world.as('cli'), KEY))?.why).toBe('quiet');
    expect((await policy('promote', 'no-shell')).stderr).toContain('no-shell is enforced already, at revision 4');
    expect((await policy('rollback', 'no-shell', '--yes')).exitCode).toBe(0);
    expect(await modeOf()).toBe('audit');
  });

  it('only violations of the range count; an unknown policy is not promoted', async () => {
    const early = await policy('promote', 'no-shell', '--since', '2099-01-01', '--dry-run');
    expect(early.stdout).toBe('Enforcing no-shell would have denied nothing that is recorded since 2099-01-01.\n');
    const unknown = await policy('promote', 'no-shel', '--yes');
    expect([unknown.exitCode, unknown.stderr]).toEqual([2, expect.stringContaining('no policy "no-shel" exists')]);
    expect((await policy('promote', 'no-shell', '--since', 'soon')).exitCode).toBe(2);
  });
});

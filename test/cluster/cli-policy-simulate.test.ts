/**
 * `bailiff policy simulate`: recorded operations under policies of files. On a real server under the
 * rights of `cli`; nothing is written.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken, FramePublisher, openBucket, violationSubject, writeConfig } from '@bailiff/bus';
import type { OperationSample, Violation } from '@bailiff/schemas';
import { podIdentityOf, sampleLsmViolation, sampleOperation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CART, healthyStatus, NODE_A, NODE_B, uid, VPN, WEB, World } from './cli/world.ts';

const RECORDED = 'runtime.namespace.shop.recorded';
/** What counted operations without a sample. */
const recording = {
  mode: 'audit',
  rules: [
    {
      name: 'one',
      action: 'audit',
      fromSource: [{ path: '/usr/bin/app' }],
      file: { paths: ['/etc/shadow'], operations: ['read'] },
    },
    { name: 'shells', action: 'block', execute: { paths: ['/bin/sh', '/bin/bash'] } },
    { name: 'several', action: 'audit', file: { directories: ['/etc'], operations: ['read'] } },
  ],
};
const listed = (ref: typeof WEB, app: string) =>
  podIdentityOf(ref, { labels: { app }, containers: [{ name: 'app', id: 'containerd://1' }] });
/** A pod of the same owner as WEB that is gone. */
const GONE = { ...WEB, uid: uid(9), name: 'web-9' };

let world: World;
beforeAll(async () => {
  world = await World.start();
  await world.put('bailiff_pods', encodeToken(NODE_A), {
    nodeName: NODE_A,
    revision: 1,
    pods: [listed(WEB, 'web'), listed(CART, 'cart'), listed(GONE, 'web')],
  });
  await world.put('bailiff_pods', encodeToken(NODE_B), { nodeName: NODE_B, revision: 1, pods: [listed(VPN, 'vpn')] });
  await writeConfig(await world.as('cli'), 'runtime.namespace.shop.recorded', recording, { by: 'x', why: 'y' });
});
afterAll(() => world?.[Symbol.asyncDispose]());

let epochs = 0;
function audited(operation: Partial<OperationSample> | null, part: Partial<Violation> = {}): Violation {
  epochs += 1;
  const operations = (part.count ?? 1) + (part.suppressed ?? 0);
  return sampleLsmViolation({
    vector: 'recorded/file-posture',
    policy: RECORDED,
    policyRevision: 1,
    action: 'audit',
    pod: WEB,
    count: 1,
    suppressed: 0,
    cumulativePackets: operations,
    counterEpoch: `boot/lsm/${epochs}`,
    generation: 1,
    firstSeenAt: world.t0Micros,
    lastSeenAt: world.t0Micros,
    operation:
      operation &&
      sampleOperation({
        outcome: 'audit',
        executable: '/usr/bin/app',
        containerName: 'app',
        subject: '',
        ...operation,
      }),
    ...part,
  });
}
const read = (subject: string, part?: Partial<Violation>) => audited({ operation: 'read', subject }, part);

const SECRET = `kind: RuntimePolicy
metadata: { name: secret, namespace: shop }
spec:
  selector: { podLabels: { matchLabels: { app: web } } }
  rules:
    - { name: shadow, action: block, file: { paths: [/etc/shadow], operations: [read] } }
    - { name: sh, action: kill, execute: { paths: [/bin/sh, /bin/bash] } }
    - { name: below, action: block, fromSource: [{ path: /bin/sh, children: true }], file: { paths: [/srv/key] } }
`;
const STRICT = `kind: RuntimePolicy
metadata: { name: strict, namespace: shop }
spec:
  mode: audit
  selector: { podLabels: { matchLabels: { app: cart } } }
  defaultPosture: { file: block }
`;
const file = (name: string, text: string): string => {
  const at = path.join(world.directory, `${name}.yaml`);
  writeFileSync(at, text);
  return at;
};
const simulate = (...args: string[]) => world.cli(['policy', 'simulate', ...args]);
const simulated = async (...args: string[]) => JSON.parse((await simulate(...args, '--json')).stdout);
const shown = (rows: Record<string, unknown>[]) =>
  rows.map(({ pod, program, operation, subject, operations }) => [
    (pod as { name: string }).name,
    program,
    operation,
    subject,
    operations,
  ]);

describe('cli policy simulate', () => {
  it('nothing recorded - says so, and where nothing can be known', async () => {
    const { exitCode, stdout, stderr } = await simulate(file('secret', SECRET));
    expect([exitCode, stdout]).toEqual([
      0,
      'It is not known what enforcing shop/secret, with 1 other policy, would have denied since 7d: no allowed operation is recorded.\n',
    ]);
    expect(stderr).toContain('shop/web-0: nothing of file, execute');
    expect(stderr).toContain('to record more: bailiff policy learn --pod shop/web-0 --for 10m --record');
  });

  it('sampled and counted operations - by pod and program, and only what is certain', async () => {
    await world.frame(NODE_A, [
      read('/etc/shadow', { count: 3 }),
      read('/etc/hosts', { count: 5 }),
      read('/etc/shadow', { pod: GONE }),
      // Another pod than the policy selects.
      read('/etc/shadow', { pod: CART, count: 40 }),
      // It depends on ancestors of the program.
      read('/srv/key', { count: 2 }),
      // The same operations, counted for a rule and for a posture of one set.
      audited({ operation: 'execute', subject: '/bin/sh' }, { vector: 'recorded/shells', count: 4, generation: 7 }),
      audited({ operation: 'execute', subject: '/bin/sh' }, { vector: 'x/execute-posture', count: 4, generation: 7 }),
      // Without a sample: one operation, the same rule, and several operations.
      audited(null, { vector: 'recorded/one', count: 0, suppressed: 100 }),
      audited(null, { vector: 'recorded/shells', count: 0, suppressed: 30 }),
      audited(null, { vector: 'recorded/several', count: 0, suppressed: 7 }),
      // Denied when it was recorded.
      read('/etc/shadow', { vector: 'old/rule', action: 'drop', count: 9 }),
      audited({ operation: 'read', subject: '/etc/shadow' }, { kind: 'spoof', vector: 'ipv4-source', policy: '' }),
    ]);
    // A node reports on the pod of another one.
    await world.frame(NODE_A, [read('/etc/shadow', { pod: VPN, count: 1_000 })]);
    await world.put('bailiff_pods', encodeToken(NODE_A), {
      nodeName: NODE_A,
      revision: 2,
      pods: [listed(WEB, 'web'), listed(CART, 'cart')],
    });

    // A pod that is gone is accepted once the time has passed in which the correlator decides.
    const found = await waitFor(
      async () => {
        const one = await simulated(file('secret', SECRET));
        return one.record.incomplete.every((text: string) => !text.startsWith('not counted yet')) && one;
      },
      { what: 'all to be decided', timeoutMs: 60_000 },
    );
    expect(shown(found.denied)).toEqual([
      ['web-0', '/usr/bin/app', 'read', '/etc/shadow', 103],
      ['web-0', '', null, '', 30],
      ['web-0', '/usr/bin/app', 'execute', '/bin/sh', 4],
      ['web-9', '/usr/bin/app', 'read', '/etc/shadow', 1],
    ]);
    expect(found.denied.map(({ by }: { by: string }) => by)).toEqual([
      'secret/shadow',
      'secret/sh',
      'secret/sh',
      'secret/shadow',
    ]);
    expect(found.undecided.map((row: Record<string, unknown>) => [row.subject, row.countedBy, row.operations])).toEqual(
      [
        ['', 'recorded/several', 7],
        ['/srv/key', '', 2],
      ],
    );
    expect(found.operations).toEqual({ denied: 138, pass: 5, undecided: 9, deniedBefore: 9 });
    // One that is undecided is not nothing.
    const below = SECRET.split('\n').filter((line) => !/name: (shadow|sh),/.test(line));
    expect((await simulate(file('below', below.join('\n')))).stdout).toMatch(
      /would have denied nothing of what can be decided since 7d\.\n\d+ operations at most cannot be decided/,
    );
    expect(found.record).toMatchObject({
      operationsOfOtherPods: 40,
      podsJudgedLikeSiblings: 1,
      operationsOmitted: 0,
      inexact: false,
      cut: false,
      refused: [{ node: NODE_A, packets: 1_000 }],
      pods: [
        {
          pod: { name: 'web-0' },
          classes: [
            { class: 'file', allowedFrom: expect.any(String) },
            { class: 'execute', allowedFrom: expect.any(String) },
            // Mounts that would show the file under another name.
            { class: 'kernel', allowedFrom: null, allowedTo: null },
          ],
        },
      ],
    });

    const { stdout, stderr } = await simulate(file('secret', SECRET));
    expect(stdout).toMatch(/^Enforcing shop\/secret, with 1 other policy, would have denied 138 operations of 2 pods /);
    expect(stdout).toMatch(/shop\/web-0 +\/usr\/bin\/app +read \/etc\/shadow +103 +secret\/shadow/);
    expect(stdout).toMatch(/9 operations at most cannot be decided:/);
    expect(stderr).toMatch(/5 recorded operations would pass/);
    expect(stderr).toMatch(/9 operations had been denied already/);
    expect(stderr).toMatch(/1 pod no longer listed: judged like another pod of the same owner/);
    expect(stderr).toMatch(/40 operations of pods that the policies do not select/);
    expect(stderr).toMatch(/refused, not counted: 1 violation reported by node node-a/);
  });

  it('beside the policies in force, or alone; one pod; one range; a bad file', async () => {
    const allow = {
      mode: 'enforce',
      defaultPosture: { file: 'audit' },
      rules: [{ name: 'a', action: 'allow', file: { paths: ['/etc/shadow'] } }],
    };
    await writeConfig(await world.as('cli'), 'runtime.cluster._.reads', allow, { by: 'x', why: 'y' });
    const strict = file('strict', STRICT);
    expect((await simulated(strict)).operations).toMatchObject({ denied: 0, pass: 40 });
    const alone = await simulated(strict, '--alone');
    expect(alone.denied).toMatchObject([{ by: 'strict/file-posture', operations: 40, pod: { name: 'cart-1' } }]);
    expect((await simulated(strict, '--alone', '--pod', 'shop/web-0')).operations).toMatchObject({ denied: 0 });
    expect((await simulated(strict, '--alone', '--since', '2099-01-01')).record.oldestAt).toBeNull();
    // The file replaces the stored policy of its name.
    const reads = SECRET.replace('name: secret, namespace: shop', 'name: reads');
    expect((await simulated(file('reads', reads))).operations).toMatchObject({ denied: 138 });
    const bad = await simulate(file('bad', SECRET.replace('action: block', 'action: stop')));
    expect([bad.exitCode, bad.stdout]).toEqual([6, '']);
    const keys = await openBucket(await world.as('cli'), 'bailiff_config').entries('runtime.>');
    expect(keys.map(({ key }) => key).sort()).toEqual(['runtime.cluster._.reads', RECORDED]);
  });

  it('messages that cannot be decoded, and nodes that send nothing - limit the headline; control: all is read', async () => {
    const strict = file('strict', STRICT);
    const LIMITED = /would have denied nothing of what can be decided since 7d\./;
    for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
    const all = await simulate(strict);
    expect(all.stdout).toMatch(/would have denied nothing/);
    expect(all.stdout).not.toMatch(LIMITED);
    expect((await simulated(strict)).record.incomplete).toEqual([]);
    const bus = { connected: true, unackedFrames: 1, publishedFrames: 1, resentFrames: 0, unackedForMs: 300_000 };
    await world.status(healthyStatus(NODE_B, { bus }));
    expect((await simulate(strict)).stdout).toMatch(LIMITED);
    expect((await simulated(strict)).record.incomplete).toEqual([expect.stringMatching(/of node-b\.example have not/)]);
    // Of one pod, only its node counts.
    expect((await simulated(strict, '--pod', 'shop/cart-1')).record.incomplete).toEqual([]);
    await world.status(healthyStatus(NODE_B));
    const publisher = new FramePublisher(await world.as(`collector-${NODE_B}`));
    const unknown = Buffer.from('c30101020304050607080a', 'hex');
    await publisher.publish(violationSubject(NODE_B, 'spoof'), unknown, { msgId: 'unknown' });
    publisher.close();
    const cut = await simulate(strict);
    expect(cut.stdout).toMatch(LIMITED);
    expect(cut.stderr).toContain('1 message could not be decoded: UNKNOWN_FINGERPRINT 1');
    expect((await simulated(strict)).record.incomplete).toEqual([expect.stringMatching(/could not be decoded/)]);
  });
});

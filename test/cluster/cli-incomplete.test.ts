/**
 * Commands that say what violations there are say so of what could be read: not of nodes that sent
 * nothing, of messages that this version cannot decode, nor of a bucket that the bus has lost.
 */
import { ensureTopology, FramePublisher, violationSubject, writeConfig } from '@bailiff/bus';
import { parseConfigKey } from '@bailiff/policy';
import { podIdentityOf, sampleLsmViolation } from '@bailiff/schemas/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { changeOf, proposalOf } from '../../apps/cli/src/console/changes/proposal.ts';
import { readPoliciesView } from '../../apps/cli/src/console/policies-view.ts';
import { reading } from '../../apps/cli/src/console/reading.ts';
import { CART, healthyStatus, NODE_A, NODE_B, publishStory, VPN, violationOf, WEB, World } from './cli/world.ts';

let world: World;
beforeEach(async () => {
  world = await World.start();
  for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
  await expected(NODE_A, NODE_B);
});
afterEach(() => world?.[Symbol.asyncDispose]());

const expected = (...names: string[]) =>
  world.put('bailiff_pods', '_cluster', {
    revision: names.length,
    nodes: names.map((name) => ({ name, addresses: ['10.0.0.1'], podCidrs: [] })),
  });
const POLICY = 'runtime.cluster._.no-shell';
const storePolicy = async () =>
  writeConfig(
    await world.as('admin'),
    parseConfigKey(POLICY),
    { mode: 'audit', rules: [{ name: 'shell', execute: { paths: ['/bin/sh'] }, action: 'block' }] },
    { by: 'x', why: 'y' },
  );

/** What both say, as text and as JSON. */
async function claims() {
  const run = async (...argv: string[]) => world.cli(argv);
  const drop = await run('doctor', '--would-drop');
  const promote = await run('policy', 'promote', 'no-shell', '--dry-run');
  const json = async (...argv: string[]) => JSON.parse((await run(...argv, '--json')).stdout).incomplete as string[];
  return {
    text: [drop.stdout, promote.stdout].map((text) => text.trim()),
    notes: [drop.stderr, promote.stderr],
    json: [await json('doctor', '--would-drop'), await json('policy', 'promote', 'no-shell', '--dry-run')],
  };
}
/** What a page of the console says beside it, and before the button that enforces; and of one namespace only. */
async function notesOfPages() {
  const session = { bus: await world.as('cli'), server: { servers: [world.nats.url] }, nowMs: Date.now };
  const own = () => reading(session, new AbortController().signal);
  const reader = own();
  const change = await changeOf(reader, { key: POLICY, assignments: ['mode=enforce'] });
  const view = (maySee: (namespace: string | null) => boolean) =>
    readPoliciesView(own(), { since: '1d', sinceMs: 0, maySee });
  const [{ notes: proposal }, all, some] = [
    await proposalOf(reader, change, 'anna', ''),
    await view(() => true),
    await view((namespace) => namespace === 'shop'),
  ];
  return { proposal, all: all.notes, some: some.notes };
}
const COMPLETE = [
  'no packet was audited since 1h: enforcing would drop nothing more',
  expect.stringMatching(/^Enforcing no-shell would have denied nothing that is recorded since \w+\./),
];
const LIMITED = [
  'no packet was audited since 1h, as far as is known',
  expect.stringMatching(
    /^Enforcing no-shell would have denied nothing that is recorded since \w+, as far as violations could be read\./,
  ),
];

it('all nodes report, and all messages are read - nothing limits the result (the control)', async () => {
  await storePolicy();
  expect(await claims()).toMatchObject({ text: COMPLETE, json: [[], []] });
  const { proposal, all } = await notesOfPages();
  expect([proposal.length, all]).toEqual([2, []]);
});

it('a node of the cluster without any status - the result is limited, and names it', async () => {
  await storePolicy();
  await expected(NODE_A, NODE_B, 'node-c');
  const why = 'no collector of node-c has ever reported';
  const found = await claims();
  expect(found).toMatchObject({ text: LIMITED, json: [[why], [why]] });
  for (const note of found.notes) expect(note).toContain(why);
  const { proposal, all, some } = await notesOfPages();
  expect([proposal.slice(2), all]).toEqual([[why], [why]]);
  expect(some).not.toContain(why);
  expect((await world.cli(['events'])).stderr).toContain(why);
});

it('a message of a schema that nobody registered - the result is limited, and counts it', async () => {
  await storePolicy();
  const publisher = new FramePublisher(await world.as(`collector-${NODE_B}`));
  const unknown = Buffer.from('c30101020304050607080a', 'hex');
  await publisher.publish(violationSubject(NODE_B, 'spoof'), unknown, { msgId: 'unknown' });
  publisher.close();
  const why = '1 message could not be decoded: UNKNOWN_FINGERPRINT 1';
  expect(await claims()).toMatchObject({ text: LIMITED, json: [[why], [why]] });
  const { proposal, all, some } = await notesOfPages();
  expect([proposal.slice(2), all]).toEqual([[why], [why]]);
  expect(some).not.toContain(why);
});

it('a vector was off within the range - would-drop does not call its silence nothing, also after it is on again', async () => {
  await storePolicy();
  const admin = await world.as('admin');
  const key = parseConfigKey('spoof.namespace.shop.default');
  const set = (value: object) => writeConfig(admin, key, value, { by: 'x', why: 'y' });
  const drop = async (...argv: string[]) => (await world.cli(['doctor', '--would-drop', ...argv])).stdout.trim();
  await set({ modes: { tunnel: 'audit' } });
  expect(await drop()).toBe(COMPLETE[0]);
  const why =
    'namespace shop: tunnel was off within this time: such packets passed uncounted; audit before you enforce';
  for (const mode of ['off', 'audit']) {
    await set({ modes: { tunnel: mode } });
    expect(await drop()).toBe(LIMITED[0]);
    expect(JSON.parse(await drop('--json')).incomplete).toEqual([why]);
    expect((await notesOfPages()).all).toEqual([why]);
  }
  const later = new Date().toISOString();
  expect(await drop('--since', later)).toBe(`no packet was audited since ${later}: enforcing would drop nothing more`);
});

it('a full stream has deleted what was audited within the range - the results are limited, and say since when', async () => {
  await storePolicy();
  for (const [node, ...pods] of [[NODE_A, WEB, CART] as const, [NODE_B, VPN] as const]) {
    const listed = pods.map((pod) => podIdentityOf(pod, { labels: {}, owners: [] }));
    await world.put('bailiff_pods', node, { nodeName: node, revision: 1, pods: listed });
  }
  const spoof = violationOf(world.t0Micros, VPN, { vector: 'tunnel-other', action: 'audit' });
  const shell = { vector: 'no-shell/shell', policy: POLICY, action: 'audit' as const, pod: WEB };
  await world.frame(NODE_A, [sampleLsmViolation(shell)]);
  await world.frame(NODE_B, [spoof]);
  // The control: both are found while they are on the bus.
  const { text, json } = await claims();
  expect(text).toEqual([
    expect.stringContaining('dropped 1 packet'),
    expect.stringContaining('would have denied 321 operations'),
  ]);
  expect(json).toEqual([[], []]);

  const { jsm } = await world.as('admin');
  await jsm.streams.update('VIOLATIONS', { max_msgs: 2 });
  for (const at of [1, 2]) await world.frame(NODE_A, [violationOf(world.t0Micros + at, CART)]);
  const why = expect.stringMatching(/^violations from before .* UTC are no longer on the bus/);
  const found = await claims();
  expect(found).toMatchObject({ text: LIMITED, json: [[why], [why]] });
  const { proposal, all } = await notesOfPages();
  // This view asks for all that there is.
  expect([proposal.slice(2), all]).toEqual([[why], []]);
  const gone = 'are no longer on the bus';
  for (const argv of [
    ['events', '--pod', 'shop/web-0'],
    ['top', 'pods'],
    ['explain', 'shop/web-0'],
  ])
    expect((await world.cli(argv)).stderr).toContain(gone);
  expect((await world.cli(['timeline', 'shop/cart-1'])).stdout).toContain(gone);
  // A range that the stream still holds.
  expect((await world.cli(['events', '--since', '30s'])).stderr).not.toContain(gone);
});

it('rows of one node, and another node whose violations do not arrive - events and top name it beside the rows', async () => {
  await publishStory(world);
  const listing = () => Promise.all([['events'], ['events', '--json'], ['top', 'pods']].map((argv) => world.cli(argv)));
  for (const { stdout, stderr } of await listing()) {
    expect(stdout).toContain('web-0');
    expect(stderr).not.toContain('not reached');
  }
  const bus = { connected: true, unackedFrames: 1, publishedFrames: 1, resentFrames: 0, unackedForMs: 300_000 };
  await world.status(healthyStatus(NODE_B, { bus }));
  for (const { stdout, stderr } of await listing()) {
    expect(stdout).toContain('web-0');
    expect(stderr).toMatch(/violations of node-b\.example have not reached the bus for 5m/);
  }
  // One that asks for another node alone is not told of this one.
  expect((await world.cli(['events', '--node', NODE_A])).stderr).not.toContain('not reached');
});

const losing = async (stream: string) => {
  await (await world.as('admin')).jsm.streams.delete(stream);
};

it('the bus has lost its violations and is set up again - no row is no answer of the time before', async () => {
  const startedAt = new Date(Date.now() - 3_600_000).toISOString();
  const all = () =>
    Promise.all(
      [['events'], ['top', 'pods'], ['doctor', '--would-drop', '--since', '1h']].map((argv) => world.cli(argv)),
    );
  const gone = /violations from before .* UTC are no longer on the bus: the stream was made then/;
  // The control: an installation as new as its bus.
  for (const { stdout, stderr } of await all()) expect(stdout + stderr).not.toMatch(gone);
  await world.status(healthyStatus(NODE_A, { startedAt }));
  await losing('VIOLATIONS');
  await ensureTopology(await world.as('admin'));
  for (const { stdout, stderr } of await all()) expect(stdout + stderr).toMatch(gone);
  const { stderr } = await world.cli(['events', '--since', '30s']);
  expect(stderr).not.toMatch(gone);
});

it('the bus has lost the status of the nodes - status says that, break-glass works, and nothing is said of guards', async () => {
  const before = await world.cli(['status']);
  expect(before.stdout).toMatch(/2 of 2 nodes report/);
  await losing('KV_bailiff_nodes');
  const { exitCode, stdout } = await world.cli(['status']);
  expect(exitCode).toBe(7);
  expect(stdout).toContain('has no KV_bailiff_nodes');
  expect(stdout).toContain('it is not known what is guarded. Guards that are attached stay in force');
  expect(stdout).not.toMatch(/no (node|collector) has ever reported/);
  const ofOne = await world.cli(['status', '--node', NODE_A]);
  expect(ofOne).toMatchObject({ exitCode: 7, stdout: expect.stringContaining('it is not known what is guarded') });

  const run = (...argv: string[]) => world.cli(['disarm', ...argv]);
  const how = ['--for', '10m', '--reason', 'incident', '--yes'];
  for (const scope of [['--namespace', 'shop'], ['--node', NODE_A], ['--all']])
    expect(await run(...scope, ...how)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/is disarmed until/),
    });
  const listed = await run();
  expect(listed).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/DISARMED: namespace shop/) });
  expect(listed.stderr).toMatch(/what nodes have is not known, only what is stored/);
  for (const scope of [['--namespace', 'shop'], ['--node', NODE_A], ['--all']])
    expect(await run(...scope, '--off')).toMatchObject({ exitCode: 0 });
  expect((await run()).stdout).toBe('no disarm is stored\n');
  const events = await world.cli(['events']);
  expect(events).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/not known which nodes sent/) });
});

it('a node that does not exist - is still refused by disarm while statuses can be read (the control)', async () => {
  const { exitCode, stderr } = await world.cli(['disarm', '--node', 'nodd', '--for', '1m', '--reason', 'r', '--yes']);
  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/no node "nodd" exists/)]);
});

it('40 namespaces in audit - hide nothing that a node reports, and a disarm of one node is no problem of another', async () => {
  const admin = await world.as('admin');
  for (let at = 0; at < 40; at += 1) {
    const key = parseConfigKey(`spoof.namespace.team-${at}.default`);
    await writeConfig(admin, key, { modes: { 'ipv4-source': 'audit' } }, { by: 'x', why: 'y' });
  }
  await using _services = await world.services();
  const status = healthyStatus(NODE_A, { disarmedUntil: new Date(Date.now() + 600_000).toISOString() });
  const [first, ...rest] = status.interfaces;
  await world.status({
    ...status,
    interfaces: [{ ...first, recentUnjudgedFrames: 7 } as typeof first & object, ...rest],
  });
  const { exitCode, stdout } = await world.cli(['status']);
  expect(exitCode).toBe(10);
  expect(stdout).toMatch(/node-a: 7 frames of .* passed the guard without being judged/);
  expect(stdout).toMatch(/node-a: is disarmed for/);
  expect(stdout).toMatch(/namespace team-0: .*in audit/);
  // The room that nodes leave is for the scopes.
  expect(stdout.match(/^! /gm)).toHaveLength(24);
  expect((await world.cli(['status', '--node', NODE_B])).stdout).not.toContain('is disarmed');
  expect((await world.cli(['status', '--node', NODE_A])).stdout).toContain('is disarmed');
});

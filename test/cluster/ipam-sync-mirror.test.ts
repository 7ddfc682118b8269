// Custom resources from stock kubectl → the configuration on a real bus, and their status back. One
// cluster, one bus, one ipam-sync at a time.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  configHistory,
  deleteConfig,
  InstanceReporter,
  type KvEntry,
  openBucket,
  readConfig,
  storedConfig,
  writeConfig,
} from '@bailiff/bus';
import { formatOwner, type ResourceOwner } from '@bailiff/policy';
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../apps/cli/src/testing.ts';
import { underWay } from '../support/bus.ts';
import { followConfig } from '../support/config-log.ts';
import { healthyStatus } from './cli/world.ts';
import { Kubectl } from './contract/kubectl.ts';
import { kubectlIsMissing, words } from './contract/kubectl-bench.ts';
import { launch, startWorld, type World } from './ipam-sync/harness.ts';

const missing = kubectlIsMissing();
const ROOT = path.resolve(import.meta.dirname, '../..');
const API = 'bailiff.dev/v1alpha1';

let world: World;
let kubectl: Kubectl;
let sync: Awaited<ReturnType<typeof launch>>;

const objectsIn = (file: string) =>
  parseAllDocuments(readFileSync(path.join(ROOT, file), 'utf8')).map((document) => document.toJS());
const crds = () =>
  readdirSync(path.join(ROOT, 'k8s/crds'))
    .filter((file) => file !== 'kustomization.yaml')
    .map((file) => objectsIn(`k8s/crds/${file}`)[0]);
const installCrds = () => {
  for (const crd of crds()) world.kube.server.api.create('customresourcedefinitions.apiextensions.k8s.io', crd);
};

/** Creates from the JSON of a manifest file. */
const create = (object: object) => kubectl.run(['create', '-f', '-'], JSON.stringify(object));
async function created(object: { kind: string; metadata: { name: string } }): Promise<void> {
  expect(await create(object)).toMatchObject({ code: 0 });
}
const resource = (kind: string, name: string, spec: object) => ({ apiVersion: API, kind, metadata: { name }, spec });
const runtimePolicy = (name: string, more: object = {}) =>
  resource('RuntimePolicy', name, {
    mode: 'enforce',
    rules: [{ name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } }],
    ...more,
  });
const rule = (name: string, gte = 3) =>
  resource('CorrelationRule', name, { type: 'event_count', level: 'high', timespan: '60s', condition: { gte } });

interface Reported {
  observedGeneration: number;
  configKey: string;
  configRevision?: number;
  inForce?: string;
  conditions: { type: string; status: string; reason: string; message: string; lastTransitionTime: string }[];
}
async function statusOf(kind: string, name: string): Promise<Reported | undefined> {
  return (JSON.parse(await kubectl.ok('get', kind, name, '-o', 'json')) as { status?: Reported }).status;
}
/** `True Written`, once the status is of the current generation. */
async function condition(kind: string, name: string, type = 'Accepted'): Promise<string> {
  const { metadata, status } = JSON.parse(await kubectl.ok('get', kind, name, '-o', 'json'));
  const found = (status as Reported | undefined)?.conditions.find((one) => one.type === type);
  return found && status.observedGeneration === metadata.generation
    ? `${found.status} ${found.reason}`
    : 'no condition';
}
const comesTo = (what: () => Promise<unknown>, wanted: unknown) =>
  waitFor(async () => JSON.stringify(await what()) === JSON.stringify(wanted), {
    what: `to become ${JSON.stringify(wanted)}`,
    state: what,
  });
const messageOf = async (kind: string, name: string, type = 'Accepted') =>
  (await statusOf(kind, name))?.conditions.find((one) => one.type === type)?.message;
const stored = (key: string) => readConfig(world.admin, key);
const revisionOf = async (key: string) => (await stored(key))?.revision ?? null;

/** The status of a collector. */
function reportNode(name: string, policies: RuntimeStatus['policies'], part: Partial<NodeStatus> = {}) {
  const runtime = sampleRuntimeStatus({ subjects: 1, sets: 1, policies });
  const status = healthyStatus(name, { runtime, spoofRevision: 0, ...part });
  return openBucket(world.admin, 'bailiff_nodes').put(name, JSON.stringify(status));
}

/**
 * An instance of a service, reduced to its configuration: reads the log under its own rights and
 * reports its position.
 */
async function instanceOf(service: string, refused: [string, string][] = []): Promise<AsyncDisposable> {
  const bus = await world.nats.connect(service);
  const { log, revision: configRevision } = followConfig(bus, { onChange: () => reporter?.report() });
  const onError = (error: Error) => expect.fail(error.message);
  const health = { checkReady: async () => ({ ok: true, checks: {} }) };
  const ctx = { version: '1', clock: { nowMs: Date.now }, health };
  const reported = { ctx, bus, service, configRevision, refused: () => refused, onError };
  const reporter: InstanceReporter | undefined = new InstanceReporter(reported);
  return {
    async [Symbol.asyncDispose]() {
      await reporter.close();
      await log.close();
      await bus.close();
    },
  };
}

/** A command as an operator. */
async function cli(...args: string[]) {
  const home = temporaryDirectory();
  const file = path.join(home, 'password');
  writeFileSync(file, 'password-of-cli', { mode: 0o600 });
  const env = { BAILIFF_NATS_URL: world.nats.url, BAILIFF_NATS_PASSWORD_FILE: file };
  const ended = await runCli(args, { home, env });
  rmSync(home, { recursive: true });
  return ended;
}

/** `bailiff config …` */
async function config(...args: string[]): Promise<void> {
  const { exitCode, stderr } = await cli('config', ...args, '--yes');
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
}

/**
 * The values that a reader of the key sees until `end`: the manager of each value, `nothing` if
 * there is none.
 */
function reading(key: string): { seen: string[]; end(): Promise<void> } {
  const seen: string[] = [];
  const stop = new AbortController();
  const onEntry = (entry: KvEntry) => {
    if (entry.key !== key) return;
    const { deleted, released, owner } = storedConfig(entry);
    seen.push(deleted ? 'nothing' : (owner?.name ?? (released ? 'nobody' : 'cli')));
  };
  const watching = underWay(world.config.watch({ signal: stop.signal, onEntry }));
  return {
    seen,
    end: async () => {
      stop.abort();
      await watching;
    },
  };
}

function customResourceTests(): void {
  beforeAll(async () => {
    world = await startWorld();
    kubectl = new Kubectl(world.kube.server.kubeconfigPath('admin'), path.join(world.kube.dir, 'cache'));
    world.node('node-1', ['192.0.2.1']);
    await reportNode('node-1', []);
    sync = await launch(world);
  });
  afterAll(async () => {
    await sync?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  test('without definitions - reported once per kind, identities are kept; used when they are installed', async () => {
    world.running('web', 'node-1', ['10.1.0.5']);
    await comesTo(() => world.addresses('node-1'), { web: ['10.1.0.5'] });
    const printed = () =>
      sync.logLines().filter(({ msg }) => msg === 'custom resources are not installed, so none is mirrored');
    await waitFor(() => printed().length >= 4, { what: 'each kind to be reported', state: printed });
    const asked = () => world.kube.server.requests.count({ verb: 'list', resource: 'runtimepolicies' });
    const before = asked();
    await waitFor(() => asked() >= before + 2, { what: 'more requests' });
    expect(printed()).toHaveLength(4);
    installCrds();
    await created(rule('first'));
    await comesTo(() => condition('correlationrule', 'first'), 'True Written');
    const taken = () => sync.logLines().filter(({ msg }) => msg === 'custom resources can be read now');
    await waitFor(() => taken().length === 4);
    expect(printed()).toHaveLength(4);
    expect(sync.logLines().filter(({ level }) => Number(level) > 30)).toEqual([]);
    await kubectl.ok('delete', 'correlationrule', 'first');
    await comesTo(() => revisionOf('correlation.cluster._.first'), null);
  });

  test('runtime policy - written, in force 0/1 and 1/1, edited, deleted; kubectl shows it', async () => {
    const key = 'runtime.cluster._.no-shell';
    await created(runtimePolicy('no-shell'));
    await comesTo(() => condition('rtp', 'no-shell', 'InForce'), 'False Pending');
    const first = await stored(key);
    expect(first).toMatchObject({ revision: 1, by: 'RuntimePolicy/no-shell', why: 'generation 1' });
    expect(first?.owner).toMatchObject({ kind: 'RuntimePolicy', name: 'no-shell', generation: 1 });
    expect(JSON.parse(first?.json ?? '')).toMatchObject({ mode: 'enforce', severity: 'medium', revision: 1 });
    expect(await messageOf('rtp', 'no-shell', 'InForce')).toBe('node-1: not applied yet');
    const held = (revision: number, state: 'in-force' | 'refused' = 'in-force', reason = '', part = {}) =>
      reportNode('node-1', [{ key, revision, state, reason, subjects: 1 }], part);
    // The bus says when it stored the status: the clock of the node makes it neither silent nor fresh.
    await held(1, 'in-force', '', { updatedAt: new Date(Date.now() - 864_000_000).toISOString() });
    await comesTo(async () => (await statusOf('rtp', 'no-shell'))?.inForce, '1/1');
    const [head, row] = (await kubectl.ok('get', 'bailiff')).trim().split('\n');
    const columns = ['NAME', 'MODE', 'SEVERITY', 'ENABLED', 'ACCEPTED', 'REASON', 'IN FORCE', 'REVISION', 'AGE'];
    expect(words(head)).toEqual(columns);
    expect(words(row).slice(0, 8)).toEqual([
      'runtimepolicy.bailiff.dev/no-shell',
      ...['enforce', 'medium', 'true', 'True', 'Written', '1/1', '1'],
    ]);
    expect(await kubectl.ok('describe', 'rtp', 'no-shell')).toMatch(/In Force: +1\/1/);

    // Nothing changes, so nothing is written.
    const version = () => kubectl.ok('get', 'rtp', 'no-shell', '-o', 'jsonpath={.metadata.resourceVersion}');
    const [before, polls] = [await version(), world.kube.server.requests.count({ verb: 'patch' })];
    await held(1);
    await created(rule('meanwhile'));
    await comesTo(() => condition('crr', 'meanwhile'), 'True Written');
    expect(await version()).toBe(before);
    expect(world.kube.server.requests.count({ verb: 'patch' })).toBeGreaterThan(polls);

    await kubectl.ok('patch', 'rtp', 'no-shell', '--type=merge', '-p', '{"spec":{"mode":"audit"}}');
    await comesTo(() => condition('rtp', 'no-shell', 'InForce'), 'False Pending');
    expect(await stored(key)).toMatchObject({ revision: 2, why: 'generation 2' });
    await held(2, 'refused', 'no room');
    await comesTo(() => condition('rtp', 'no-shell', 'InForce'), 'False NotEverywhere');
    expect(await messageOf('rtp', 'no-shell', 'InForce')).toBe('node-1: "no room"');
    await kubectl.ok('delete', 'rtp', 'no-shell');
    await comesTo(() => stored(key), null);
    const past = (await configHistory(world.admin, key)).map(({ revision, why, deleted }) => [revision, why, deleted]);
    expect(past).toEqual([
      [1, 'generation 1', false],
      [2, 'generation 2', false],
      [2, 'the resource was deleted', true],
    ]);
    // After it is recreated, its revision continues: no reader mistakes an older one for a newer
    // one.
    await created(runtimePolicy('no-shell'));
    await comesTo(() => revisionOf(key), 3);
    await kubectl.ok('delete', 'rtp', 'no-shell');
    await kubectl.ok('delete', 'crr', 'meanwhile');
  });

  test('a value that is no JSON, under the name of a resource - it stays refused, and lists of pods go on', async () => {
    const key = 'correlation.cluster._.foreign';
    await created(rule('foreign'));
    await comesTo(() => condition('crr', 'foreign'), 'True Written');
    const written = (await stored(key)) as { owner: ResourceOwner };
    const owner = {
      'Bailiff-Owner': formatOwner(written.owner),
      'Bailiff-Resource-Version': written.owner.resourceVersion,
    };
    // Of a generation that the resource has never had, so that ipam-sync leaves the value alone.
    const headers = { ...owner, 'Bailiff-Generation': '1000000' };
    for (const [index, value] of ['no JSON', 'null', '7', '{}'].entries()) {
      await world.config.put(key, value, { headers });
      await waitFor(async () => (await condition('crr', 'foreign')) === 'False Stale', {
        what: `ipam-sync to refuse the resource beside the value ${value}`,
        state: () => sync.logLines().slice(-1),
      });
      world.running(`beside-${index}`, 'node-1', [`10.1.1.${index}`]);
      await comesTo(async () => (await world.addresses('node-1'))?.[`beside-${index}`], [`10.1.1.${index}`]);
      // The control: the resource is written again over a value that is not newer.
      await world.config.put(key, value, { headers: owner });
      await comesTo(() => condition('crr', 'foreign'), 'True Written');
      expect(JSON.parse((await stored(key))?.json ?? '')).toMatchObject({ level: 'high' });
    }
    await kubectl.ok('delete', 'crr', 'foreign');
  });

  test('rules and response policies - in force when an instance of the service has read the log up to them', async () => {
    const key = 'correlation.cluster._.reader';
    await created(rule('reader'));
    await created(resource('ResponsePolicy', 'watch', { steps: [{ action: 'observe' }] }));
    await comesTo(async () => (await statusOf('crr', 'reader'))?.inForce, '0/1');
    await comesTo(async () => (await statusOf('rsp', 'watch'))?.inForce, '0/1');
    expect(await messageOf('crr', 'reader', 'InForce')).toBe('correlator: not running; applied at its next start');
    {
      await using _one = await instanceOf('correlator');
      await comesTo(async () => (await statusOf('crr', 'reader'))?.inForce, '1/1');
      expect((await statusOf('rsp', 'watch'))?.inForce).toBe('0/1');
      await using _two = await instanceOf('correlator', [[key, 'too new']]);
      await using _three = await instanceOf('responder');
      await comesTo(async () => (await statusOf('crr', 'reader'))?.inForce, '1/2');
      expect(await messageOf('crr', 'reader', 'InForce')).toMatch(/: too new$/);
      await comesTo(() => condition('rsp', 'watch', 'InForce'), 'True Everywhere');
      await kubectl.ok('patch', 'rsp', 'watch', '--type=merge', '-p', '{"spec":{"enabled":false}}');
      await comesTo(() => condition('rsp', 'watch', 'InForce'), 'False Disabled');
    }
    await comesTo(async () => (await statusOf('crr', 'reader'))?.inForce, '0/1');
    await kubectl.ok('delete', 'crr/reader', 'rsp/watch');
  });

  test('spoof policies - the key follows the target; of two resources with one key the older has it', async () => {
    const spoof = (name: string, spec: object) => created(resource('SpoofPolicy', name, spec));
    await spoof('a', { target: { namespace: 'shop' }, modes: { tunnel: 'audit' } });
    const key = 'spoof.namespace.shop.default';
    await comesTo(() => revisionOf(key), 1);
    expect(JSON.parse((await stored(key))?.json ?? '')).toEqual({ modes: { tunnel: 'audit' }, revision: 1 });
    await comesTo(async () => (await statusOf('spp', 'a'))?.inForce, '0/1');
    const { bucketRevision } = (await stored(key)) ?? {};
    await reportNode('node-1', [], { spoofRevision: bucketRevision ?? 0 });
    await comesTo(async () => (await statusOf('spp', 'a'))?.inForce, '1/1');
    await spoof('b', { target: { namespace: 'shop' }, modes: { tunnel: 'enforce' } });
    await comesTo(() => condition('spp', 'b'), 'False Conflict');
    expect(await messageOf('spp', 'b')).toBe(`${key} is owned by SpoofPolicy a, which is older`);
    // The older one moves to another key: the other one gets its old key, and the key always has a
    // value.
    await kubectl.ok('patch', 'spp', 'a', '--type=merge', '-p', '{"spec":{"target":{"workload":"web"}}}');
    await comesTo(async () => (await stored('spoof.workload.shop.web'))?.owner?.name, 'a');
    await comesTo(async () => (await stored(key))?.owner?.name, 'b');
    expect((await configHistory(world.admin, key)).some(({ deleted }) => deleted)).toBe(false);
    await comesTo(() => condition('spp', 'b'), 'True Written');
    await kubectl.ok('delete', 'spp', 'a', 'b');
    await comesTo(async () => [await stored(key), await stored('spoof.workload.shop.web')], [null, null]);
  });

  test('wrong fields - refused by kubectl if the definition can express it, otherwise in the status; the last good one stays in force', async () => {
    const typo = await create(runtimePolicy('typo', { sevrity: 'high' }));
    expect([typo.code, typo.stderr]).toEqual([1, expect.stringContaining('unknown field "spec.sevrity"')]);
    const kindless = await create(runtimePolicy('kindless', { rules: [{ name: 'a', action: 'block' }] }));
    expect(kindless.stderr).toMatch(/spec\.rules\[0\].*a rule has exactly one of/);
    const ports = (range: string) =>
      runtimePolicy('ports', { rules: [{ name: 'a', action: 'block', network: { ports: [range] } }] });
    await created(ports('80-90'));
    await comesTo(() => condition('rtp', 'ports'), 'True Written');
    const patch = JSON.stringify({ spec: ports('90-80').spec });
    await kubectl.ok('patch', 'rtp', 'ports', '--type=merge', '-p', patch);
    await comesTo(() => condition('rtp', 'ports'), 'False Invalid');
    expect(await messageOf('rtp', 'ports')).toBe(
      'spec.rules.0.network.ports.0: "90-80" runs backwards or beyond 65535; generation 1, revision 1, stays in force',
    );
    expect((await stored('runtime.cluster._.ports'))?.json).toContain('80-90');
    // A resource that was never valid has no value in force.
    await created({ ...ports('9-8'), metadata: { name: 'never' } });
    await comesTo(() => condition('rtp', 'never', 'InForce'), 'False NotAccepted');
    expect(await stored('runtime.cluster._.never')).toBeNull();
    const shown = async () => (await cli('status')).stdout;
    const unaccepted = /✗ ipam-sync: does not accept RuntimePolicy\/never, [\s\S]*kubectl describe runtimepolicy never/;
    await waitFor(async () => unaccepted.test(await shown()), {
      what: 'status to name it',
      timeoutMs: 30_000,
      state: shown,
    });
    await kubectl.ok('delete', 'rtp', 'ports', 'never');
    const isNamed = async () => (await shown()).includes('does not accept');
    await waitFor(async () => !(await isNamed()), { what: 'the end of it', timeoutMs: 30_000, state: shown });
  });

  test('managers of a key - conflicts are refused in both directions, with a message; a released key is taken over', async () => {
    const key = 'correlation.cluster._.mine';
    const value = rule('mine', 5).spec;
    await writeConfig(world.admin, key, value, { by: 'anna@ops', why: 'by hand' });
    await created(rule('mine', 9));
    await comesTo(() => condition('crr', 'mine'), 'False Conflict');
    expect(await messageOf('crr', 'mine')).toMatch(
      /^correlation\.cluster\._\.mine is owned by the command line: written by anna@ops at 20\d\d-[-:T\d]+Z: by hand\. /,
    );
    expect((await statusOf('crr', 'mine'))?.configRevision).toBeUndefined();
    expect(await revisionOf(key)).toBe(1);
    await deleteConfig(world.admin, key, { by: 'anna@ops', why: 'kubectl has it' });
    await comesTo(() => condition('crr', 'mine'), 'True Written');
    expect((await stored(key))?.owner?.name).toBe('mine');
    await expect(writeConfig(world.admin, key, value, { by: 'anna@ops', why: '' })).rejects.toMatchObject({
      code: 'CONFIG_OWNER',
      message: `${key} is owned by the custom resource CorrelationRule mine`,
    });
    await writeConfig(world.admin, key, value, { by: 'anna@ops', why: 'now', takeOver: true });
    await comesTo(() => condition('crr', 'mine'), 'False Conflict');
    // The resource is deleted, and no longer manages the key.
    await kubectl.ok('delete', 'crr', 'mine');
    await created(rule('after'));
    await comesTo(() => condition('crr', 'after'), 'True Written');
    expect((await stored(key))?.by).toBe('anna@ops');
    await kubectl.ok('delete', 'crr', 'after');
  });

  test('transfer of a key - a deletion leaves the key without a value for a moment; a release does not, and the value outlives its resource', async () => {
    const key = 'correlation.cluster._.handed';
    const value = rule('handed', 5).spec;
    const handedOver = async (way: string) => {
      await writeConfig(world.admin, key, value, { by: 'anna@ops', why: 'by hand' });
      const reader = reading(key);
      await created(rule('handed', 9));
      await comesTo(() => condition('crr', 'handed'), 'False Conflict');
      await waitFor(() => reader.seen.length > 0, { what: 'the reader' });
      await config(way, key, '--reason', 'kubectl has it');
      await comesTo(() => condition('crr', 'handed'), 'True Written');
      await waitFor(() => reader.seen.at(-1) === 'handed', {
        what: 'the value of the resource',
        state: () => reader.seen,
      });
      await reader.end();
      return reader.seen;
    };
    // The control: what readers see when a deletion frees the key.
    expect(await handedOver('delete')).toEqual(['cli', 'nothing', 'handed']);
    await kubectl.ok('delete', 'crr', 'handed');
    await comesTo(() => stored(key), null);
    expect(await handedOver('release')).toEqual(['cli', 'nobody', 'handed']);
    // Back: the resource is deleted while ipam-sync is stopped, and its value must stay.
    expect(await sync.stop()).toBe(0);
    await kubectl.ok('delete', 'crr', 'handed');
    const reader = reading(key);
    await waitFor(() => reader.seen.length > 0, { what: 'the reader' });
    await config('release', key, '--take-over', '--reason', 'the value must stay');
    sync = await launch(world);
    await created(rule('after-release'));
    await comesTo(() => condition('crr', 'after-release'), 'True Written');
    expect(JSON.parse((await stored(key))?.json ?? '{}')).toMatchObject(rule('handed', 9).spec);
    await config('set', key, 'level=low');
    await waitFor(() => reader.seen.length === 3, { what: 'the new value', state: () => reader.seen });
    expect(reader.seen).toEqual(['handed', 'nobody', 'cli']);
    await reader.end();
    await kubectl.ok('delete', 'crr', 'after-release');
    await deleteConfig(world.admin, key, { by: 'anna@ops', why: 'done' });
  });

  test('restart - resources deleted meanwhile are removed, changed ones written, and values newer than the cache stay', async () => {
    for (const name of ['stays', 'goes', 'changes']) await created(rule(name));
    for (const name of ['stays', 'goes', 'changes']) await comesTo(() => condition('crr', name), 'True Written');
    await world.config.put('correlation.cluster._.cli', JSON.stringify({ ...rule('cli').spec, revision: 1 }));
    expect(await sync.stop()).toBe(0);
    await kubectl.ok('delete', 'crr', 'goes');
    await kubectl.ok('patch', 'crr', 'changes', '--type=merge', '-p', '{"spec":{"level":"low"}}');
    // As another replica left it, whose cache was newer than any of this one.
    const ahead = { kind: 'CorrelationRule', uid: 'u', generation: 9, resourceVersion: '999999999' };
    const write = { by: 'CorrelationRule/ahead', why: 'generation 9' };
    const spec = rule('ahead').spec;
    await writeConfig(world.admin, 'correlation.cluster._.ahead', spec, {
      ...write,
      owner: { ...ahead, name: 'ahead' },
    });
    const { owner } = (await stored('correlation.cluster._.stays')) ?? {};
    if (!owner) throw new Error('the key has no manager');
    const newer = { ...owner, generation: 7, resourceVersion: '999999999' };
    await writeConfig(world.admin, 'correlation.cluster._.stays', spec, { ...write, owner: newer });

    sync = await launch(world);
    await comesTo(() => stored('correlation.cluster._.goes'), null);
    await comesTo(async () => JSON.parse((await stored('correlation.cluster._.changes'))?.json ?? '{}').level, 'low');
    await comesTo(() => condition('crr', 'stays'), 'False Stale');
    expect(await revisionOf('correlation.cluster._.stays')).toBe(2);
    expect(await revisionOf('correlation.cluster._.ahead')).toBe(1);
    expect(await revisionOf('correlation.cluster._.cli')).toBe(1);
  });

  test('two replicas - one writes; the other continues from its state', async () => {
    await using standby = await launch(world);
    expect([await sync.metric('bailiff_ipam_sync_leader'), await standby.metric('bailiff_ipam_sync_leader')]).toEqual([
      1, 0,
    ]);
    expect(await sync.stop()).toBe(0);
    await created(runtimePolicy('next'));
    await comesTo(() => condition('rtp', 'next'), 'True Written');
    expect(await standby.metric('bailiff_ipam_sync_mirror_writes_total')).toBe(1);
    expect(await standby.metric('bailiff_ipam_sync_mirror_deletes_total')).toBe(0);
    expect(await revisionOf('correlation.cluster._.changes')).toBe(2);
    const kept = (await openBucket(world.admin, 'bailiff_config').keys()).sort();
    await kubectl.ok('delete', 'rtp', 'next');
    await comesTo(
      async () => (await openBucket(world.admin, 'bailiff_config').keys()).sort(),
      kept.filter((key) => !key.endsWith('.next')),
    );
    expect(await standby.stop()).toBe(0);
  });

  test('mirror off - resources are not read, their keys stay', async () => {
    const asked = () => world.kube.server.requests.count({ verb: 'list', resource: 'correlationrules' });
    const before = asked();
    sync = await launch(world, ['--mirror', 'off']);
    world.running('off', 'node-1', ['10.1.0.9']);
    await waitFor(async () => (await world.addresses('node-1'))?.['off'] !== undefined);
    expect(asked()).toBe(before);
    expect(await revisionOf('correlation.cluster._.changes')).toBe(2);
  });
}

if (missing === undefined) describe('custom resources', customResourceTests);
else test('custom resources', ({ skip }) => skip(missing));

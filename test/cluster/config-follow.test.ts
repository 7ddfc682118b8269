/**
 * A change of the configuration is in force within a second, without a restart. A refused one keeps
 * the last good one in force; the service reports it on the bus, `bailiff status` and `doctor` to
 * the operator. Real buses. collector.test.ts tests collectors.
 */
import { writeFileSync } from 'node:fs';
import { type Bus, encodeToken, ensureTopology, openBucket, SERVICES_BUCKET, writeConfig } from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { podRef } from '@bailiff/correlation/testing';
import { type InstanceStatus, instanceStatus } from '@bailiff/schemas';
import { looksFor, waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { BusDocuments } from '../../apps/collector/src/desired/bus-documents.ts';
import { connectCollector, startBus } from '../support/bus.ts';
import { logged } from '../support/config-log.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';
import { launch, startWorld } from './ipam-sync/harness.ts';
import { Rig } from './responder/rig.ts';

/**
 * The design promises a second. The test detects a change that waits for something else, such as
 * the next status (10 s). It counts probes instead of milliseconds (looksFor).
 */
const LOOKS = 500;
const LOOK_EVERY_MS = 5;
const ME = { by: 'anna', why: 'a test' };

async function instances(admin: Bus, service: string): Promise<InstanceStatus[]> {
  const entries = await openBucket(admin, SERVICES_BUCKET).entries(`${service}.*`);
  const all = entries.map(({ value }) => instanceStatus.parse(JSON.parse(value.toString('utf8'))));
  return all.filter(({ stoppedAt }) => stoppedAt === undefined);
}

/** Number of probes until the only instance of a service reports it. */
function probesUntilReported(admin: Bus, service: string, says: (status: InstanceStatus) => boolean): Promise<number> {
  const isReported = async () => {
    const [one, ...others] = await instances(admin, service);
    return one !== undefined && others.length === 0 && says(one);
  };
  const state = () => instances(admin, service);
  return looksFor(isReported, { what: `${service} to tell it`, intervalMs: LOOK_EVERY_MS, state });
}
const refuses = (key: string) => (status: InstanceStatus) => status.configRefused.some((one) => one.key === key);
const refusesNothing = (status: InstanceStatus) => status.configRefused.length === 0;

/** Output for the operator: the service's name, the key and the field. */
async function shownTo(nats: TestNats, directory: string, printed: RegExp): Promise<void> {
  const file = `${directory}/cli-password`;
  writeFileSync(file, nats.options('cli').password ?? '', { mode: 0o600 });
  const bus = ['--nats-url', nats.url, '--nats-password-file', file];
  const status = await runCli(['status', ...bus]);
  expect(status.stdout).toMatch(printed);
  const doctor = await runCli(['doctor', '--only', 'bus', ...bus]);
  // No node reports here, which weighs more.
  expect([doctor.exitCode, doctor.stdout]).toEqual([7, expect.stringMatching(/✗ configuration: all readers: refuse/)]);
}

it('correlator - the next verdict follows a threshold; a refused one is reported until the key is right again', async () => {
  await using rig = await CorrelatorRig.start();
  const [before, after, third] = [podRef('before'), podRef('after'), podRef('third')];
  await rig.list(NODE_A, [before, after, third]);
  const correlator = await rig.correlator();
  const cli = await rig.bus('cli');
  const key = 'correlation.cluster._.mine';
  const rule = (gte: number) => ({ type: 'event_count', level: 'low', timespan: '60s', condition: { gte } });
  await logged(rig.admin, await writeConfig(cli, key, rule(5), ME));
  await rig.settle();
  await rig.spoof(NODE_A, before, 3);
  const second = await writeConfig(cli, key, rule(3), ME);
  const taken = ({ configRevision }: InstanceStatus) => configRevision === second.bucketRevision;
  expect(await probesUntilReported(rig.admin, 'correlator', taken)).toBeLessThan(LOOKS);
  await rig.settle();
  await rig.spoof(NODE_A, after, 3);
  await rig.verdictCount(1);
  expect(rig.verdicts).toMatchObject([{ rule: 'mine', groupKey: after.uid, configRevision: second.bucketRevision }]);

  // Written directly, because the command would refuse it.
  await openBucket(rig.admin, 'bailiff_config').put(key, JSON.stringify({ ...rule(1), timespan: '1w', revision: 9 }));
  expect(await probesUntilReported(rig.admin, 'correlator', refuses(key))).toBeLessThan(LOOKS);
  await shownTo(
    rig.nats,
    rig.directory,
    /✗ correlator: refuses correlation\.cluster\._\.mine, the last good value stays in force: timespan/,
  );
  await rig.settle();
  await rig.spoof(NODE_A, third, 2);
  await rig.spoof(NODE_A, third, 1);
  await rig.verdictCount(2);
  expect(rig.verdicts[1]).toMatchObject({ rule: 'mine', groupKey: third.uid, observed: 3 });
  await writeConfig(cli, key, rule(2), ME);
  expect(await probesUntilReported(rig.admin, 'correlator', refusesNothing)).toBeLessThan(LOOKS);
  expect(await correlator.stop()).toBe(0);
  expect(await instances(rig.admin, 'correlator'), 'the final report of one that stops').toEqual([]);
});

it('responder - the next verdict gets the response of the new policy; a refused one is reported', async () => {
  await using rig = await Rig.start();
  const responder = await rig.start();
  const cli = await rig.nats.connect('cli');
  const key = 'response.cluster._.mine';
  const policy = (action: string) => ({ dryRun: false, match: { rules: ['mine'] }, steps: [{ action }] });
  const first = await writeConfig(cli, key, policy('observe'), ME);
  const taken = (revision: number) => (status: InstanceStatus) => status.configRevision >= revision;
  expect(await probesUntilReported(rig.bus, 'responder', taken(first.bucketRevision))).toBeLessThan(LOOKS);
  await rig.settle();
  const observed = await rig.verdict(rig.pod(), { rule: 'mine' });
  await rig.until(observed, 'observe', 'succeeded');
  await logged(rig.bus, await writeConfig(cli, key, policy('label'), ME));
  await rig.settle();
  const labelled = await rig.verdict(rig.pod(), { rule: 'mine' });
  await rig.until(labelled, 'label', 'succeeded');
  expect(rig.of(labelled, 'observe')).toEqual([]);

  await openBucket(rig.bus, 'bailiff_config').put(key, JSON.stringify({ ...policy('explode'), revision: 9 }));
  expect(await probesUntilReported(rig.bus, 'responder', refuses(key))).toBeLessThan(LOOKS);
  await shownTo(
    rig.nats,
    rig.directory,
    /✗ responder: refuses response\.cluster\._\.mine, the last good value stays in force: steps\.0\.action/,
  );
  await rig.settle();
  await rig.until(await rig.verdict(rig.pod(), { rule: 'mine' }), 'label', 'succeeded');
  expect(await responder.stop()).toBe(0);
  expect(await instances(rig.bus, 'responder')).toEqual([]);
}, 60_000);

it('ipam-sync - a requested prefix is granted within a second of being permitted; a refused value is reported', async () => {
  await using world = await startWorld();
  world.running('vpn', 'node-1', ['10.1.0.5'], {
    annotations: { 'bailiff.dev/allowed-source-prefixes': '10.50.0.0/16' },
  });
  const sync = await launch(world);
  const key = 'spoof.cluster._.default';
  const cli = await world.nats.connect('cli');
  const granted = async () => (await world.snapshot('node-1'))?.pods[0]?.allowedPrefixes ?? [];
  await waitFor(async () => (await world.snapshot('node-1')) !== null, { what: 'the first snapshot' });
  expect(await granted()).toEqual([]);
  await writeConfig(cli, key, { allowedPrefixes: [{ namespace: 'default', prefixes: ['10.50.0.0/16'] }] }, ME);
  const isGranted = async () => (await granted()).length === 1;
  const waiting = { what: 'the grant', intervalMs: LOOK_EVERY_MS, state: granted };
  expect(await looksFor(isGranted, waiting)).toBeLessThan(LOOKS);

  await openBucket(world.admin, 'bailiff_config').put(key, '{"allowedPrefixes": "all"}');
  expect(await probesUntilReported(world.admin, 'ipam-sync', refuses(key))).toBeLessThan(LOOKS);
  await shownTo(
    world.nats,
    world.kube.dir,
    /✗ ipam-sync: refuses spoof\.cluster\._\.default, the last good value stays in force: allowedPrefixes/,
  );
  expect(await granted()).toEqual(['10.50.0.0/16']);
  await writeConfig(cli, key, { allowedPrefixes: [] }, ME);
  expect(await probesUntilReported(world.admin, 'ipam-sync', refusesNothing)).toBeLessThan(LOOKS);
  expect(await sync.stop()).toBe(0);
  expect(await instances(world.admin, 'ipam-sync')).toEqual([]);
}, 60_000);

it('collector - lists and policies that the bus does not let it read are not confirmed; control: its own are', async () => {
  await using nats = await startBus();
  const buses = await connectCollector(nats, NODE_A);
  const errors: string[] = [];
  const follow = (node: string) =>
    new BusDocuments(buses, encodeToken(node), Date.now() * 1000, {
      onDocument: () => undefined,
      onRestart: () => undefined,
      onConfigSynced: () => undefined,
      onError: (part, error) => errors.push(`${part}: ${error.message}`),
    });
  const [foreign, own] = [follow('node-b'), follow(NODE_A)];
  try {
    await waitFor(() => foreign.unconfirmed().forMs > 2_000 && own.unconfirmed().forMs < foreign.unconfirmed().forMs, {
      what: 'the lists of the node itself to be confirmed',
      state: () => [foreign.unconfirmed(), own.unconfirmed(), errors],
    });
    expect(foreign.unconfirmed().reason).toMatch(/^bailiff_(pods|quarantine): /);
    expect(own.unconfirmed().reason).toBe('');
  } finally {
    for (const documents of [foreign, own]) documents.close();
  }
});

it('collector - quotes why it cannot read its documents, and no error from before they were read again', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await admin.jsm.streams.delete('LATEST_bailiff_pods');
  const documents = new BusDocuments(await connectCollector(nats, 'node-a'), encodeToken('node-a'), 0, {
    onDocument: () => {},
    onRestart: () => {},
    onConfigSynced: () => {},
    onError: () => {},
  });
  const state = () => documents.unconfirmed();
  await waitFor(() => state().reason !== '', { what: 'the reason', state });
  expect(state().reason).toMatch(/^bailiff_pods: /);
  await ensureTopology(admin);
  await waitFor(() => state().reason === '', { what: 'no reason', state });
  documents.close();
});

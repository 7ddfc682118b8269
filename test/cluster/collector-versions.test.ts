// Upgrade and downgrade of a collector: the recorded collector of each version and the one of this
// checkout take over from each other, on the same pins and state, during an attack.
import { once } from 'node:events';
import { unlinkSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, BpfObject, runtimeObjectPath, spoofObjectPath } from '@bailiff/bpf';
import { openBucket } from '@bailiff/bus';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NODE, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { collectorCommand, recordedVersions, unpackCollector } from '../versions/recording.ts';

const from = (pod: TestPod, source: string) => udpFrame({ sourceMac: pod.mac, source, destination: '10.244.0.1' });
const spoofed = (pod: TestPod) => from(pod, '10.244.0.66');
const GRANTED = '10.77.1.1';
const ENDLESS = 10_000_000;

/** Shapes of the maps of an object, without its global variables. */
function shapesOf(file: string): Record<string, unknown> {
  using object = BpfObject.open(file, 'shapes');
  const maps = object.maps().filter(({ name }) => !name.includes('.'));
  return Object.fromEntries(
    maps.map(({ name, type, keySizeBytes, valueSizeBytes }) => [name, { type, keySizeBytes, valueSizeBytes }]),
  );
}

describe.each(recordedVersions())('collector of %s and of this checkout', (version) => {
  const directory = temporaryDirectory();
  let isHere = false;
  beforeAll(() => {
    isHere = unpackCollector(version, directory);
  });
  const programs = () => ({ recorded: collectorCommand(directory), current: node.program });

  let node: TestNode;
  beforeEach(async (context) => {
    if (!isHere) return context.skip(`optional: ${version} has no recording for ${process.arch}`);
    node = await TestNode.start();
  });
  afterEach(() => node?.[Symbol.asyncDispose]());

  const dropped = (pod: TestPod) => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source', action: 'drop' });
  const counted = (pod: TestPod, packets: number) =>
    waitFor(() => dropped(pod) === packets, {
      what: `${packets} packets of ${pod.name}`,
      state: () => [dropped(pod), node.log.slice(-2_000)],
    });
  const landed = async (pod: TestPod, count: number) => {
    const before = await node.ipReceived();
    await node.send(pod, [spoofed(pod)], count);
    return (await node.ipReceived()) - before;
  };

  it('the maps of both have the same shapes', () => {
    for (const [object, map] of [
      [spoofObjectPath(), 'counters'],
      [runtimeObjectPath(), 'rt_sets'],
    ] as const) {
      const recorded = shapesOf(path.join(directory, path.basename(object)));
      expect(recorded).toHaveProperty(map);
      // Later versions may add maps.
      expect(shapesOf(object)).toMatchObject(recorded);
    }
  });

  it('upgrade, downgrade, upgrade during an attack - no forged packet lands, none is lost, honest ones pass', async () => {
    const { recorded, current } = programs();
    const [attacker, honest, quarantined] = [await node.addPod(), await node.addPod(), await node.addPod()];
    expect(await landed(attacker, 50), 'control: unguarded').toBe(50);

    node.program = recorded;
    await node.startCollector();
    await node.putPods(1, (list) => {
      for (const pod of list) pod.allowedPrefixes = ['10.77.0.0/16'];
    });
    const entry = { podUid: quarantined.uid, podNamespace: quarantined.namespace, podName: quarantined.name };
    const entries = [{ ...entry, verdictId: 'v', until: '', reason: 'x' }];
    await openBucket(node.admin, 'bailiff_quarantine').put(
      NODE,
      JSON.stringify({ nodeName: NODE, revision: 1, entries }),
    );
    for (const pod of [attacker, honest, quarantined]) await node.waitForState(pod, 'programmed');
    const row = async (pod: TestPod) =>
      (await node.offlineStatus()).interfaces.find(({ interfaceName }) => interfaceName === pod.hostInterface);
    await waitFor(async () => (await row(quarantined))?.quarantined, { what: 'the quarantine' });
    const { generation } = (await row(attacker)) ?? {};

    const before = await node.ipReceived();
    const forging = await node.startSending(attacker, [spoofed(attacker)], ENDLESS, 2_000);
    const talking = await node.startSending(honest, [from(honest, honest.ipv4), from(honest, GRANTED)], ENDLESS, 500);
    const silenced = await node.startSending(quarantined, [from(quarantined, quarantined.ipv4)], ENDLESS, 100);
    const grows = async (what: string) => {
      const packets = dropped(attacker);
      await waitFor(() => dropped(attacker) > packets, { what, state: () => node.log.slice(-2_000) });
    };
    await grows('the recorded collector to publish');
    for (const [program, signal] of [
      [current, 'SIGTERM'],
      [recorded, 'SIGTERM'],
      [current, 'SIGKILL'],
    ] as const) {
      await node.killCollector(signal);
      node.program = program;
      await node.startCollector();
      await grows('the next collector to publish');
    }
    await Promise.all([forging, talking, silenced].map((sender) => sender.stop()));
    const [forged, allowed] = await Promise.all([forging.sent, talking.sent]);

    await counted(attacker, forged);
    expect((await node.ipReceived()) - before, 'only the honest packets').toBe(allowed);
    expect(await row(honest)).toMatchObject({ droppedPackets: 0, auditedPackets: 0, place: 'head' });
    expect(await row(quarantined)).toMatchObject({ quarantined: true, place: 'head' });
    expect(await row(attacker)).toMatchObject({ generation, state: 'programmed', droppedPackets: forged });

    await node.command(['detach', '--all', '--bpf-dir', node.pinDir, '--state-dir', node.stateDir]);
    expect(await landed(attacker, 50), 'control: detached').toBe(50);
  });

  it.each(['upgrade', 'downgrade'])(
    '%s over a map of another shape - exit code 6, still guarded; detach and attach',
    async (way) => {
      const { recorded, current } = programs();
      const [first, next] = way === 'upgrade' ? [recorded, current] : [current, recorded];
      const pod = await node.addPod();
      node.program = first;
      await node.startCollector();
      await node.waitForState(pod, 'provisional');
      await node.send(pod, [spoofed(pod)], 30);
      await counted(pod, 30);
      await node.killCollector();
      const pin = path.join(node.pinDir, 'maps', 'counters');
      {
        using map = BpfMap.openPinned(pin);
        const { type, keySizeBytes, valueSizeBytes, maxEntries } = map.info;
        unlinkSync(pin);
        using larger = BpfMap.create({ type, keySizeBytes, valueSizeBytes: valueSizeBytes + 8, maxEntries });
        larger.pin(pin);
      }
      node.program = next;
      const refused = node.spawnCollector();
      await once(refused, 'close');
      expect(refused.exitCode).toBe(6);
      expect(node.log).toMatch(/counters has another shape.*detach --all.*collector attach/);
      expect(await landed(pod, 100), 'still guarded').toBe(0);

      const directories = ['--bpf-dir', node.pinDir, '--state-dir', node.stateDir];
      await node.command(['detach', '--all', ...directories]);
      expect(await landed(pod, 50), 'unguarded, as documented').toBe(50);
      await node.command(['attach', ...directories]);
      await node.startCollector();
      await node.waitForState(pod, 'provisional');
      expect(await landed(pod, 20)).toBe(0);
      await counted(pod, 50);
    },
  );
});

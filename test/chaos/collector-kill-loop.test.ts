// A collector that is killed repeatedly, as by the OOM killer, leaves nothing that grows: in the
// kernel, among the pins, in its state directory. Counters never go back, and increments published
// before a kill are not published again as new.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { exec, netnsPath } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const KILLS = 8;
const PACKETS = 5;

const filesIn = (dir: string) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)))
    .sort();

it(`collector - ${KILLS} SIGKILLs in a row leave no more than one does, and every packet is counted once`, async () => {
  await using node = await TestNode.start();
  const pods = [await node.addPod(), await node.addPod()];
  await node.startCollector();
  await node.putPods(1);
  for (const pod of pods) await node.waitForState(pod, 'programmed');
  /**
   * For a pinned map, its kernel id, so that a recreated map is noticed; for a hash map also its
   * number of entries.
   */
  const mapAt = async (pin: string) => {
    const words = (what: string) => ['-j', 'map', what, 'pinned', path.join(node.pinDir, pin)];
    const { id, type } = JSON.parse(await exec('bpftool', words('show'))) as { id: number; type: string };
    const entries = type === 'hash' ? JSON.parse(await exec('bpftool', words('dump'))).length : 0;
    return `${pin} ${id} ${entries}`;
  };
  const pinned = async () => {
    const pins = filesIn(node.pinDir);
    const maps = pins.filter((pin) => pin.startsWith('maps/'));
    const net = JSON.parse(await exec('nsenter', [`--net=${netnsPath(node.netns)}`, 'bpftool', '-j', 'net', 'show']));
    return {
      pins,
      maps: await Promise.all(maps.map(mapAt)),
      attached: (net as { tc: unknown[] }[])[0]?.tc.length,
      interfaces: (await node.offlineStatus()).interfaces.map((i) => [i.interfaceName, i.generation, i.place, i.state]),
      stateFiles: filesIn(node.stateDir),
    };
  };
  const total = () => node.ledger.packets({ action: 'drop' });
  const send = async () => {
    for (const pod of pods) {
      const frame = udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
      await node.send(pod, [frame], PACKETS);
    }
  };
  let sent = 0;
  const seen: number[] = [];
  let first: Awaited<ReturnType<typeof pinned>> | null = null;
  for (let kill = 0; kill < KILLS; kill += 1) {
    await node.killCollector('SIGKILL');
    await send();
    sent += 2 * PACKETS;
    await node.startCollector();
    await waitFor(() => total() >= sent, { what: `${sent} packets published`, state: () => [...node.ledger.epochs] });
    // A collector that is killed before it reads the bus's ack publishes the frame again, and
    // readers expect that. Here the kill comes after the ack.
    const unacked = () => node.metric('bailiff_collector_frames_unacked');
    await waitFor(async () => (await unacked()) === 0, { what: 'all to be acknowledged', state: unacked });
    seen.push(total());
    first ??= await pinned();
  }
  expect(seen).toEqual(seen.map((_, n) => (n + 1) * 2 * PACKETS));
  expect(first?.attached).toBe(2 * pods.length);
  expect(await pinned()).toEqual(first);
  // Every frame holds only new increments, so a reader that only adds them up has the same total.
  const added = node.ledger.frames.flatMap(({ violations }) => violations).filter(({ action }) => action === 'drop');
  expect(added.reduce((sum, { count, suppressed }) => sum + count + suppressed, 0)).toBe(sent);
}, 120_000);

// A collector that is killed again and again, as one that runs out of memory is: nothing that it leaves behind grows, in the kernel, among
// the pins, in its state; counts only go on, and counts reported before a kill are not reported again as new.
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

it(`collector - ${KILLS} SIGKILLs one after the other leave what one leaves, and count everything once`, async () => {
  await using node = await TestNode.start();
  const pods = [await node.addPod(), await node.addPod()];
  await node.startCollector();
  await node.putPods(1);
  for (const pod of pods) await node.waitForState(pod, 'programmed');
  /** Of a pinned map its number in the kernel, so that one that was recreated is seen; of a hash how much is in it, too. */
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
    await waitFor(() => total() >= sent, { what: `${sent} packets told`, state: () => [...node.ledger.epochs] });
    // One that is killed before it knows that the bus has a frame tells it again, and its readers are prepared for that; here it is to know.
    const unacked = () => node.metric('bailiff_collector_frames_unacked');
    await waitFor(async () => (await unacked()) === 0, { what: 'all to be acknowledged', state: unacked });
    seen.push(total());
    first ??= await pinned();
  }
  expect(seen).toEqual(seen.map((_, n) => (n + 1) * 2 * PACKETS));
  expect(first?.attached).toBe(2 * pods.length);
  expect(await pinned()).toEqual(first);
  // What each frame tells is new in it: a reader that only adds up comes to the same.
  const added = node.ledger.frames.flatMap(({ violations }) => violations).filter(({ action }) => action === 'drop');
  expect(added.reduce((sum, { count, suppressed }) => sum + count + suppressed, 0)).toBe(sent);
}, 120_000);

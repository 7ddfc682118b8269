// A collector that is killed at any moment of a flood: packets are dropped throughout, and at the
// end the count on the bus is the number of packets sent. The moments are random. A failure prints
// the seed; BAILIFF_SEED sets it.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { TestNode } from '../support/node.ts';
import { random } from '../support/random.ts';
import { udpFrame } from '../support/udp-frame.ts';

const KILLS = 200;
/** Relative to the duration of the first start (about 700 ms on two cores). */
const LONGEST_LIFE = 1.5;
const MAX_LIFE_MS = 4_000;
/**
 * Keeps every sixth collector alive until it has published, however busy the machine becomes: kills
 * fall before, during and after a start.
 */
const SHORTER_WHEN_SPOKEN = 0.9;
const LONGER_WHEN_SILENT = 1.02;
const RATE_PER_SECOND = 2_000;

it(`collector - killed ${KILLS} times in a flood, the counts on the bus equal the packets sent`, {
  timeout: 600_000,
}, async () => {
  const seed = Number(process.env['BAILIFF_SEED'] ?? Date.now() % 1_000_000);
  const next = random(seed);
  await using node = await TestNode.start();
  const pod = await node.addPod();
  const began = performance.now();
  await node.startCollector({ until: 'guarding' });
  let longestLifeMs = Math.min(MAX_LIFE_MS, (performance.now() - began) * LONGEST_LIFE);
  await node.waitForState(pod, 'provisional');
  const flood = await node.startSending(
    pod,
    [udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' })],
    10_000_000,
    RATE_PER_SECOND,
  );
  // The first collector ends before the others start: two cannot share their pins.
  await node.killCollector();
  let published = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const framesBefore = node.ledger.frames.length;
    const child = node.spawnCollector();
    await new Promise((resolve) => setTimeout(resolve, next() * longestLifeMs));
    await node.killCollector('SIGKILL', child);
    const hasSpoken = node.ledger.frames.length > framesBefore;
    if (hasSpoken) published += 1;
    longestLifeMs = Math.min(MAX_LIFE_MS, longestLifeMs * (hasSpoken ? SHORTER_WHEN_SPOKEN : LONGER_WHEN_SILENT));
  }
  await flood.stop();
  const sent = await flood.sent;
  await node.startCollector();
  await waitFor(() => node.ledger.packets({ podUid: pod.uid }) >= sent, {
    what: `${sent} packets on the bus (seed ${seed})`,
    timeoutMs: 30_000,
    state: () => [...node.ledger.epochs].map(([epoch, v]) => [epoch, v.cumulativePackets]),
  });
  expect({ seed, counted: node.ledger.packets({ podUid: pod.uid, action: 'drop' }) }).toEqual({ seed, counted: sent });
  const [row] = (await node.offlineStatus()).interfaces;
  expect(row).toMatchObject({ droppedPackets: sent, place: 'head' });
  // The test is only valid if collectors published before they were killed.
  expect(published).toBeGreaterThan(KILLS / 20);
});

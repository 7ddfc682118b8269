// Frames and a status with strings as long as a message allows, from one node's credential. Their
// readers besides the correlator end in time, within bounded memory, and show the reports of honest
// nodes.
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { encodeToken, openBucket, violationSubject } from '@bailiff/bus';
import { encodeUnlimited, sampleFrame } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchApp } from '../support/process.ts';
import { startCli } from './cli/process.ts';
import { healthyStatus, NODE_A, NODE_B, publishStory, violationOf, WEB, World } from './cli/world.ts';
import { OTHER_NODE, RelayRig } from './siem-relay-rig.ts';

const FRAMES = 100;
const LONG = 900_000;
/** With ordinary frames alone the command takes about 110. */
const MOST_MIB = 256;

/** A frame in which each string is unique. */
function longFrame(nodeName: string, number: number): Buffer {
  const text = `${number}`.padEnd(LONG, 'x');
  const parts = [{ vector: text }, { message: text }, { pod: { ...WEB, ownerName: text } }, { severity: text }];
  const violation = violationOf(Date.now() * 1000, WEB, { counterEpoch: 'boot/1', ...parts[number % parts.length] });
  return encodeUnlimited('ViolationFrame', sampleFrame({ nodeName, violations: [violation] }));
}

/** Highest resident memory of a process, sampled until it ends. */
function watch(child: ChildProcess): { most(): number } {
  let most = 0;
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      most = Math.max(most, Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      clearInterval(timer);
    }
  }, 20);
  child.once('exit', () => clearInterval(timer));
  return { most: () => most };
}

describe('long strings - output of the command', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start();
    await publishStory(world);
    await world.status(healthyStatus(NODE_B));
    const bus = await world.as(`collector-${NODE_A}`);
    for (let number = 0; number < FRAMES; number += 1) {
      await bus.js.publish(violationSubject(NODE_A, 'spoof'), longFrame(NODE_A, number));
    }
    const text = 'x'.repeat(100_000);
    await openBucket(bus, 'bailiff_nodes').put(
      encodeToken(NODE_A),
      JSON.stringify({
        ...healthyStatus(NODE_A),
        snapshotRefused: text,
        disarmedUntil: text,
        bootId: text,
        hook: text,
      }),
    );
  });
  afterAll(() => world[Symbol.asyncDispose]());

  it.each([
    [['events', '--since', '1h'], 'tunnel-other'],
    [['events', '--since', '1h', '--json'], 'tunnel-other'],
    [['explain', 'shop/web-0'], 'VERDICT'],
    [['timeline', 'shop/web-0'], 'arp-sender'],
    [['timeline', 'shop/web-0', '--html', '-'], '<html'],
    [['status'], NODE_B],
    [['replay', '--since', '1h', '--speed', 'max'], 'tunnel-other'],
  ])('%j', async (args, shown) => {
    const { child, ended } = startCli(world, args);
    const memory = watch(child);
    const { stdout, stderr } = await ended;
    expect(stdout).toContain(shown);
    expect(Buffer.byteLength(stdout) + Buffer.byteLength(stderr)).toBeLessThan(200_000);
    expect(memory.most()).toBeLessThan(MOST_MIB);
  });
});

it('long strings - the siem-relay skips them and continues with the next frame', async () => {
  await using rig = await RelayRig.start();
  await using relay = launchApp('siem-relay', rig.flags());
  const memory = watch(relay.child);
  const node = 'node-1.example';
  const bus = await rig.nats.connect(`collector-${node}`);
  for (let number = 0; number < FRAMES; number += 1) {
    await bus.js.publish(violationSubject(node, 'spoof'), longFrame(node, number));
  }
  // Of another node: those of this one are beyond its share.
  const other = await rig.nats.connect(`collector-${OTHER_NODE}`);
  await other.js.publish(
    violationSubject(OTHER_NODE, 'spoof'),
    encodeUnlimited('ViolationFrame', sampleFrame({ nodeName: OTHER_NODE })),
  );
  await waitFor(() => rig.events.some(({ text }) => text.includes('arp-sender')), {
    timeoutMs: 60_000,
    what: 'an event',
  });
  expect(memory.most()).toBeLessThan(MOST_MIB);
  expect(rig.events.every(({ text }) => text.length < 10_000)).toBe(true);
});

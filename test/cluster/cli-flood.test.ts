// A node that reports tens of thousands of kinds of violations about its pods: commands that count
// them need bounded memory, print a bounded number of lines, and count the rest. Increments that are
// in several frames count once.

import { readToEnd, type StreamMessage } from '@bailiff/bus';
import { UNDECIDED_MICROS } from '@bailiff/correlation';
import { MessageDecoder, NodeFrames, type Reader } from '@bailiff/insight';
import type { Violation } from '@bailiff/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCli } from './cli/process.ts';
import { CART, NODE_A, NODE_B, VPN, violationOf, WEB, World } from './cli/world.ts';

const FRAMES = 600;
const PER_FRAME = 64;
/** Enough for the program itself; the violations of the flood need several times as much. */
const HEAP_MIB = 96;

describe('commands that count violations', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start();
    const audited = { vector: 'tunnel-other', action: 'audit' } as const;
    await world.frame(NODE_B, [violationOf(world.t0Micros, VPN, { ...audited, cumulativePackets: 7, suppressed: 6 })]);
    for (let n = 0; n < FRAMES; n += 1) {
      const flood = Array.from({ length: PER_FRAME }, (_, index) => {
        const vector = `${'junk'.repeat(80)}/${n}-${index}`;
        return violationOf(world.t0Micros, WEB, { vector, action: 'audit' });
      });
      await world.frame(NODE_A, flood);
    }
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  /** Runs in a process of its own with a small heap. */
  async function run(...words: string[]): Promise<{ stdout: string; stderr: string }> {
    const { code, stdout, stderr } = await startCli(world, words, { heapMib: HEAP_MIB }).ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    return { stdout, stderr };
  }
  interface Sum {
    packets: number;
  }
  const total = (groups: readonly Sum[]) => groups.reduce((sum, { packets }) => sum + packets, 0);

  it('explain - the largest groups, and how many more there are', async () => {
    const { stdout, stderr } = await run('explain', 'shop/web-0');
    expect(stdout.length).toBeLessThan(100_000);
    expect(stderr).toMatch(/… and 450 more groups: --json has them/);
    expect(stderr).toMatch(/… and 37900 violations with a count of 37900 in further groups/);
    const json = JSON.parse((await run('explain', 'shop/web-0', '--json')).stdout);
    expect(json.violations).toHaveLength(500);
    expect(total(json.violations) + json.omittedViolations.packets).toBe(FRAMES * PER_FRAME);
  });

  it('timeline - the newest bursts, and how many older ones there are', async () => {
    const { stdout } = await run('timeline', 'shop/web-0');
    expect(stdout.length).toBeLessThan(400_000);
    expect(stdout).toMatch(/37900 older bursts of violations omitted/);
  });

  it('a violation whose grace ends after the lists were read is not refused, however late its row is made', async () => {
    const bus = await world.as('cli');
    const messages: StreamMessage[] = [];
    const { signal } = new AbortController();
    await readToEnd(bus, 'VIOLATIONS', { onMessage: (one) => void messages.push(one), signal });
    const last = messages.at(-1) as StreamMessage;
    const endMs = (last.timestampMicros + UNDECIDED_MICROS) / 1000;
    let nowMs = endMs - 500;
    const reader = { bus, decoder: new MessageDecoder(bus), nowMs: () => nowMs, signal } as Reader;
    const frames = new NodeFrames(reader, 0);
    const refused = async () => {
      const found: (string | undefined)[] = [];
      await frames.read(last, (frame) => void found.push(...frame.refused.map((one) => one?.reason)));
      return [found.length, ...new Set(found)];
    };
    expect(await refused()).toEqual([PER_FRAME, undefined]);
    nowMs = endMs + 500;
    expect(await refused()).toEqual([PER_FRAME, undefined]);
  });

  it('would-drop - a pod of another node is named, with its count', async () => {
    const json = JSON.parse((await run('doctor', '--would-drop', '--json')).stdout);
    const ofVpn = json.groups.filter(({ pod }: { pod: { name: string } }) => pod.name === 'vpn-0');
    expect(ofVpn).toMatchObject([{ vector: 'tunnel-other', packets: 7 }]);
    expect(json.packets).toBe(FRAMES * PER_FRAME + 7);
    expect(total(json.groups) + json.omitted.groups.packets).toBe(json.packets);
  });

  it('increments in several frames - count once in every command; the control counts them as reported', async () => {
    const of = (cumulativePackets: number, own: number): Violation =>
      violationOf(world.t0Micros, CART, { cumulativePackets, count: 1, suppressed: own - 1 });
    // The acknowledgement of the first frame was lost; the third one is stored twice.
    const sent = [of(100, 100), of(250, 250), of(300, 50), of(300, 50)];
    for (const violation of sent) await world.frame(NODE_B, [violation]);
    const lines = (await world.cli(['events', '--pod', 'shop/cart-1', '--json'])).stdout.trim().split('\n');
    expect(total(lines.map((line) => JSON.parse(line)))).toBe(300);
    expect(sent.reduce((sum, { count, suppressed }) => sum + count + suppressed, 0)).toBe(450);
    expect((await world.cli(['explain', 'shop/cart-1'])).stdout).toMatch(/ipv4-source +drop +300 /);
    expect((await world.cli(['timeline', 'shop/cart-1'])).stdout).toMatch(/300 packets/);
  });
});

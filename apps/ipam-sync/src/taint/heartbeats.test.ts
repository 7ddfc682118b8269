import { describe, expect, it } from 'vitest';
import { Heartbeats } from './heartbeats.ts';

const node = (name: string, uid = `uid-${name}`) => ({ name, uid });

describe('heartbeats', () => {
  it('the time counts from the start of the watch and from each status', () => {
    const heartbeats = new Heartbeats(1_000);
    heartbeats.observe([node('a'), node('b')], 1_500);
    expect([heartbeats.silentMs('a', 4_000), heartbeats.hasReported('a')]).toEqual([3_000, false]);
    heartbeats.received('a', 3_900);
    expect([heartbeats.silentMs('a', 4_000), heartbeats.hasReported('a')]).toEqual([100, true]);
    expect(heartbeats.silentMs('b', 4_000)).toBe(3_000);
  });

  it('a node that is new later starts at zero', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.observe([], 1_000);
    heartbeats.observe([node('late')], 9_000);
    heartbeats.observe([node('late')], 10_000);
    expect(heartbeats.silentMs('late', 10_000)).toBe(1_000);
  });

  it('a recreated node has no heartbeat yet', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.observe([node('a', 'first')], 100);
    heartbeats.received('a', 200);
    heartbeats.observe([node('a', 'second')], 1_000);
    expect([heartbeats.silentMs('a', 1_500), heartbeats.hasReported('a')]).toEqual([500, false]);
    heartbeats.received('a', 1_400);
    expect([heartbeats.silentMs('a', 1_500), heartbeats.hasReported('a')]).toEqual([100, true]);
  });

  it('a deleted node is dropped', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.observe([node('a')], 100);
    heartbeats.received('a', 200);
    heartbeats.observe([], 300);
    heartbeats.observe([node('a')], 400);
    expect(heartbeats.hasReported('a')).toBe(false);
  });
});

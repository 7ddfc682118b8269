import { describe, expect, it } from 'vitest';
import { Silence } from './heartbeats.ts';

const node = (name: string, uid = `uid-${name}`) => ({ name, uid });

describe('silence of nodes', () => {
  it('counts from when it began to listen, and anew from each status', () => {
    const silence = new Silence(1_000);
    silence.see([node('a'), node('b')], 1_500);
    expect([silence.silentMs('a', 4_000), silence.hasSpoken('a')]).toEqual([3_000, false]);
    silence.heard('a', 3_900);
    expect([silence.silentMs('a', 4_000), silence.hasSpoken('a')]).toEqual([100, true]);
    expect(silence.silentMs('b', 4_000)).toBe(3_000);
  });

  it('a node that is new later has been silent for no time yet', () => {
    const silence = new Silence(0);
    silence.see([], 1_000);
    silence.see([node('late')], 9_000);
    silence.see([node('late')], 10_000);
    expect(silence.silentMs('late', 10_000)).toBe(1_000);
  });

  it('a node that was made anew under its name has not spoken', () => {
    const silence = new Silence(0);
    silence.see([node('a', 'first')], 100);
    silence.heard('a', 200);
    silence.see([node('a', 'second')], 1_000);
    expect([silence.silentMs('a', 1_500), silence.hasSpoken('a')]).toEqual([500, false]);
    silence.heard('a', 1_400);
    expect([silence.silentMs('a', 1_500), silence.hasSpoken('a')]).toEqual([100, true]);
  });

  it('of a node that is gone nothing is kept', () => {
    const silence = new Silence(0);
    silence.see([node('a')], 100);
    silence.heard('a', 200);
    silence.see([], 300);
    silence.see([node('a')], 400);
    expect(silence.hasSpoken('a')).toBe(false);
  });
});

/** tcx, clsact, links and pins: programs on a real veth, checked by whether real packets arrive. */
import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compileFixture, needsRoot, resultOf, TempDir } from './helpers.ts';

const dir = new TempDir();
let tiny = '';

beforeAll(() => {
  tiny = compileFixture(dir, 'tiny');
});
afterAll(() => dir[Symbol.dispose]());

describe('native attach', () => {
  beforeEach(needsRoot);

  test('tcx - at the head before another user, whose program sees packets only after ours is detached', async () => {
    expect(await resultOf('attach', 'order', { args: [tiny] })).toEqual({
      control: { reached: true, otherSaw: true },
      guarded: { reached: false, otherSaw: false },
      closed: { reached: true, programs: 1 },
      inOrder: true,
      linkIds: true,
      egress: 0,
    });
  });

  test('tcx - before, after and tail are positions; a stale revision and a second attach are refused', async () => {
    expect(await resultOf('attach', 'positions', { args: [tiny] })).toEqual({
      chain: ['second', 'first', 'drop', 'echo'],
      stale: 'BPF_ATTACH ESTALE',
      twice: 'BPF_ATTACH EEXIST',
      unknownNeighbour: 'BPF_ATTACH ENOENT',
      noInterface: 'BPF_ATTACH ENODEV',
      queryNoInterface: 'BPF_ATTACH ENODEV',
    });
  });

  test('link - replacing a program during a flood lets no packet pass unseen', async () => {
    expect(await resultOf('attach', 'update', { args: [tiny] })).toEqual({
      swappedOften: true,
      flooded: true,
      bothCounted: true,
      strays: false,
      wrongOld: 'BPF_LINK EPERM',
      goneIfindex: 0,
      gone: 'BPF_LINK ENOLINK',
    });
  });

  test('link - detach removes the program and keeps the link', async () => {
    expect(await resultOf('attach', 'detach', { args: [tiny] })).toEqual({
      attached: false,
      tags: [true, false],
      detached: true,
      ifindex: 0,
      chain: 0,
    });
  });

  test('clsact - attach, replace, detach on both sides; the qdisc goes with the last filter', async () => {
    expect(await resultOf('attach', 'clsact', { args: [tiny] })).toEqual({
      control: true,
      guarded: { reached: false, isOurs: true, createdQdisc: true },
      taken: 'BPF_ATTACH EEXIST',
      afterReplace: { reached: true, isOurs: true, createdQdisc: false },
      egressDropped: true,
      detached: [true, false],
      chosenNumbers: true,
      whileOursIsThere: 1,
      last: [true, false, null],
      end: { reached: true, qdiscs: 0 },
    });
  });

  test("clsact - another user's filter and qdisc stay, and a filter is found again by its numbers", async () => {
    expect(await resultOf('attach', 'clsactShared', { args: [tiny] })).toEqual({
      withForeignFilter: { qdiscs: 1, stays: true },
      foreignQdisc: { createdQdisc: false, qdiscs: 1 },
      byNumbers: [true, true],
      gone: [null, false, 'BPF_ATTACH ENODEV'],
    });
  });

  test('pins - outlive their process, can be opened and updated by another, and end with unlink', async () => {
    const mountPoint = `${dir.path}/pins`;
    mkdirSync(mountPoint);
    expect(await resultOf('pins', 'pins', { args: [tiny, mountPoint] })).toEqual({
      before: false,
      control: true,
      afterTheProcessEnded: false,
      afterUpdate: true,
      value: 'reopened',
      wrongKind: 'BPF_PIN EINVAL',
      wrongKinds: ['BPF_PIN EINVAL', 'BPF_PIN EINVAL'],
      missing: 'BPF_PIN ENOENT',
      taken: 'BPF_PIN EEXIST',
      elsewhere: 'BPF_PIN EPERM',
      unpinned: 0,
    });
  });

  test('pins - a map is reused by pin path or by reuseMap, and refused if its shape differs', async () => {
    const mountPoint = `${dir.path}/reuse`;
    mkdirSync(mountPoint);
    expect(await resultOf('pins', 'reuse', { args: [tiny, mountPoint] })).toEqual({
      values: ['survives', 'survives'],
      refused: `object.reuseMap: EINVAL (${mountPoint}/table: max entries is 8, the object needs 9)`,
      otherType: 'BPF_OPEN EINVAL',
    });
  });
});

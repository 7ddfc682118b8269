import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Binding } from '../../identity/identity.ts';
import type { Sign } from '../../identity/pod-life.ts';
import { type GuardedInterface, newInterface, originOf } from './guarded-interface.ts';
import { Orphans } from './orphans.ts';
import { Registry } from './registry.ts';

const UID = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;

describe('orphans', () => {
  let root: string;
  let records: Set<string>;
  let list: Sign;
  let registry: Registry;
  let changes: string[];
  let saved: number;
  let orphans: Orphans;
  let iface: GuardedInterface;
  const cgroupOf = (n: number) => path.join(root, 'kubepods.slice', `kubepods-pod${UID(n).replaceAll('-', '_')}.slice`);
  beforeEach(() => {
    root = temporaryDirectory();
    records = new Set(['pods-s1-eth0']);
    list = 'unknown';
    registry = new Registry(4);
    [changes, saved] = [[], 0];
    const link = { ifindex: 3, name: 'veth3', kind: 'veth', mac: '', linkNetnsid: 1, peerIfindex: 2 };
    iface = newInterface({ ifindex: 3, generation: 30, slot: 0, seenBase: 0, link }, 0);
    iface.binding = { podUid: UID(1), ifName: 'eth0', recordFile: 'pods-s1-eth0', recordedAtMs: 1 } as Binding;
    iface.pod = { uid: UID(1), name: 'web' } as GuardedInterface['pod'];
    registry.add(iface);
    for (const n of [1, 2]) mkdirSync(cgroupOf(n), { recursive: true });
    make();
  });
  afterEach(() => {
    orphans.close();
  });
  /** As a process that starts. */
  const make = (cgroupRoot = root) => {
    orphans = new Orphans({
      registry,
      cgroupRoot,
      recordOf: ({ recordFile = '' }) => (records.has(recordFile) ? { folder: '/r' } : 'gone'),
      list: () => list,
      store: {
        save: () => {
          saved += 1;
        },
      },
      onChanged: (changed) => changes.push(...changed.map(({ link, orphaned }) => `${link.name} ${orphaned}`)),
      onProblem: (_, reason) => changes.push(reason),
    });
  };
  const check = (times = 1) => {
    for (let i = 0; i < times; i += 1) orphans.check();
    return iface.orphaned;
  };

  it('a pod that ended - at the second check in a row, once; its violations name no pod', () => {
    expect([check(3), saved]).toEqual([false, 1]);
    rmdirSync(cgroupOf(1));
    expect(check(3), 'the cgroup alone').toBe(false);
    records.clear();
    expect([check(), check(), check()]).toEqual([false, true, true]);
    expect(changes).toEqual(['veth3 true']);
    expect([originOf(iface, 'boot').pod, iface.pod?.name]).toEqual([null, 'web']);
    expect([...registry.bindings()], 'no list is compared with it').toEqual([]);
    make();
    expect(check(), 'another process keeps it').toBe(true);
    mkdirSync(cgroupOf(1));
    expect([check(), originOf(iface, 'boot').pod?.name], 'control: its pod is alive').toEqual([false, 'web']);
  });

  it('a sign that is missed once - the count of checks begins again', () => {
    check();
    rmdirSync(cgroupOf(1));
    list = 'absent';
    check();
    list = 'present';
    check();
    list = 'absent';
    expect([check(), check()]).toEqual([false, true]);
  });

  it('a pod that ended while no process ran - where it was seen is stored', () => {
    check();
    rmdirSync(cgroupOf(1));
    records.clear();
    make();
    expect([check(), check()]).toEqual([false, true]);
  });

  it('a pod that is seen for a moment - between two checks', async () => {
    orphans.noteSoon();
    await new Promise((resolve) => setImmediate(resolve));
    expect(iface.podSeen).toEqual({ cgroup: true, record: true, folder: '/r' });
  });

  it.each<[name: string, act: () => void]>([
    ['no cgroupRoot is configured', () => make('')],
    ['a view without any pod', () => rmSync(path.join(root, 'kubepods.slice'), { recursive: true })],
    ['a view that was never complete', () => make('/proc/nonexistent')],
    ['not bound', () => Object.assign(iface, { binding: null })],
    ['a pod without a cgroup of its name', () => Object.assign(iface.binding as Binding, { podUid: 'static-pod' })],
  ])('never orphaned - %s', (_name, act) => {
    check();
    Object.assign(iface, { podSeen: { cgroup: false, record: true } });
    rmdirSync(cgroupOf(1));
    records.clear();
    list = 'absent';
    act();
    expect(check(4)).toBe(false);
  });
});

import { describe, expect, it } from 'vitest';
import type { CniRecord } from '../../identity/cni-record.ts';
import { type Binding, identityOf, NOT_OWN_MAC, ZERO_MAC } from '../../identity/identity.ts';
import { type BindableInterface, Binder, macOfPodSide } from './binder.ts';

const HOST_MAC = '02:00:00:00:00:01';
const POD_MAC = '02:00:00:00:00:02';
const loopback = { mac: ZERO_MAC };

describe('MAC that was read at the side of the pod', () => {
  it.each([
    ['its own', 'veth', HOST_MAC, POD_MAC, POD_MAC],
    ['one of a link of the node', 'veth', HOST_MAC, HOST_MAC, NOT_OWN_MAC],
    ['netkit in mode L2', 'netkit', HOST_MAC, POD_MAC, POD_MAC],
    ['netkit in mode L3, where the host side has it too', 'netkit', ZERO_MAC, ZERO_MAC, ZERO_MAC],
  ])('%s', (_name, kind, mac, read, expected) => {
    const link = { kind, mac };
    expect(macOfPodSide(link, read, [loopback, link])).toBe(expected);
    const side = { name: 'host0', mac, linkNetnsid: 1 };
    const binding = { source: 'netns', podUid: 'p', podNamespace: '', podName: '', ifName: 'eth0' } as const;
    expect(identityOf({ ...binding, mac: expected, addresses: [], link: side }, null).mac).toBe(expected);
  });
});

const recordAt = (writtenAtMs: number): CniRecord => ({
  file: 'storage-c1-net1',
  containerId: 'c1',
  ifName: 'net1',
  plugin: 'bridge',
  isChosen: false,
  isMacChosen: false,
  podUid: 'a',
  podNamespace: 'shop',
  podName: 'web',
  hostInterfaces: ['veth1'],
  podMac: '0a:00:00:00:00:01',
  addresses: ['10.9.0.2'],
  writtenAtMs,
});
const link = { ifindex: 7, name: 'veth1', kind: 'veth', mac: '', linkNetnsid: 1, peerIfindex: 2 };
const boundTo = (podUid: string, source: Binding['source']): Binding => ({
  ...{ source, podUid, podNamespace: 'shop', podName: 'web', ifName: 'net1', mac: '0a:00:00:00:00:01' },
  addresses: ['10.0.0.2'],
  link: { name: 'veth1', mac: '', linkNetnsid: 1 },
  ...(source === 'cni' ? { recordFile: 'other-c2-eth0', recordedAtMs: 1, isDoubtful: true } : {}),
});

it.each<[string, Binding | null, number, string]>([
  ['not bound', null, 300, 'bound'],
  ['not bound, the record of the former one', null, 100, 'unchanged'],
  ['found by the namespace of the same pod', boundTo('a', 'netns'), 300, 'bound'],
  ['found by the namespace of another pod', boundTo('b', 'netns'), 300, 'unchanged'],
  ['bound by a doubtful record of another pod', boundTo('b', 'cni'), 300, 'unchanged'],
])('a network that a pod joins again in one sandbox - %s', (_name, binding, writtenAtMs, expected) => {
  const binder = new Binder<BindableInterface>({
    cniRecords: () => [recordAt(writtenAtMs)],
    cgroupRoot: '',
    listedAddresses: () => [],
    onBound: () => {},
    onReplaced: () => {},
    findFolders: () => {},
    wallMs: () => 200,
    eventMs: () => 200,
    onProblem: () => {},
  });
  const former = { link, binding: null, announced: null, gone: false };
  expect(binder.bindFromCni(former)).toBe('bound');
  binder.removed(former);
  const next = { link: { ...link, ifindex: 8 }, binding, announced: null, gone: false };
  expect(binder.bindFromCni(next)).toBe(expected);
  expect(next.binding?.addresses).toEqual(expected === 'bound' ? ['10.9.0.2'] : binding?.addresses);
  binder.close();
});

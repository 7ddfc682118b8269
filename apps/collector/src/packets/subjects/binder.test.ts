import { describe, expect, it } from 'vitest';
import { identityOf, NOT_OWN_MAC, ZERO_MAC } from '../../identity/identity.ts';
import { macOfPodSide } from './binder.ts';

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

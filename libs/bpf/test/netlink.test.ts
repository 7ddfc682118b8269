/**
 * Link events and namespace ids over rtnetlink, on real veths in namespaces that the test creates.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { needsRoot, resultOf } from './helpers.ts';

describe('native netlink', () => {
  beforeEach(needsRoot);

  test('monitor - a veth from its creation to its deletion, also as a bridge port', async () => {
    expect(await resultOf('netlink', 'events')).toEqual({
      made: { name: 'va', kind: 'veth', removed: false, mtu: 1500, master: null, linkNetnsid: null, newNetnsid: null },
      peered: true,
      mac: '02:00:00:00:00:07',
      up: 1,
      renamed: 'renamed',
      enslaved: true,
      bridgeKind: 'bridge',
      removedByBridge: false,
      gone: 'renamed',
      afterwards: null,
      overruns: 0,
    });
  });

  test("namespaces - one id by event and pid, and through it the pod side's MAC", async () => {
    expect(await resultOf('netlink', 'namespaces')).toEqual({
      beforeAnyId: null,
      sameId: true,
      peerFound: true,
      firstThere: true,
      macAgrees: true,
      counted: true,
    });
  });

  test('local networks - addresses of an interface that is down, local routes and broadcast addresses', async () => {
    expect(await resultOf('netlink', 'localNetworks')).toEqual({
      loopback: true,
      added: ['192.0.2.1/32', '198.51.100.0/24', '2001:db8::/64'],
      broadcast: true,
    });
  });

  test('dumps - also where a link has 60 KiB of alternative names; control: glibc does not find what is behind it', async () => {
    expect(await resultOf('netlink', 'largeLink')).toEqual({
      names: ['large0', 'behind1', 'behind0'],
      counted: true,
      addresses: ['192.0.2.1/24', '2001:db8::1/128'],
      ofKind: [['behind1', 'behind0'], []],
      glibcFinds: false,
    });
  });

  test('refusals - a dead process, an unknown namespace and a link that was deleted are typed errors', async () => {
    expect(await resultOf('netlink', 'refusals')).toEqual({
      deadPid: 'NETLINK ESRCH',
      unknownTarget: 'NETLINK EINVAL',
      unknownTargetOfFirst: 'NETLINK EINVAL',
      noLink: null,
      deleted: [],
      deletedTwice: 'NETLINK ENODEV',
      loopbackOnly: 1,
    });
  });

  test('monitor - a full buffer is an overrun, after which events continue', async () => {
    const result = await resultOf<{ lost: boolean; dumped: number; overruns: number }>('netlink', 'overrun');
    expect(result).toMatchObject({ lost: true, dumped: 1299 });
    expect(result.overruns).toBeGreaterThan(0);
  });

  test('monitor - an overrun is reported after all events that were queued before it', async () => {
    expect(await resultOf('netlink', 'overrunOfMany')).toEqual({ isMoreThanATurn: true, after: 1 });
  });

  test('monitor - 500 interfaces at once are all reported, with the default buffer; the first of them can be read alone', async () => {
    expect(await resultOf('netlink', 'burst')).toEqual({
      names: 500,
      dumped: 500,
      overruns: 0,
      quick: true,
      first: true,
      all: true,
    });
  });
});

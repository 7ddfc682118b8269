import { podIdentityOf, sampleInterfaces, sampleLsmViolation, sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { AttackGraph, addressIn } from './graph.ts';

const pod = (namespace: string, name: string, ownerUid = '') => ({
  uid: `uid-${namespace}-${name}`,
  namespace,
  name,
  serviceAccount: 'default',
  ownerUid,
  ownerKind: ownerUid === '' ? '' : 'StatefulSet',
  ownerName: ownerUid === '' ? '' : 'web',
});
const claim = (claimedAddress: string, from = pod('shop', 'web-0', 'owner')) => {
  const violation = sampleViolation({ pod: from });
  return { ...violation, sample: violation.sample && { ...violation.sample, claimedAddress } };
};
const listed = [
  {
    ...podIdentityOf(pod('payments', 'db-0'), { interfaces: sampleInterfaces('10.1.0.7') }),
    nodeName: 'b',
    listRevision: 1,
  },
];
const all = () => true;

describe('attack graph', () => {
  it.each([
    ['10.1.0.7:53 udp', '10.1.0.7'],
    ['10.1.0.7 at 02:00:00:00:00:01', '10.1.0.7'],
    ['[fd00::1]:53 tcp', 'fd00::1'],
    ['fd00::1', 'fd00::1'],
    ['not sampled', 'not'],
    ['', ''],
  ])('address in %j: %j', (text, address) => {
    expect(addressIn(text)).toBe(address);
  });

  it('pods of one owner are one attacker; counts are the growth', () => {
    const graph = new AttackGraph();
    graph.add(claim('10.1.0.7'), 'a', 5);
    graph.add(claim('10.1.0.7', pod('shop', 'web-1', 'owner')), 'b', 3);
    graph.add({ ...claim('10.1.0.7'), action: 'audit' }, 'a', 2);
    graph.add(sampleLsmViolation(), 'a', 9);
    const { nodes, links, packets, notes } = graph.view(listed, all);
    expect(nodes.filter(({ column }) => column === 'attacker')).toEqual([
      expect.objectContaining({ label: 'shop/web (StatefulSet)', packets: 10, passed: 2 }),
    ]);
    expect(nodes.find(({ column }) => column === 'claim')).toMatchObject({
      label: 'payments/db-0',
      details: ['10.1.0.7'],
    });
    expect([links.length, links[0]?.samples, packets]).toEqual([1, 3, 10]);
    expect(notes).toEqual([expect.stringContaining('9 operations')]);
  });

  it('the owner of an address is named only to those who may see it', () => {
    const graph = new AttackGraph();
    graph.add(claim('10.1.0.7'), 'a', 1);
    const shown = (maySee: (namespace: string | null) => boolean) => JSON.stringify(graph.view(listed, maySee));
    expect(shown(all)).toContain('payments/db-0');
    expect(shown((namespace) => namespace === 'shop')).not.toContain('payments');
    // Whether another namespace has the address is not said either: as of one that no pod has.
    const graphOf = (listedPods: typeof listed) => JSON.stringify(graph.view(listedPods, (one) => one === 'shop'));
    expect(graphOf(listed)).toBe(graphOf([]));
    expect(JSON.stringify(graph.view([], all)), 'the control').not.toBe(shown(all));
  });

  it('one node cannot use up the graph, and what is beyond it is counted', () => {
    const graph = new AttackGraph();
    for (let n = 0; n < 5_000; n += 1) graph.add(claim('10.1.0.7', pod('shop', `flood-${n}`)), 'a', 1);
    graph.add(claim('10.1.0.7', pod('shop', 'late')), 'b', 1_000);
    const { nodes, packets, omitted, notes } = graph.view(listed, all);
    expect(nodes[0]).toMatchObject({ label: 'shop/late', packets: 1_000 });
    expect([packets, omitted > 1_000]).toEqual([6_000, true]);
    expect(notes).toEqual([expect.stringContaining('is not in the graph')]);
  });
});

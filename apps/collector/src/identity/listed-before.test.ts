import { samplePodIdentity } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import type { Binding } from './identity.ts';
import { listedBefore, withoutListed } from './listed-before.ts';

const binding = (more: Partial<Binding> = {}): Binding => ({
  source: 'cni',
  podUid: 'a',
  podNamespace: 'shop',
  podName: 'web',
  ifName: 'eth0',
  mac: '0a:00:00:00:00:01',
  addresses: ['10.0.0.3', 'fd00::3'],
  link: { name: 'veth3', mac: '02:00:00:00:00:01', linkNetnsid: 1 },
  isDoubtful: false,
  ...more,
});
const FORMER = ['10.0.0.2', 'fd00::2'];

describe('what the list had before an interface was bound', () => {
  it.each<[string, Partial<Binding>, readonly string[], boolean]>([
    ['a record that followed its interface', {}, FORMER, true],
    ['a record of a call', { isDoubtful: true, fromCall: true }, FORMER, true],
    ['a record that may be left over', { isDoubtful: true }, FORMER, false],
    ['a pod that was found by namespace', { source: 'netns' }, FORMER, false],
    ['an interface of another network', { ifName: 'net1' }, FORMER, false],
    ['a record without addresses', { addresses: [] }, FORMER, false],
    ['an address in both', {}, ['10.0.0.3', 'fd00::2'], false],
    ['a pod that is not started', {}, [], false],
  ])('%s', (_name, more, listed, isFormer) => {
    expect(listedBefore(binding(more), listed)).toEqual(isFormer ? FORMER : []);
  });

  it('sandboxes before - count too, but not the addresses that the pod has again', () => {
    const former = ['10.0.0.9', 'fd00::3'];
    expect(listedBefore(binding(), FORMER, former)).toEqual([...FORMER, '10.0.0.9']);
    expect(listedBefore(binding(), [], former)).toEqual(['10.0.0.9']);
    expect(listedBefore(binding(), ['10.0.0.3'], former), 'the list has its own').toEqual([]);
    expect(listedBefore(binding({ isDoubtful: true }), [], former)).toEqual([]);
  });

  it('counts until the list has other addresses', () => {
    const pod = (addresses: string[]) => samplePodIdentity({ interfaces: [{ name: 'eth0', addresses, mac: null }] });
    expect(withoutListed(pod(FORMER), FORMER)?.interfaces).toEqual([]);
    expect(withoutListed(pod(['10.0.0.2']), FORMER)?.interfaces).toEqual([]);
    for (const addresses of [['10.0.0.3'], [...FORMER, '10.0.0.3']])
      expect(withoutListed(pod(addresses), FORMER)).toEqual(pod(addresses));
    expect([withoutListed(pod(FORMER), []), withoutListed(null, FORMER)]).toEqual([pod(FORMER), null]);
  });
});

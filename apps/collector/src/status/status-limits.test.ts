import type { InterfaceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { LEFT_LINK } from '../packets/subjects/left-links.ts';
import { fitInterfaces } from './status-limits.ts';

const row = (podName: string, coverage: InterfaceStatus['coverage'], reason = ''): InterfaceStatus => ({
  interfaceName: podName,
  ifindex: 1,
  generation: 1,
  coverage,
  reason,
  state: 'programmed',
  podUid: '',
  podNamespace: '',
  podName,
  addresses: [],
  mac: '',
  packetsBeforeGuard: 0,
  quarantinedUntil: null,
});
const LEFT = 3_000;
const left = (count: number) => Array.from({ length: count }, (_, i) => row(`left${i}`, 'not-covered', LEFT_LINK));
const OF_PODS = [
  row('guarded', 'guarded'),
  row('none', 'not-covered', 'no interface'),
  row('behind', 'partial', 'why'),
];

it('thousands of links that a pod left - displace no interface of a pod, and are counted', () => {
  const { interfaces, interfacesOmitted } = fitInterfaces([...left(LEFT), ...OF_PODS]);
  expect(interfaces.slice(0, 3).map(({ podName }) => podName)).toEqual(['none', 'behind', 'guarded']);
  expect(interfacesOmitted).toEqual({
    guarded: 0,
    partial: 0,
    'not-covered': LEFT + OF_PODS.length - interfaces.length,
    'not-applicable': 0,
  });
});

it('a few of them - have a row each, before what is no interface of a pod', () => {
  const { interfaces, interfacesOmitted } = fitInterfaces([row('eth0', 'not-applicable'), ...left(2), ...OF_PODS]);
  expect(interfaces.slice(3).map(({ podName }) => podName)).toEqual(['left0', 'left1', 'eth0']);
  expect(interfacesOmitted).toBeUndefined();
});

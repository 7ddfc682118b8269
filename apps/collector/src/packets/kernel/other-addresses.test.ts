import { expect, it } from 'vitest';
import type { Binding } from '../../identity/identity.ts';
import { MAX_GRANTS } from './grants.ts';
import { OtherAddresses } from './other-addresses.ts';

const bindingOf = (podUid: string, ifName: string, recordFile?: string): Binding => ({
  source: 'cni',
  podUid,
  podNamespace: 'shop',
  podName: podUid,
  ifName,
  mac: '',
  addresses: [],
  link: { name: 'veth', mac: '', linkNetnsid: null },
  recordFile,
});
const record = (podUid: string, containerId: string, ifName: string, ...addresses: string[]) => {
  return { podUid, containerId, ifName, addresses };
};
const records = [
  record('a', 's1', 'eth0', '10.0.0.2'),
  record('a', 's1', 'net1', '10.1.0.2', 'fd01::2'),
  record('a', 's1', 'net2', '10.2.0.2'),
  record('b', 's2', 'net1', '10.1.0.3'),
];
const of = (
  binding: Binding,
  own: readonly string[],
  more: Partial<ConstructorParameters<typeof OtherAddresses>[0]> = {},
) => new OtherAddresses({ cniRecords: () => records, owners: () => [], ...more }).of(binding, own).sort();

it('records - those of other interfaces of the pod, not of its own one and not of other pods', () => {
  expect(of(bindingOf('a', 'eth0', 'pods-s1-eth0'), ['10.0.0.2'])).toEqual(['10.1.0.2', '10.2.0.2', 'fd01::2']);
  expect(of(bindingOf('a', 'net1', 'storage-s1-net1'), ['10.1.0.2', 'fd01::2'])).toEqual(['10.0.0.2', '10.2.0.2']);
  expect(of(bindingOf('b', 'net1', 'storage-s2-net1'), ['10.1.0.3'])).toEqual([]);
  expect(of(bindingOf('c', 'eth0'), [])).toEqual([]);
});

it('records of a former sandbox - another pod may have their addresses; those of an unknown one count', () => {
  const former = [...records, record('a', 's0', 'net1', '10.1.0.9')];
  const cniRecords = () => former;
  expect(of(bindingOf('a', 'eth0', 'pods-s1-eth0'), [], { cniRecords })).not.toContain('10.1.0.9');
  expect(of(bindingOf('a', 'eth0', 'pods-s0-eth0'), [], { cniRecords })).toEqual(['10.1.0.9']);
  expect(of(bindingOf('a', 'eth0'), [], { cniRecords })).toContain('10.1.0.9');
});

it('bound interfaces - without a record too; an address that both have is its own', () => {
  const owners = () => [
    { binding: bindingOf('a', 'eth0'), addresses: () => ['10.0.0.2', '10.0.0.3'] },
    { binding: bindingOf('b', 'eth0'), addresses: () => ['10.0.0.4'] },
  ];
  const none = { cniRecords: () => [], owners };
  expect(of(bindingOf('a', 'net1', 'storage-s1-net1'), ['10.0.0.3'], none)).toEqual(['10.0.0.2']);
  expect(of(bindingOf('a', 'eth0'), [], none)).toEqual([]);
});

it('many addresses - as many as an interface has grants', () => {
  const many = Array.from({ length: 2 * MAX_GRANTS }, (_, n) => `10.9.0.${n}`);
  const cniRecords = () => [record('a', 's1', 'net1', ...many, ...many)];
  expect(of(bindingOf('a', 'eth0', 'pods-s1-eth0'), many.slice(0, 3), { cniRecords })).toHaveLength(MAX_GRANTS);
});

it('records of other pods with many addresses, as `ips` of Multus asks for - are not read for a pod', () => {
  let read = 0;
  const others = Array.from({ length: 2_000 }, (_, n) => ({
    ...record(`b${n}`, 's2', 'net1'),
    get addresses() {
      return Array.from({ length: 160 }, () => `10.9.0.${read++ % 256}`);
    },
  }));
  const cniRecords = () => [...records, ...others];
  const [first = record('', '', '')] = others;
  expect(first.addresses.length, 'control: a record that is read').toBe(read);
  read = 0;
  expect(of(bindingOf('a', 'eth0', 'pods-s1-eth0'), ['10.0.0.2'], { cniRecords })).toHaveLength(3);
  expect(read).toBe(0);
});

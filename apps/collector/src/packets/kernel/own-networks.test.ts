import { expect, it } from 'vitest';
import { ownNetworks } from './own-networks.ts';

const [UP, RUNNING, LOOPBACK] = [0x1, 0x40, 0x8];
const at = (ifindex: number, cidr: string) => {
  const [address = '', length] = cidr.split('/');
  return { ifindex, address, prefixLength: Number(length) };
};

it('own networks - each once, of links that are up, without loopback and IPv6 link-local', () => {
  const flags = [0, UP | RUNNING | LOOPBACK, UP | RUNNING, UP | RUNNING, UP, 0];
  const linkOf = (ifindex: number) => (flags[ifindex] === undefined ? null : { flags: flags[ifindex] });
  const addresses = [
    ...[at(1, '127.0.0.1/8'), at(1, '::1/128'), at(1, '192.0.2.1/32')],
    ...[at(2, '192.0.2.7/24'), at(2, '2001:db8::7/64'), at(2, 'fe80::1/64'), at(2, 'febf::2/64')],
    ...[at(2, '10.244.0.1/32'), at(3, '10.244.0.1/32'), at(3, '169.254.20.10/32'), at(3, 'fec0::1/64')],
    ...[at(4, '192.0.2.8/24'), at(5, '10.96.0.1/32'), at(6, '192.0.2.9/24')],
  ];
  expect(ownNetworks(addresses, ['127.0.0.0/8', '10.96.0.1/32', '127.0.0.0/8'], linkOf)).toEqual({
    addresses: ['10.244.0.1', '169.254.20.10', '192.0.2.7', '2001:db8::7', 'fec0::1'],
    links: ['10.244.0.1/32', '169.254.20.10/32', '192.0.2.7/24', '2001:db8::7/64', 'fec0::1/64'],
    local: ['10.96.0.1/32', '127.0.0.0/8'],
  });
});

it('own networks - of this machine by default', () => {
  const { addresses, local } = ownNetworks();
  expect(addresses).not.toContain('127.0.0.1');
  expect(local).toContain('127.0.0.0/8');
});

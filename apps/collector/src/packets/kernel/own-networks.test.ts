import { expect, it } from 'vitest';
import { ownNetworks } from './own-networks.ts';

const at = (cidr: string, internal = false) => ({ address: cidr.replace(/\/.*/, ''), cidr, internal });

it('own networks - each once, without loopback and IPv6 link-local', () => {
  const interfaces = {
    lo: [at('127.0.0.1/8', true), at('::1/128', true)],
    eth0: [at('192.0.2.7/24'), at('2001:db8::7/64'), at('fe80::1/64'), at('FEBF::2/64')],
    veth1: [at('10.244.0.1/32')],
    veth2: [at('10.244.0.1/32'), at('169.254.20.10/32'), at('fec0::1/64')],
    odd: [{ ...at('192.0.2.8/24'), cidr: null }],
    gone: undefined,
  };
  expect(ownNetworks(interfaces, ['127.0.0.0/8', '10.96.0.1/32', '127.0.0.0/8'])).toEqual({
    addresses: ['10.244.0.1', '169.254.20.10', '192.0.2.7', '192.0.2.8', '2001:db8::7', 'fec0::1'],
    links: ['10.244.0.1/32', '169.254.20.10/32', '192.0.2.7/24', '2001:db8::7/64', 'fec0::1/64'],
    local: ['10.96.0.1/32', '127.0.0.0/8'],
  });
});

it('own networks - of this machine by default', () => {
  const { addresses, local } = ownNetworks();
  expect(addresses).not.toContain('127.0.0.1');
  expect(local).toContain('127.0.0.0/8');
});

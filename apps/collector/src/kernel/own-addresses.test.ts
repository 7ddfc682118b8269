import { expect, it } from 'vitest';
import { ownAddresses } from './own-addresses.ts';

const at = (address: string, internal = false) => ({ address, internal });

it('own addresses - each once, without loopback and IPv6 link-local', () => {
  const interfaces = {
    lo: [at('127.0.0.1', true), at('::1', true)],
    eth0: [at('192.0.2.7'), at('2001:db8::7'), at('fe80::1'), at('FEBF::2')],
    veth1: [at('10.244.0.1')],
    veth2: [at('10.244.0.1'), at('169.254.20.10'), at('fec0::1')],
    gone: undefined,
  };
  expect(ownAddresses(interfaces)).toEqual(['10.244.0.1', '169.254.20.10', '192.0.2.7', '2001:db8::7', 'fec0::1']);
});

it('own addresses - of this machine by default', () => {
  expect(ownAddresses()).not.toContain('127.0.0.1');
});

import dns from 'node:dns';
import { afterEach, expect, it, vi } from 'vitest';
import { sharedLookup } from './shared-lookup.ts';

afterEach(() => void vi.restoreAllMocks());

const look = (hostname: string, options: dns.LookupOptions) =>
  new Promise<unknown>((resolve) => sharedLookup(hostname, options, (error, found) => resolve(error?.code ?? found)));

it('attempts during a look-up - share it; a later attempt starts another one', async () => {
  const lookup = vi.spyOn(dns, 'lookup');
  const found = await Promise.all([look('localhost', { all: true }), look('localhost', { all: true })]);
  expect(lookup).toHaveBeenCalledTimes(1);
  expect(found[0]).toEqual(expect.arrayContaining([expect.objectContaining({ address: '127.0.0.1' })]));
  expect(found[1]).toEqual(found[0]);
  await look('localhost', { all: true });
  expect(lookup).toHaveBeenCalledTimes(2);
});

it('other names and families - have look-ups of their own; a caller without `all` receives one address', async () => {
  const lookup = vi.spyOn(dns, 'lookup');
  const found = await Promise.all([look('localhost', { family: 4 }), look('127.0.0.1', {}), look('127.0.0.2', {})]);
  expect(lookup).toHaveBeenCalledTimes(3);
  expect(found).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.2']);
});

it('a failed look-up - fails every attempt that shares it', async () => {
  const names = ['a b', 'a b'];
  expect(await Promise.all(names.map((name) => look(name, {})))).toEqual(['ENOTFOUND', 'ENOTFOUND']);
});

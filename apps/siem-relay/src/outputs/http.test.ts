// Which destinations are private, by address and by name; what is shown of a response; and which key has the position of a
// webhook.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { assignSlots } from '../outputs-of.ts';
import { checkHost, guardedLookup, isPrivateAddress } from './address-guard.ts';
import { HttpClient } from './http-client.ts';

describe('private addresses', () => {
  it.each([
    ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '100.64.0.1'],
    ...['0.0.0.0', '224.0.0.1', '255.255.255.255', '::', '::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '::7f00:1'],
    ...['168.63.129.16', '::ffff:a83f:8110'],
    ...['fe80::1', 'fe80::1%eth0', 'fd00::1', 'fc00::1', 'ff02::1', '64:ff9b::a00:1', '2002:a00:1::', 'no address'],
  ])('%s - is private', (address) => {
    expect(isPrivateAddress(address)).toBe(true);
  });

  it.each(['8.8.8.8', '168.63.129.17', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450::1'])(
    '%s - is not',
    (address) => {
      expect(isPrivateAddress(address)).toBe(false);
    },
  );

  it.each(['127.0.0.1', '[::1]', '[::ffff:7f00:1]'])('a URL with %s - is refused without a lookup', (host) => {
    expect(() => checkHost(host)).toThrow(expect.objectContaining({ code: 'OUTPUT_ADDRESS' }));
    expect(() => checkHost('example.com')).not.toThrow();
  });

  // Numbers in other notations are names for the URL parser or become dotted: 2130706433, 0x7f.1.
  it.each(['2130706433', '0x7f.1', '127.1', '0177.0.0.1'])(
    'http://%s - is 127.0.0.1 after parsing, and refused',
    (host) => {
      expect(() => checkHost(new URL(`http://${host}/`).hostname)).toThrow(
        expect.objectContaining({ code: 'OUTPUT_ADDRESS' }),
      );
    },
  );

  it('a name that resolves to a private address - is refused with the address', async () => {
    const error = await new Promise((resolve) => guardedLookup('localhost', {}, (found) => resolve(found)));
    expect(error).toMatchObject({ code: 'OUTPUT_ADDRESS', message: expect.stringMatching(/^localhost is (127|::1)/) });
  });
});

describe('the text of a refusal', () => {
  it.each([
    ['/services/T0/B0/hunter22hunter22', (url: string) => `Cannot POST ${url}`],
    ['/webhook/hunter22hunter22', (url: string) => `The webhook "POST ${url.split('/').at(-1)}" is not registered.`],
    ['/hook?%zz=1&sig=hunter22hunter22', (url: string) => `no ${url}`],
    ['/hook?sig=a%2Bhunter22hunter22', () => 'no a+hunter22hunter22'],
  ])('%s - has no part of the URL that may be secret', async (path, body) => {
    const server = createServer(({ url = '' }, response) => response.writeHead(404).end(body(url)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const client = new HttpClient({ timeoutMs: 5_000, allowPrivateAddress: true, caFile: '', nowMs: () => 0 });
    const posted = client.post(
      new URL(`http://127.0.0.1:${port}${path}`),
      {},
      Buffer.of(),
      new AbortController().signal,
    );
    const { message } = await posted.then(
      () => new Error('delivered'),
      (error: Error) => error,
    );
    client.close();
    server.close();
    expect(message).toMatch(/ responds with 404: .*…/);
    expect(message).not.toContain('hunter22');
  });
});

describe('keys of positions', () => {
  const keys = (owners: (string | undefined)[]) =>
    new Map(owners.map((owner, index) => [`webhook-${index + 1}`, owner]));

  it.each<[string, string[], (string | undefined)[], Record<string, string>]>([
    ['new webhooks', ['a', 'b'], [undefined, undefined], { a: 'webhook-1', b: 'webhook-2' }],
    ['another order', ['b', 'a'], ['a', 'b'], { a: 'webhook-1', b: 'webhook-2' }],
    ['a renamed one', ['c', 'b'], ['a', 'b'], { c: 'webhook-1', b: 'webhook-2' }],
    ['a removed one keeps its key while another is free', ['c'], ['a', undefined], { c: 'webhook-2' }],
  ])('%s', (_, names, owners, expected) => {
    expect(Object.fromEntries(assignSlots(names, keys(owners)))).toEqual(expected);
  });
});

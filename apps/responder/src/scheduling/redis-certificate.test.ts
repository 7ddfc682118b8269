import { afterEach, expect, it } from 'vitest';
import { watchRedisCertificate } from './redis-certificate.ts';

const stop = new AbortController();
afterEach(() => stop.abort());

it.each([
  ['a client certificate that does not fit its key', { cert: 'x', key: 'y' }],
  ['files that cannot be read', { renewed: () => JSON.parse('') as object }],
])('certificate of Redis - %s ends no process', async (_, tls) => {
  const ends = watchRedisCertificate({ host: '127.0.0.1', port: 1, tls } as never, stop.signal);
  // A rejection that nothing handles fails the run.
  await new Promise(setImmediate);
  expect(ends()).toEqual([]);
});

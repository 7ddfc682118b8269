// Outputs whose names hang: their name server takes each query and never responds. Look-ups take threads
// of the process, so an output with a good name must not wait for them.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { nodeArgs } from '../../tools/children.ts';
import { launch } from '../support/process.ts';
import { HttpReceiver } from './http-receiver.ts';
import { RelayRig } from './siem-relay-rig.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const CONTAINERFILE = readFileSync(path.join(ROOT, 'k8s/images/Containerfile'), 'utf8');
const THREADS_OF_IMAGE = /^ENV UV_THREADPOOL_SIZE=(\d+)$/m.exec(CONTAINERFILE)?.[1] ?? '';
/** Node's default. */
const THREADS_OF_NODE = '4';
/** A look-up ends after twice the timeout of resolv.conf. */
const HANG_S = 5;
const HANGING = ['one', 'two', 'three', 'four'].map((name) => `${name}.hang.example`);

/** A name server that never responds. */
async function startSink(address: string) {
  const seen = new Set<string>();
  const socket = createSocket('udp4');
  socket.on('message', (query) => {
    for (const name of HANGING) if (query.includes(name.split('.')[0] as string)) seen.add(name);
  });
  socket.bind(53, address);
  await once(socket, 'listening');
  return {
    seen,
    async [Symbol.asyncDispose]() {
      await once(socket.close(), 'close');
    },
  };
}

/** Time from a verdict to its delivery by an output with a good name, while the others hang. */
async function deliveryMs(threads: string, address: string): Promise<number> {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  await using sink = await startSink(address);
  // Each delivery needs a look-up.
  receiver.reply = () => ({ status: 204, headers: { connection: 'close' } });
  const names = path.join(rig.directory, 'resolv.conf');
  writeFileSync(names, `nameserver ${address}\noptions timeout:${HANG_S} attempts:2\n`);
  const good = { url: `http://localhost:${receiver.port}/`, allowPrivateAddress: true };
  const hanging = HANGING.slice(0, 3).map((name) => [name.split('.')[0], { url: `https://${name}/`, timeoutMs: 500 }]);
  const flags = [...rig.flags(), '--webhooks', JSON.stringify(Object.fromEntries([...hanging, ['good', good]]))];
  const run = 'mount --make-rprivate / && mount --bind "$0" /etc/resolv.conf && exec "$@"';
  const args = ['-m', 'sh', '-c', run, names, process.execPath, ...nodeArgs('apps/siem-relay/src/main.ts'), ...flags];
  await using relay = launch('unshare', args, { cwd: ROOT, env: { ...process.env, UV_THREADPOOL_SIZE: threads } });
  await relay.logged('ready');
  await rig.verdict({ verdictId: '1'.padStart(32, '0') });
  await waitFor(() => sink.seen.size >= 2, { what: 'two names to hang', state: () => [...sink.seen, relay.out()] });
  const beganMs = performance.now();
  await rig.verdict({ verdictId: '2'.padStart(32, '0') });
  const hasSecond = () => receiver.accepted.some(({ body }) => body.includes('2'.padStart(32, '0')));
  await waitFor(hasSecond, { what: 'the delivery', timeoutMs: 60_000, state: relay.out });
  return performance.now() - beganMs;
}

it('look-ups that hang - delay no other output; control: with few threads they do', async () => {
  expect(Number(THREADS_OF_IMAGE)).toBeGreaterThan(2 * 10);
  const [few, image] = await Promise.all([
    deliveryMs(THREADS_OF_NODE, '127.83.53.1'),
    deliveryMs(THREADS_OF_IMAGE, '127.83.53.2'),
  ]);
  expect(few).toBeGreaterThan(HANG_S * 1_000);
  expect(image).toBeLessThan(HANG_S * 1_000);
}, 120_000);

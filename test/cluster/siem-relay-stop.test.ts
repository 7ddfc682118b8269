// One SIGTERM ends the relay in time, with its last positions stored, whatever hangs: receivers, the bus,
// or whoever reads its log.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { HttpReceiver } from './http-receiver.ts';
import { launchRelay, RelayRig } from './siem-relay-rig.ts';

const HOOKS = ['a', 'b', 'c', 'd'];
const STEP_MS = 2_000;
/** Four steps can wait: outputs, readers, status, connection. */
const END_MS = 4 * STEP_MS + 5_000;

it('stop - receivers that hang get their last event at the same time, not one after the other', async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  receiver.reply = () => ({ status: 200, after: released });
  const webhooks = HOOKS.map((name) => [name, { url: receiver.url(`/${name}`), allowPrivateAddress: true }]);
  const relay = await rig.relay([
    '--webhooks',
    JSON.stringify(Object.fromEntries(webhooks)),
    '--stop-timeout-ms',
    '90000',
  ]);
  await rig.verdict();
  const paths = () => receiver.requests.map(({ path }) => path);
  await waitFor(() => new Set(paths()).size === HOOKS.length, { what: 'a request of each', state: paths });
  const stopped = relay.stop();
  // Each has 72 s for it.
  await waitFor(() => paths().length === 2 * HOOKS.length, {
    what: 'another one of each',
    timeoutMs: 20_000,
    state: paths,
  });
  release();
  expect(await stopped).toBe(0);
  expect(receiver.accepted.length).toBeGreaterThanOrEqual(HOOKS.length);
});

it.each([
  ['a bus that is gone', (rig: RelayRig) => rig.nats.kill()],
  ['a bus that does not respond', async (rig: RelayRig) => void process.kill(rig.nats.pid, 'SIGSTOP')],
])('stop - ends in time with %s, and nobody who reads its log', async (_, fail) => {
  await using rig = await RelayRig.start();
  await using receiver = await new HttpReceiver().start();
  receiver.reply = () => ({ status: 503 });
  const hooks = { soc: { url: receiver.url(), allowPrivateAddress: true } };
  const flags = [...rig.flags(), '--webhooks', JSON.stringify(hooks), '--stop-timeout-ms', String(STEP_MS)];
  await using relay = await launchRelay(flags);
  await rig.verdict();
  await waitFor(() => receiver.requests.length > 0, { what: 'a request', state: relay.out });
  await fail(rig);
  relay.child.stdout?.destroy();
  const began = performance.now();
  relay.child.kill('SIGTERM');
  const hasEnded = () => relay.child.exitCode !== null || relay.child.signalCode !== null;
  await waitFor(hasEnded, { what: 'the end', timeoutMs: 60_000 });
  const tookMs = performance.now() - began;
  process.kill(rig.nats.pid || process.pid, 'SIGCONT');
  expect(relay.child.signalCode).toBeNull();
  expect(tookMs).toBeLessThan(END_MS);
});

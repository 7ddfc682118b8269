// `bailiff_responder_responses_total`, on which alerts depend, counts a record that the bus has stored also if its ack
// was lost.
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { silentAfter } from '../support/silent-network.ts';
import { acting, Rig } from './responder/rig.ts';

it.each([
  ['control: at once', 0],
  // Longer than a client waits for a response.
  ['late', 12_000],
])('responder - counts a failed removal whose ack arrives %s', { timeout: 60_000 }, async (_when, silentMs) => {
  await using rig = await Rig.start();
  // The first record is that of the start.
  const text = 'PUB bailiff.v1.responses.';
  await using between = await silentAfter(rig.nats.port, { text, nth: 2, silentMs });
  await rig.policies({ remove: acting('remove', [{ action: 'delete' }]) });
  const responder = await rig.start({ natsUrl: between.url, giveUpAfterMs: 1_000 });
  const pod = rig.pod();
  rig.api.faults.inject({ verb: 'delete', resource: 'pods', name: pod.name, status: 422, times: 1e6 });
  const verdict = await rig.verdict(pod, { rule: 'remove' });
  const { reasonCode } = await rig.until(verdict, 'delete', 'failed');
  const name = `responses_total{action="delete",phase="failed",reason="${reasonCode}"}`;
  const count = () => responder.metric(name);
  await waitFor(async () => (await count()) === 1, { what: name, timeoutMs: 20_000, state: count });
  expect([between.silences(), rig.of(verdict).length]).toEqual([silentMs > 0 ? 1 : 0, 2]);
});

// `bailiff_correlator_verdicts_total`, on which alerts depend, counts a verdict that the bus has stored also if its ack
// was lost, or if the process ended before the count was read.
import { podRef } from '@bailiff/correlation/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { launchApp } from '../support/process.ts';
import type { RunningService } from '../support/service.ts';
import { silentAfter } from '../support/silent-network.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';

const POD = podRef('web-0');

/** How often a correlator has counted the verdict as `stored` and as `exists`. */
async function counted(rig: CorrelatorRig, correlator: RunningService): Promise<[number, number]> {
  const { level, rule } = rig.verdicts[0] ?? {};
  const of = async (outcome: string) =>
    (await correlator.metric(`verdicts_total{outcome="${outcome}",level="${level}",rule="${rule}"}`)) || 0;
  return [await of('stored'), await of('exists')];
}

it.each([
  ['control: at once', 0],
  // A client waits 5 s for a response, and takes a second silence for a server that stores nothing.
  ['after the client has sent it again', 6_000],
  ['after the client has given up once', 12_000],
])('correlator - counts a verdict whose ack arrives %s', { timeout: 60_000 }, async (_when, silentMs) => {
  await using rig = await CorrelatorRig.start();
  await using between = await silentAfter(rig.nats.port, { text: 'PUB bailiff.v1.verdicts.', silentMs });
  await rig.list(NODE_A, [POD]);
  await rig.settle();
  const correlator = await rig.correlator({ flags: ['--nats-url', between.url] });
  await rig.spoof(NODE_A, POD, 20);
  await rig.verdictCount(1);
  const counts = () => counted(rig, correlator);
  await waitFor(async () => (await counts()).some((count) => count > 0), { what: 'a count', state: counts });
  expect([between.silences(), await counts()]).toEqual([silentMs > 0 ? 1 : 0, [1, 0]]);
});

it('correlator - counts a verdict of a process that was killed before its count was read', async () => {
  await using rig = await CorrelatorRig.start();
  await rig.list(NODE_A, [POD]);
  await rig.settle();
  await using killed = launchApp('correlator', rig.flags());
  await killed.logged('ready');
  await rig.spoof(NODE_A, POD, 20);
  await rig.verdictCount(1);
  await killed.kill();
  const correlator = await rig.correlator();
  await waitFor(async () => (await counted(rig, correlator)).some((count) => count > 0), { what: 'a count' });
  expect(await counted(rig, correlator)).toEqual([1, 0]);
  expect(rig.verdicts).toHaveLength(1);
});

// An operator's credential asks for the state of a stream without pause, on all connections that it may have. The
// server processes such requests of all clients in one queue, and drops those that wait. Verdicts
// and responses do not depend on it; the control is the request that proved before that everything
// was read.
import { type Bus, MAX_CONNECTIONS, streamInfo } from '@bailiff/bus';
import { podRef } from '@bailiff/correlation/testing';
import { expect, test } from 'vitest';
import { flood } from '../support/api-flood.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';
import { acting, Rig } from './responder/rig.ts';

const ATTACKS = 4;
/** A request that waits this long for its response is one that the flood has held up. */
const BLOCKED_MS = 2_500;
const request = { subject: 'BUS.STREAM.INFO.VIOLATIONS' };

/** The control: repeats a request of the queue until it gets no response. */
async function whenBlocked(bus: Bus): Promise<void> {
  const isServed = () =>
    streamInfo(bus, 'CONFIG_LOG', undefined, { timeoutMs: BLOCKED_MS }).then(
      () => true,
      (error: { code: string }) => {
        expect(error.code).toBe('BUS_TIMEOUT');
        return false;
      },
    );
  while (await isServed());
}

test('a client that floods the queue of API requests delays no verdict', async () => {
  await using rig = await CorrelatorRig.start();
  const pods = Array.from({ length: 2 * ATTACKS }, (_, index) => podRef(`pod-${index}`));
  await rig.list(NODE_A, pods);
  await rig.correlator();
  await rig.settle();
  const attack = async (pod: (typeof pods)[number]) => {
    await rig.spoof(NODE_A, pod, 10);
    await rig.verdictCount(rig.verdicts.length + 1);
  };
  const correlator = await rig.nats.connect('correlator');
  await using _ = await flood(rig.nats.port, 'cli', request, MAX_CONNECTIONS.OPERATORS);
  await whenBlocked(correlator);
  for (const pod of pods) await attack(pod);
  // Of a pod that is listed later, without another frame.
  const young = podRef('young');
  await rig.spoof(NODE_A, young, 10);
  await rig.list(NODE_A, [...pods, young]);
  await rig.verdictCount(pods.length + 1);
  await whenBlocked(correlator);
}, 120_000);

test('a client that floods the queue of API requests delays no response', async () => {
  await using rig = await Rig.start();
  await rig.policies({ remove: acting('remove', [{ action: 'delete' }]) });
  await rig.start();
  const attack = async () => rig.until(await rig.verdict(rig.pod(), { rule: 'remove' }), 'delete', 'succeeded');
  const responder = await rig.nats.connect('responder');
  await using _ = await flood(rig.nats.port, 'cli', request, MAX_CONNECTIONS.OPERATORS);
  await whenBlocked(responder);
  for (let attacks = 0; attacks < ATTACKS; attacks += 1) await attack();
  await whenBlocked(responder);
}, 120_000);

// What an output is given again after a restart, although the bus refuses a consumer meanwhile.
import { BusError, filters, lifeName, streamInfo } from '@bailiff/bus';
import { systemClock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import { Turns } from '@bailiff/service/turns';
import { expect, it } from 'vitest';
import type { Output } from '../../apps/siem-relay/src/outputs/output.ts';
import { OutputRunner } from '../../apps/siem-relay/src/outputs/runner.ts';
import type { PositionKeeper } from '../../apps/siem-relay/src/position.ts';
import { RelayRig } from './siem-relay-rig.ts';

it('restore - what the bus refuses to give is asked for again before new events are delivered', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  await rig.verdict();
  await rig.eventCount(1);
  const bus = await rig.nats.connect('siem-relay');
  const info = await streamInfo(bus, 'SIEM');
  let refusals = 1;
  const send = bus.requests.send.bind(bus.requests);
  bus.requests.send = (subject, ...rest) => {
    if (!subject.startsWith('$JS.API.CONSUMER.CREATE.SIEM.') || refusals-- <= 0) return send(subject, ...rest);
    return Promise.reject(new BusError('BUS_REFUSED', 'no suitable peers for placement'));
  };
  const order: string[] = [];
  const output: Output = {
    name: 'test',
    filterSubjects: [filters.siem({ format: 'ocsf' })],
    limits: { maxEvents: 1, maxBytes: 1, lingerMs: 100 },
    restoreMs: 3_600_000,
    restore: ({ sequence }) => void order.push(`restored ${sequence}`),
    deliver: async ([event]) => {
      order.push(`delivered ${event?.sequence}`);
      return null;
    },
    close: () => undefined,
  };
  const position = { read: async () => ({ created: lifeName(info), sequence: 1 }), move() {}, async close() {} };
  const end = new AbortController();
  const runner = new OutputRunner({
    bus,
    output,
    startAt: 'all',
    position: position as unknown as PositionKeeper,
    clock: systemClock,
    turns: new Turns(5),
    onWarning: () => undefined,
    onForeign: () => undefined,
    signal: end.signal,
  });
  runner.start((error) => order.push(error.message));
  await rig.verdict({ verdictId: 'b'.repeat(32) });
  await waitFor(() => order.includes('delivered 2'), { what: 'the new event', state: () => order });
  expect(order).toEqual(['restored 1', 'delivered 2']);
  end.abort();
  await runner.stop(1_000);
});

import { consumerStateSubject, MAX_CONNECTIONS, respondToRequests, STATE_QUEUE } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { errors } from '@nats-io/nats-core';
import { expect, test } from 'vitest';
import { MAX_PER_WINDOW } from '../../libs/bus/src/connection/request-responder.ts';
import { flood } from '../support/api-flood.ts';

const SUBJECT = consumerStateSubject('siem-ocsf');
const REQUEST = { subject: 'BUS.CONSUMER.INFO.SIEM.siem-ocsf' };
/** More than the windows of this test hold. */
const MANY = 20_000;

test('requests - a flood of one credential does not reach the process that responds, which responds afterwards', async () => {
  await using nats = await startNats();
  const relay = await nats.connect('siem-relay');
  const responder = respondToRequests(relay, {
    subject: SUBJECT,
    queue: STATE_QUEUE,
    maxWaitMs: 1_000,
    monotonicMs: () => performance.now(),
    respond: async () => 'the state',
    busy: () => 'busy',
    onError: () => undefined,
  });
  // The control: the same subscription without a limit, in another process.
  const without = await nats.connect('siem-relay');
  const control = without.nc.subscribe(SUBJECT, { queue: STATE_QUEUE, callback: () => undefined });
  await without.nc.flush();
  {
    // One connection stays free for the reader below.
    await using _flood = await flood(nats.port, 'siem-reader', REQUEST, (MAX_CONNECTIONS.SIEM as number) - 1);
    // Without the limit, the two members of the queue group receive the same number.
    const isLimited = () => {
      const received = control.getReceived();
      return received > MANY && received > 10 * relay.nc.stats().inMsgs;
    };
    const state = () => ({ control: control.getReceived(), responder: relay.nc.stats().inMsgs });
    await waitFor(isLimited, { what: 'a flood that the responder does not receive', timeoutMs: 30_000, state });
  }
  expect(relay.nc.stats().inMsgs).toBeGreaterThanOrEqual(MAX_PER_WINDOW / 2);
  await without.close();
  const reader = await nats.connect('siem-reader');
  const state = () =>
    reader.nc.request(REQUEST.subject, '', { timeout: 500 }).then(
      (message) => message.string() === 'the state',
      () => false,
    );
  await waitFor(state, { what: 'a response after the flood' });
  await responder.close();
});

test('requests - each is answered, or refused at once as without a listener; none is lost between two windows', async () => {
  await using nats = await startNats();
  const responder = respondToRequests(await nats.connect('siem-relay'), {
    subject: SUBJECT,
    queue: STATE_QUEUE,
    maxWaitMs: 1_000,
    monotonicMs: () => performance.now(),
    respond: async () => 'the state',
    busy: () => 'busy',
    onError: () => undefined,
  });
  const reader = await nats.connect('siem-reader');
  const request = () =>
    reader.nc.request(REQUEST.subject, '', { timeout: 10_000 }).then(
      (message) => message.string(),
      (error: Error) =>
        error.cause instanceof errors.NoRespondersError || error.name === 'NoRespondersError' ? 'refused' : error.name,
    );
  const seen = { 'the state': 0, refused: 0 } as Record<string, number>;
  while ((seen['the state'] ?? 0) < 4 * MAX_PER_WINDOW) {
    const outcome = await request();
    seen[outcome] = (seen[outcome] ?? 0) + 1;
  }
  expect(Object.keys(seen)).toEqual(['the state', 'refused']);
  expect(seen['refused']).toBeGreaterThan(0);
  await responder.close();
});

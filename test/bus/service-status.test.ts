// What can be told of correlator and responder from the streams, by the rights of the command.
import { readServiceStatus, responseIdOf } from '@bailiff/answer';
import {
  type Bus,
  consumeOrdered,
  FramePublisher,
  publishOnce,
  responseSubject,
  verdictSubject,
  violationSubject,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { encodeResponse, encodeVerdict, encodeViolationFrame, type Response, type Verdict } from '@bailiff/schemas';
import { sampleFrame, sampleResponse, sampleVerdict } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startBus, underWay } from './support.ts';

const verdictId = (n: number) => n.toString(16).padStart(32, '0');

async function frame(nats: TestNats): Promise<number> {
  const publisher = new FramePublisher(await nats.connect('collector-node-a'));
  const subject = violationSubject('node-a', 'spoof');
  const acked = await publisher.publish(subject, encodeViolationFrame(sampleFrame({ nodeName: 'node-a' })), {
    msgId: 'frame',
  });
  publisher.close();
  return acked.sequence;
}

async function publishVerdict(bus: Bus, part: Partial<Verdict>): Promise<Verdict> {
  const verdict = sampleVerdict({ level: 'high', evidence: [], ...part });
  await publishOnce(bus, verdictSubject(verdict), encodeVerdict(verdict), { msgId: verdict.verdictId });
  return verdict;
}

async function respond(bus: Bus, verdict: Verdict, part: Partial<Response> = {}): Promise<void> {
  const key = { verdictId: verdict.verdictId, policy: 'answer-high', action: 'label' as const };
  const response = sampleResponse({ ...key, phase: 'dryrun', ...part, responseId: responseIdOf(key, 'terminal') });
  await publishOnce(bus, responseSubject(response), encodeResponse(response), { msgId: response.responseId });
}

test('service status - an empty bus says that nobody reads and nothing waits', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const askedAtMs = Date.now();
  const status = await readServiceStatus(cli);
  expect(status.correlator).toEqual({
    readers: 0,
    newestFrameAtMs: null,
    newestVerdictAtMs: null,
    newestVerdictDelayMs: null,
  });
  expect(status.responder).toMatchObject({ readers: 0, due: 0, unanswered: 0, newestResponseAtMs: null });
  expect(status.atMs).toBeGreaterThan(askedAtMs - 1_000);
  expect(status.atMs).toBeLessThan(Date.now() + 1_000);
});

test('service status - a verdict that a policy answers and nobody has answered is told, once it is due', async () => {
  await using nats = await startBus();
  const beganAtMs = Date.now();
  const correlator = await nats.connect('correlator');
  const asleep = await publishVerdict(correlator, { verdictId: verdictId(1) });
  const answered = await publishVerdict(correlator, { verdictId: verdictId(2) });
  await publishVerdict(correlator, { verdictId: verdictId(3), level: 'low' });
  await respond(await nats.connect('responder'), answered);
  const cli = await nats.connect('cli');
  const status = await readServiceStatus(cli, { graceMs: 0 });
  expect(status.responder).toMatchObject({ due: 2, unanswered: 1, unansweredIds: [asleep.verdictId] });
  expect(status.responder.oldestUnansweredAtMs).toBeGreaterThan(beganAtMs - 1_000);
  expect(status.responder.newestResponseAtMs).not.toBeNull();
  expect(status.cut).toBe(false);
  expect((await readServiceStatus(cli)).responder).toMatchObject({ due: 0, unanswered: 0 });
  await respond(await nats.connect('responder'), asleep);
  expect((await readServiceStatus(cli, { graceMs: 0 })).responder).toMatchObject({ due: 2, unanswered: 0 });
});

test('service status - how late the newest verdict came, and whether anybody reads', async () => {
  await using nats = await startBus();
  const beganAtMs = performance.now();
  const streamSequence = await frame(nats);
  const storedAtMs = performance.now();
  await waitFor(() => performance.now() > storedAtMs + 300);
  await publishVerdict(await nats.connect('correlator'), {
    verdictId: verdictId(1),
    evidence: [{ streamSequence, index: 0, vector: 'ipv4-source', packets: 1, process: null }],
  });
  const cli = await nats.connect('cli');
  const { correlator } = await readServiceStatus(cli);
  expect(correlator.readers).toBe(0);
  expect(correlator.newestVerdictDelayMs).toBeGreaterThanOrEqual(300);
  expect(correlator.newestVerdictDelayMs).toBeLessThan(performance.now() - beganAtMs + 1_000);

  const end = new AbortController();
  let idle = false;
  const reading = underWay(
    consumeOrdered(await nats.connect('correlator'), 'VIOLATIONS', {
      start: 'all',
      onMessage: () => undefined,
      onIdle: () => {
        idle = true;
      },
      signal: end.signal,
    }),
  );
  await waitFor(() => idle);
  expect((await readServiceStatus(cli)).correlator.readers).toBe(1);
  end.abort();
  await reading;
});

import {
  type Bus,
  consumeDurable,
  type DurableMessage,
  deadLetter,
  publishOnce,
  RESPONDER_DURABLE,
} from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readAll, startBus, tally, text } from './support.ts';

async function publishVerdicts(bus: Bus, count: number, from = 0): Promise<void> {
  const write = (index: number) =>
    publishOnce(bus, `bailiff.v1.verdicts.high.default.web.${index}`, Buffer.from(String(index)), {
      msgId: `v${index}`,
    });
  for (let start = from; start < from + count; start += 50) {
    await Promise.all(Array.from({ length: Math.min(50, from + count - start) }, (_, index) => write(start + index)));
  }
}

const pendingOf = async (admin: Bus) => {
  const info = await admin.jsm.consumers.info('VERDICTS', RESPONDER_DURABLE);
  return { unacked: info.num_ack_pending, waiting: info.num_pending };
};

test('durable - every message is worked on and acknowledged, over a killed server', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  await publishVerdicts(await nats.connect('correlator'), 300);
  const done: string[] = [];
  const end = new AbortController();
  const working = consumeDurable(await nats.connect('responder'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async (message) => {
      await new Promise((resolve) => setImmediate(resolve));
      done.push(text(message));
      return 'ack';
    },
    maxInFlight: 8,
    signal: end.signal,
  });
  await waitFor(() => done.length > 100, { intervalMs: 1 });
  await nats.restart();
  await publishVerdicts(await nats.connect('correlator'), 50, 300);
  await waitFor(() => new Set(done).size === 350, { what: 'all verdicts', state: () => done.length });
  await waitFor(async () => (await pendingOf(admin)).unacked === 0, { state: () => pendingOf(admin) });
  end.abort();
  await working;
  expect(tally(done, 350).missing).toEqual([]);
  // A killed server forgets the acks of its last moments and gives those messages again; never all of them.
  expect(done.length).toBeLessThan(2 * 350);
});

test('durable - several responders share the work, and a message in work is nobody else has', async () => {
  await using nats = await startBus();
  await publishVerdicts(await nats.connect('correlator'), 200);
  const end = new AbortController();
  const done: string[][] = [[], []];
  const working = await Promise.all(
    done.map(async (mine) => {
      const bus = await nats.connect('responder');
      return () =>
        consumeDurable(bus, 'VERDICTS', RESPONDER_DURABLE, {
          onMessage: async (message) => {
            await new Promise((resolve) => setTimeout(resolve, 2));
            mine.push(text(message));
            return 'ack';
          },
          maxInFlight: 10,
          signal: end.signal,
        });
    }),
  );
  const running = working.map((start) => start());
  await waitFor(() => done.flat().length >= 200, { state: () => done.map(({ length }) => length) });
  end.abort();
  await Promise.all(running);
  expect(tally(done.flat(), 200)).toEqual({ missing: [], twice: [] });
  for (const mine of done) expect(mine.length).toBeGreaterThan(0);
});

test('durable - never more in work than is allowed, and ending waits for them', async () => {
  await using nats = await startBus();
  await publishVerdicts(await nats.connect('correlator'), 60);
  const end = new AbortController();
  let running = 0;
  let most = 0;
  let finished = 0;
  const working = consumeDurable(await nats.connect('responder'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 10));
      running -= 1;
      finished += 1;
      return 'ack';
    },
    maxInFlight: 5,
    signal: end.signal,
  });
  await waitFor(() => finished >= 20);
  end.abort();
  await working;
  expect(running).toBe(0);
  expect(most).toBe(5);
});

test('durable - a message that is not acknowledged comes again after its delay', async () => {
  await using nats = await startBus();
  await publishVerdicts(await nats.connect('correlator'), 1);
  const times: number[] = [];
  const end = new AbortController();
  const working = consumeDurable(await nats.connect('responder'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async ({ deliveries }) => {
      times.push(performance.now());
      expect(deliveries).toBe(times.length);
      return times.length < 3 ? { nakDelayMs: 200 } : 'ack';
    },
    signal: end.signal,
  });
  await waitFor(() => times.length === 3, { what: 'three deliveries', state: () => times });
  const admin = await nats.connect('admin');
  await waitFor(async () => (await pendingOf(admin)).unacked === 0);
  end.abort();
  await working;
  expect((times[1] as number) - (times[0] as number)).toBeGreaterThan(150);
});

test('durable - what cannot be taken, and what fails for ever, goes to the dead letters with its bytes and reason', async () => {
  await using nats = await startBus();
  await publishVerdicts(await nats.connect('correlator'), 3);
  const errors: unknown[] = [];
  const end = new AbortController();
  const admin = await nats.connect('admin');
  const working = consumeDurable(await nats.connect('responder'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async (message) => {
      if (text(message) === '0') return { deadLetter: 'unknown-fingerprint', detail: 'line one\nline two' };
      if (text(message) === '1') throw new Error('always');
      return 'ack';
    },
    onError: (error) => errors.push(error),
    maxDeliveries: 2,
    signal: end.signal,
  });
  await waitFor(async () => (await readAll(admin, 'DEAD_LETTERS')).length === 2, {
    what: 'two dead letters',
    state: async () => [await pendingOf(admin), errors],
  });
  await waitFor(async () => (await pendingOf(admin)).unacked === 0);
  end.abort();
  await working;
  const letters = await readAll(admin, 'DEAD_LETTERS');
  const shown = letters.map(({ subject, data, headers }) => ({
    subject,
    data: text({ data }),
    reason: headers?.get('Bailiff-Reason'),
    detail: headers?.get('Bailiff-Detail'),
    of: headers?.get('Bailiff-Subject'),
  }));
  expect(shown).toContainEqual({
    subject: 'bailiff.v1.deadletters.verdicts.unknown-fingerprint.1',
    data: '0',
    reason: 'unknown-fingerprint',
    detail: 'line one line two',
    of: 'bailiff.v1.verdicts.high.default.web.0',
  });
  expect(shown.map(({ subject }) => subject)).toContain('bailiff.v1.deadletters.verdicts.max-deliveries.2');
  expect(errors.map(String)).toEqual(['Error: always', 'Error: always']);
});

test('dead letters - one a message and reason, however many replicas write it', async () => {
  await using nats = await startBus();
  const replicas = await Promise.all([1, 2, 3].map(() => nats.connect('correlator')));
  const letter = { stream: 'VIOLATIONS', sequence: 7, subject: 's', detail: '', data: Buffer.from('x') };
  const outcomes = await Promise.all(replicas.map((bus) => deadLetter(bus, { ...letter, reason: 'foreign-pod' })));
  expect(outcomes.filter(({ outcome }) => outcome === 'stored')).toHaveLength(1);
  await deadLetter(replicas[0] as Bus, { ...letter, reason: 'truncated' });
  const letters = await readAll(await nats.connect('cli'), 'DEAD_LETTERS');
  expect(letters.map(({ subject }) => subject)).toEqual([
    'bailiff.v1.deadletters.violations.foreign-pod.7',
    'bailiff.v1.deadletters.violations.truncated.7',
  ]);
});

test('durable - waits for its stream, and an identity that may not is told so', async () => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const info = await admin.jsm.consumers.info('VERDICTS', RESPONDER_DURABLE);
  await admin.jsm.consumers.delete('VERDICTS', RESPONDER_DURABLE);
  await publishVerdicts(await nats.connect('correlator'), 1);
  const errors: { code?: string }[] = [];
  const seen: DurableMessage[] = [];
  const end = new AbortController();
  const working = consumeDurable(await nats.connect('responder'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async (message) => {
      seen.push(message);
      return 'ack';
    },
    onError: (error) => errors.push(error as { code?: string }),
    signal: end.signal,
  });
  await waitFor(() => errors.some(({ code }) => code === 'BUS_NO_STREAM'), { state: () => errors });
  await admin.jsm.consumers.add('VERDICTS', info.config);
  await waitFor(() => seen.length === 1);
  end.abort();
  await working;
  const forbidden = consumeDurable(await nats.connect('reader'), 'VERDICTS', RESPONDER_DURABLE, {
    onMessage: async () => 'ack',
    signal: AbortSignal.timeout(10_000),
  });
  await expect(forbidden).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
});

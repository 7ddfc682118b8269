// Upgrade of the services: responder, siem-relay and the CLI of this checkout on the streams,
// buckets and Redis keys that a recorded version left.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, streamInfo } from '@bailiff/bus';
import type { Response, Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { headers as newHeaders } from '@nats-io/nats-core';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { configSchema as relaySchema } from '../../apps/siem-relay/src/config.ts';
import { start as startRelay } from '../../apps/siem-relay/src/siem-relay.ts';
import { readAll } from '../support/bus.ts';
import { Services } from '../support/service.ts';
import { ofStream } from '../versions/readers.ts';
import { REDIS, type RecordedMessage, readMessages, recordedVersions } from '../versions/recording.ts';
import { Rig } from './responder/rig.ts';

/** Prefix of the responder's keys by default. */
const PREFIX = 'bailiff';

/** Stores a recorded message again, without the revision that its writer had seen. */
async function store(bus: Bus, { subject, data, headers, stream }: RecordedMessage): Promise<void> {
  const kept = newHeaders();
  for (const [name, value] of Object.entries(headers)) if (!name.startsWith('Nats-Expected')) kept.set(name, value);
  const ack = JSON.parse((await bus.nc.request(subject, data, { headers: kept, timeout: 10_000 })).string()) as {
    error?: object;
  };
  // A schema of this checkout exists already.
  if (ack.error && stream !== 'KV_bailiff_schemas') throw new Error(`${subject}: ${JSON.stringify(ack.error)}`);
}

describe.each(recordedVersions())('services on the bus of %s', (version) => {
  const messages = readMessages(version);
  const verdicts = ofStream(messages, 'VERDICTS').map(({ value }) => value as Verdict);
  const { verdictId, pod } = verdicts.find(({ rule }) => rule === 'repeated-spoofing') as Verdict;
  const [podUid, podName] = [pod?.uid ?? '', pod?.name ?? ''];
  let rig: Rig;
  let redis: Redis;
  let services: Services;
  beforeAll(async () => {
    rig = await Rig.start();
    services = new Services();
    for (const message of messages.filter(({ stream }) => stream.startsWith('KV_'))) await store(rig.bus, message);
    // Verdicts stored from now on have a response by the recorded policies.
    await rig.settle();
    for (const stream of ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'DEAD_LETTERS'])
      for (const message of ofStream(messages, stream)) await store(rig.bus, message);
    redis = new Redis({ path: rig.redis.url.replace('unix://', ''), maxRetriesPerRequest: null });
    for (const { subject, data } of ofStream(messages, REDIS)) await redis.restore(subject, 0, data);
  });
  afterAll(async () => {
    redis?.disconnect();
    await services?.[Symbol.asyncDispose]();
    await rig?.[Symbol.asyncDispose]();
  });

  it('responder - repeats no finished response, accepts the jobs in Redis, and acts on a new verdict', async () => {
    const queue = new Queue('respond-observe', { connection: redis, prefix: PREFIX });
    const delayed = await queue.getDelayed();
    expect(delayed.length).toBeGreaterThan(0);
    const responder = await rig.start();
    for (const job of delayed) await job.promote();
    const ran = async () => {
      const now = await Promise.all(delayed.map(({ id }) => queue.getJob(id ?? '')));
      return now.every((job, index) => (job?.attemptsStarted ?? 1) > (delayed[index]?.attemptsStarted ?? 0));
    };
    await waitFor(ran, { what: 'the recorded jobs to run', state: () => responder.log().slice(-5) });
    expect(await responder.metric('job_failures_total')).toBe(0);

    const verdict = await rig.verdict(rig.pod(), { level: 'high' });
    await rig.until(verdict, 'label', 'succeeded');
    // A label of the recording may have expired meanwhile.
    const recorded = new Set(ofStream(messages, 'RESPONSES').map(({ value }) => (value as Response).responseId));
    const repeated = rig.responses.filter(
      (response) =>
        response.verdictId !== verdict.verdictId && response.phase !== 'undone' && !recorded.has(response.responseId),
    );
    expect(repeated).toEqual([]);
    expect(recorded.size).toBeGreaterThan(0);
    expect(await streamInfo(rig.bus, 'DEAD_LETTERS').then(({ state }) => state.messages)).toBe(
      ofStream(messages, 'DEAD_LETTERS').length,
    );
    await responder.stop();
  });

  it('siem-relay - the same events, and no dead letter', async () => {
    const password = path.join(rig.directory, 'siem-relay');
    writeFileSync(password, 'password-of-siem-relay');
    const bus = ['--nats-url', rig.nats.url, '--nats-user', 'siem-relay', '--nats-password-file', password];
    const argv = [...bus, '--formats', 'ocsf,ecs,cef', '--metrics-address', '127.0.0.1:0'];
    await services.start({ name: 'siem-relay', argv, schema: relaySchema, start: startRelay });
    const count = (subjects: readonly string[]) => {
      const counts: Record<string, number> = {};
      for (const subject of subjects) counts[subject] = (counts[subject] ?? 0) + 1;
      return counts;
    };
    const recorded = Object.entries(count(ofStream(messages, 'SIEM').map(({ subject }) => subject)));
    expect(recorded.length).toBeGreaterThan(2);
    let now: Record<string, number> = {};
    const isComplete = async () => {
      now = count((await readAll(rig.bus, 'SIEM')).map(({ subject }) => subject));
      return recorded.every(([subject, events]) => (now[subject] ?? 0) >= events);
    };
    await waitFor(isComplete, { what: 'the recorded events', intervalMs: 200, state: () => ({ now, recorded }) });
    const deadLetters = await readAll(rig.bus, 'DEAD_LETTERS');
    expect(deadLetters).toHaveLength(ofStream(messages, 'DEAD_LETTERS').length);
  });

  it.each<[string[], number[]]>([
    [['verdicts', '--since', 'all', '--json'], [0]],
    [['events', '--since', 'all', '--json'], [0]],
    [['responses', '--since', 'all', '--json'], [0]],
    [['explain', verdictId, '--json'], [0]],
    [['timeline', podUid, '--since', 'all', '--json'], [0]],
    [['quarantine', 'list', '--json'], [0]],
    [['config', 'list', '--json'], [0]],
    [['policy', 'list', '--json'], [0]],
    // Nothing runs any more.
    [['status', '--json'], [7]],
  ])('bailiff %j reads it', async (args, exitCodes) => {
    const password = path.join(rig.directory, 'cli');
    writeFileSync(password, 'password-of-cli');
    const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: password };
    const { exitCode, stdout, stderr } = await runCli(args, { env });
    expect([exitCode, stderr]).toEqual([expect.toBeOneOf(exitCodes), '']);
    const [command] = args;
    const lines = stdout.split('\n').filter(Boolean);
    if (command === 'verdicts') for (const verdict of verdicts) expect(stdout).toContain(verdict.verdictId);
    if (command === 'events' || command === 'responses') expect(lines.length).toBeGreaterThan(2);
    if (command === 'explain') expect(stdout).toContain(verdictId);
    if (command === 'timeline') expect(stdout).toContain(podName);
    if (command === 'policy') expect(stdout).toContain('escape-guard');
    if (command === 'config') expect(stdout).toContain('by-owner');
    if (command === 'status') expect(stdout).toContain('node-0');
  });
});

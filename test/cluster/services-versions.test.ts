// Upgrade of the services: responder, siem-relay and the CLI of this checkout on the streams,
// buckets and Redis keys that a recorded version left.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, streamInfo, violationNode } from '@bailiff/bus';
import type { Response, Verdict, ViolationFrame } from '@bailiff/schemas';
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
import { type RecordedMessage, readMessages, recordedVersions } from '../versions/recording.ts';
import { restoreJobs, retimed } from '../versions/retimed.ts';
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

/** A bus of its own with the messages of a recording. */
async function startRig(messages: readonly RecordedMessage[]): Promise<Rig> {
  const rig = await Rig.start();
  try {
    for (const message of messages.filter(({ stream }) => stream.startsWith('KV_'))) await store(rig.bus, message);
    // The server copies the configuration some time later. Verdicts stored after that have a response
    // by the recorded policies.
    const changes = ofStream(messages, 'KV_bailiff_config').length;
    const isLogged = async () => (await streamInfo(rig.bus, 'CONFIG_LOG')).state.messages === changes;
    await waitFor(isLogged, { what: 'the recorded configuration to be in CONFIG_LOG' });
    await rig.settle();
    for (const stream of ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'DEAD_LETTERS'])
      for (const message of ofStream(messages, stream)) await store(rig.bus, message);
    return rig;
  } catch (error) {
    await rig[Symbol.asyncDispose]();
    throw error;
  }
}

/** Writes the password of a user of the bus. */
function passwordFile(rig: Rig, user: string): string {
  const file = path.join(rig.directory, user);
  writeFileSync(file, `password-of-${user}`);
  return file;
}

describe.each(recordedVersions())('services on the bus of %s', (version) => {
  const messages = retimed(readMessages(version));
  const verdicts = ofStream(messages, 'VERDICTS').map(({ value }) => value as Verdict);

  it('responder - repeats no finished response, accepts the jobs in Redis, and acts on a new verdict', async () => {
    await using rig = await startRig(messages);
    const redis = new Redis({ path: rig.redis.url.replace('unix://', ''), maxRetriesPerRequest: null });
    using _ = { [Symbol.dispose]: () => redis.disconnect() };
    await restoreJobs(redis, messages);
    const queue = new Queue('respond-observe', { connection: redis, prefix: PREFIX });
    const recordedJobs = (await queue.getDelayed()).map(({ id }) => id ?? '');
    expect(recordedJobs.length).toBeGreaterThan(0);
    const responder = await rig.start();
    const delayed = await queue.getDelayed();
    expect(delayed.map(({ id }) => id)).toEqual(expect.arrayContaining(recordedJobs));
    for (const id of recordedJobs) await (await queue.getJob(id))?.promote();
    const ran = async () => {
      const jobs = await Promise.all(recordedJobs.map((id) => queue.getJob(id)));
      return jobs.every((job) => job !== undefined && job.attemptsStarted > 0);
    };
    await waitFor(ran, { what: 'the recorded jobs to run', state: () => responder.log().slice(-5) });
    for (const name of ['job_failures_total', 'orphan_jobs_total']) expect(await responder.metric(name), name).toBe(0);

    const verdict = await rig.verdict(rig.pod(), { level: 'high' });
    await rig.until(verdict, 'label', 'succeeded');
    const recorded = new Set(ofStream(messages, 'RESPONSES').map(({ value }) => (value as Response).responseId));
    const repeated = rig.responses.filter(
      ({ verdictId, responseId }) => verdictId !== verdict.verdictId && !recorded.has(responseId),
    );
    expect(repeated).toEqual([]);
    expect(recorded.size).toBeGreaterThan(0);
    expect(await streamInfo(rig.bus, 'DEAD_LETTERS').then(({ state }) => state.messages)).toBe(
      ofStream(messages, 'DEAD_LETTERS').length,
    );
  });

  it('siem-relay - the same events, and no dead letter', async () => {
    await using rig = await startRig(messages);
    await using services = new Services();
    const bus = ['--nats-url', rig.nats.url, '--nats-user', 'siem-relay'];
    const password = ['--nats-password-file', passwordFile(rig, 'siem-relay')];
    const argv = [...bus, ...password, '--formats', 'ocsf,ecs,cef', '--metrics-address', '127.0.0.1:0'];
    await services.start({ name: 'siem-relay', argv, schema: relaySchema, start: startRelay });
    const count = (subjects: readonly string[]) => {
      const counts: Record<string, number> = {};
      for (const subject of subjects) counts[subject] = (counts[subject] ?? 0) + 1;
      return counts;
    };
    // Earlier relays made events of frames that name another node than their subject.
    const foreign = ofStream(messages, 'VIOLATIONS').flatMap(({ subject, value, sequence }) =>
      (value as ViolationFrame).nodeName === violationNode(subject) ? [] : sequence,
    );
    const frameOf = (uid = '') => Number(/^violations-[^-]+-(\d+)-/.exec(uid)?.[1]);
    const events = ofStream(messages, 'SIEM').filter((one) => !foreign.includes(frameOf(one.headers['Bailiff-Uid'])));
    const recorded = Object.entries(count(events.map(({ subject }) => subject)));
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

  describe('bailiff', () => {
    const { verdictId, pod } = verdicts.find(({ rule }) => rule === 'repeated-spoofing') as Verdict;
    const [podUid, podName] = [pod?.uid ?? '', pod?.name ?? ''];
    let rig: Rig;
    beforeAll(async () => {
      rig = await startRig(messages);
    });
    afterAll(() => rig?.[Symbol.asyncDispose]());

    // These commands only read, so the rows share a bus.
    it.each<[string[], number]>([
      [['verdicts', '--since', 'all', '--json'], 0],
      [['events', '--since', 'all', '--json'], 0],
      [['responses', '--since', 'all', '--json'], 0],
      [['explain', verdictId, '--json'], 0],
      [['timeline', podUid, '--since', 'all', '--json'], 0],
      [['quarantine', 'list', '--json'], 0],
      [['config', 'list', '--json'], 0],
      [['policy', 'list', '--json'], 0],
      // The recorded nodes do not enforce the runtime policies: their kernel ran no BPF-LSM programs.
      [['status', '--stale-after', '1h', '--json'], 10],
    ])('%j reads it', async (args, expected) => {
      const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: passwordFile(rig, 'cli') };
      const { exitCode, stdout, stderr } = await runCli(args, { env });
      expect([exitCode, stderr]).toEqual([expected, '']);
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
});

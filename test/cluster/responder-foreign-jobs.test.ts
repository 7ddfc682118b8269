// A client with the password of Redis can add jobs. They name a task and nothing else: what it is, and
// whether it has ended, is in the streams.
import { publishOnce, responseSubject } from '@bailiff/bus';
import { responseIdOf, taskIdOf } from '@bailiff/response';
import { encodeResponse } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { acting, Rig } from './responder/rig.ts';

let rig: Rig;
let responder: RunningService;
let thief: Redis;
let added = 0;

beforeAll(async () => {
  rig = await Rig.start();
  await rig.policies({
    ask: acting('ask', [{ action: 'quarantine', expires: '10m' }], { approval: 'required' }),
    mark: acting('mark', [{ action: 'label' }]),
    remove: acting('remove', [{ action: 'delete', after: '2s' }]),
  });
  responder = await rig.start();
  thief = new Redis({ path: rig.redis.url.replace('unix://', ''), maxRetriesPerRequest: null });
  thief.on('error', () => undefined);
}, 60_000);
afterAll(async () => {
  thief?.disconnect();
  await rig?.[Symbol.asyncDispose]();
});

const isJob = (key: string) => /^bailiff:respond-delete:[^:]{20,}$/.test(key);
const orphans = () => responder.metric('orphan_jobs_total');

/** Adds a job, and waits until the responder has dropped it. */
async function forge(action: string, job: unknown): Promise<void> {
  const before = await orphans();
  const queue = new Queue(`respond-${action}`, { connection: thief, prefix: 'bailiff' });
  queue.on('error', () => undefined);
  added += 1;
  await queue.add('do', job as object, { jobId: `forged-${added}` });
  await waitFor(async () => (await orphans()) > before, { what: `the job ${JSON.stringify(job)} to be dropped` });
}

const jobOf = (taskId: string, verdictId: string, policy: string, sequence: number) => ({
  kind: 'do',
  taskId,
  action: 'quarantine',
  verdictId,
  policy,
  sequence,
  tries: 0,
  failingSinceMs: 0,
});

test('a forged job - with the sequence or the id of another verdict ends no task that waits', async () => {
  const verdict = await rig.verdict(rig.pod(), { rule: 'ask' });
  const other = await rig.verdict(rig.pod(), { rule: 'ask' });
  const pending = await rig.until(verdict, 'quarantine', 'pending');
  await rig.until(other, 'quarantine', 'pending');
  const taskId = taskIdOf(pending);
  await forge('quarantine', jobOf(taskId, verdict.verdictId, 'ask', 99));
  await forge('quarantine', jobOf(taskId, other.verdictId, 'ask', 2));
  await forge('quarantine', jobOf(taskId, verdict.verdictId, 'ask', 2));
  expect(rig.of(verdict).map(({ phase }) => phase)).toEqual(['pending']);
});

test('a forged job - control: the same job ends a task whose verdict the stream does not have', async () => {
  const { uid, namespace, name } = rig.pod();
  const pod = { podUid: uid, podNamespace: namespace, podName: name };
  const verdict = rig.verdictOf(null, { rule: 'ask' });
  const names = {
    verdictId: verdict.verdictId,
    policy: 'ask',
    action: 'quarantine' as const,
    phase: 'pending' as const,
  };
  const record = sampleResponse({ ...pod, ...names, level: 'medium' });
  const pending = { ...record, responseId: responseIdOf(record, 'pending') };
  await publishOnce(rig.bus, responseSubject(pending), encodeResponse(pending));
  await rig.until(verdict, 'quarantine', 'pending');
  await forge('quarantine', jobOf(taskIdOf(pending), verdict.verdictId, 'ask', 99));
  expect(await rig.until(verdict, 'quarantine', 'failed')).toMatchObject({ reasonCode: 'verdict-gone' });
});

test.each<[string, unknown]>([
  ['nothing', null],
  ['a text', 'x'],
  ['a list', []],
  ['no field', {}],
  ['an unknown kind', { ...jobOf('x', 'x', 'x', 1), kind: 'other' }],
  ['a negative sequence', jobOf('x', 'x', 'x', -1)],
  ['no sequence', jobOf('x', 'x', 'x', 0)],
  ['a sequence that no stream has', jobOf('x', 'x', 'x', 1e300)],
  ['a name of 1 MB', jobOf('x'.repeat(1_000_000), 'x', 'x', 1)],
])('a forged job - with %s is dropped once, and the next response is carried out', async (_, job) => {
  await forge('label', job);
  const verdict = await rig.verdict(rig.pod(), { rule: 'mark' });
  await rig.until(verdict, 'label', 'succeeded');
  expect(await responder.metric('job_failures_total')).toBe(0);
});

test.each([
  ['what Redis says of its failures', true],
  ['control: an honest job', false],
])('a job - does not decide how long the owner of a pod protects it from removal: %s', async (_, isForged) => {
  const name = isForged ? 'forged' : 'honest';
  const pod = rig.pod({ owner: rig.daemonSet(name) });
  const fault = { verb: 'get', resource: 'daemonsets', name, status: 503, times: 2 };
  rig.api.faults.inject(fault);
  const verdict = await rig.verdict(pod, { rule: 'remove' });
  if (isForged) {
    const key = await waitFor(async () => (await thief.keys('bailiff:respond-delete:*')).find(isJob), {
      what: 'its job',
    });
    const job = JSON.parse((await thief.hget(key, 'data')) as string);
    await thief.hset(key, 'data', JSON.stringify({ ...job, failingSinceMs: 1 }));
  }
  const end = await rig.until(verdict, 'delete', ['refused', 'succeeded', 'failed']);
  expect([end.phase, end.reasonCode]).toEqual(['refused', 'protected-owner-kind']);
  expect(rig.changesOf(pod, 'delete')).toEqual([]);
});

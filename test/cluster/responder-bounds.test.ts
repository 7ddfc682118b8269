// Bounds across replicas: budgets, storms, cooldowns and approvals are derived from RESPONSES, so
// two responders share them. With an API server that fails in every way, no action is lost or
// repeated, and failures are reported.

import { publishOnce, responseSubject } from '@bailiff/bus';
import { readInstances } from '@bailiff/insight';
import { approvalOf, denialOf } from '@bailiff/response';
import { encodeResponse, type Response, type Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acting, PATIENT, Rig, type RigPod } from './responder/rig.ts';

const budget = (more: Record<string, unknown>) => ({
  budget: { window: '10m', maxPods: 100_000, maxPercent: 100, maxNodes: 100, ...more },
});
const TOO_LATE_MS = PATIENT.apiTimeoutMs + 500;

describe('responder bounds', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    const remove = [{ action: 'delete' }];
    await rig.policies({
      remove: acting('remove', remove),
      percent: acting('percent', remove, budget({ maxPercent: 40 })),
      healthy: acting('healthy', remove, { ...budget({}), minHealthyReplicas: 3 }),
      storm: acting('storm', remove, { ...budget({}), deleteStorm: { deletes: 3, window: '10m' } }),
      ask: acting('ask', remove, { approval: 'required' }),
      cool: acting('cool', remove, { cooldown: '2s' }),
      faulty: acting('faulty', [{ action: 'observe' }, { action: 'label' }, { action: 'delete' }]),
      isolate: acting('isolate', [{ action: 'quarantine' }]),
    });
    // Two replicas, as a deployment runs them.
    await rig.start({ giveUpAfterMs: 60_000 });
    await rig.start({ giveUpAfterMs: 60_000 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  const ended = ['succeeded', 'refused', 'failed'] as const;
  const endOf = (verdict: Verdict, action = 'delete', timeoutMs?: number) =>
    rig.until(verdict, action, [...ended], timeoutMs);
  const publish = (response: Response) => publishOnce(rig.bus, responseSubject(response), encodeResponse(response));
  async function verdictsFor(pods: RigPod[], rule: string): Promise<Verdict[]> {
    return Promise.all(pods.map((pod) => rig.verdict(pod, { rule })));
  }
  const succeeded = (records: Response[]) => records.filter(({ phase }) => phase === 'succeeded');

  it('per cent - for twelve guilty pods of ten replicas, two responder replicas delete exactly four', async () => {
    const owner = rig.replicaSet('shared', 10);
    const pods = Array.from({ length: 12 }, () => rig.pod({ owner }));
    const verdicts = await verdictsFor(pods, 'percent');
    const ends = await Promise.all(verdicts.map((verdict) => endOf(verdict)));
    expect(succeeded(ends)).toHaveLength(4);
    expect(ends.filter(({ reasonCode }) => reasonCode === 'budget-exhausted')).toHaveLength(8);
    expect(pods.flatMap((pod) => rig.changesOf(pod, 'delete'))).toHaveLength(4);
    expect(ends[0]?.ownerUid).toBe(owner.uid);
  });

  it('minimum healthy - removals that the count does not include yet are subtracted', async () => {
    const owner = rig.replicaSet('small', 5);
    const pods = Array.from({ length: 5 }, () => rig.pod({ owner }));
    const ends = await Promise.all((await verdictsFor(pods, 'healthy')).map((verdict) => endOf(verdict)));
    expect(succeeded(ends)).toHaveLength(2);
    expect(ends.filter(({ reasonCode }) => reasonCode === 'below-min-healthy')).toHaveLength(3);
  });

  it('storm - three deletes of one owner, then its pods are quarantined instead', async () => {
    const owner = rig.replicaSet('storming', 20);
    const pods = Array.from({ length: 5 }, () => rig.pod({ owner }));
    const verdicts = await verdictsFor(pods, 'storm');
    const ends = await Promise.all(verdicts.map((verdict) => endOf(verdict)));
    expect(succeeded(ends)).toHaveLength(3);
    const stopped = verdicts.filter((_verdict, index) => ends[index]?.reasonCode === 'delete-storm');
    expect(stopped).toHaveLength(2);
    for (const verdict of stopped) {
      const quarantine = await endOf(verdict, 'quarantine');
      expect(quarantine.phase).toBe('succeeded');
      expect(quarantine.expiresAt).not.toBeNull();
      expect(await rig.quarantined()).toContain(verdict.pod?.uid);
    }
    expect(pods.flatMap((pod) => rig.changesOf(pod, 'delete'))).toHaveLength(3);
  });

  it('approval - waits for an operator; an approval continues it, a denial ends it', async () => {
    const [yes, no, open] = [rig.pod(), rig.pod(), rig.pod()];
    const [first, second, third] = (await verdictsFor([yes, no, open], 'ask')) as [Verdict, Verdict, Verdict];
    const asked = await Promise.all([first, second, third].map((verdict) => rig.until(verdict, 'delete', 'pending')));
    expect(asked[0]?.reasonCode).toBe('approval-required');
    expect([yes, no, open].flatMap((pod) => rig.changesOf(pod))).toEqual([]);
    await publish(approvalOf(asked[0] as Response, { by: 'anna', nowMicros: Date.now() * 1000 }));
    await publish(denialOf(asked[1] as Response, { by: 'anna', nowMicros: Date.now() * 1000, note: 'a test' }));
    expect((await endOf(first)).phase).toBe('succeeded');
    expect(await endOf(second)).toMatchObject({ phase: 'refused', reasonCode: 'approval-denied' });
    expect(rig.podNow(no)).not.toBeNull();
    expect(rig.of(third).map(({ phase }) => phase)).toEqual(['pending']);
  });

  it('cooldown - the second deletion of an owner waits, and is not refused', async () => {
    const owner = rig.replicaSet('cooling', 4);
    const pods = [rig.pod({ owner }), rig.pod({ owner })];
    const verdicts = await verdictsFor(pods, 'cool');
    const ends = await Promise.all(verdicts.map((verdict) => endOf(verdict)));
    expect(succeeded(ends)).toHaveLength(2);
    // Between the starts: the duration of the call does not matter.
    const began = verdicts.map((verdict) => rig.of(verdict).find(({ phase }) => phase === 'started')?.recordedAt ?? 0);
    const [a, b] = began.sort((x, y) => x - y) as [number, number];
    expect(b - a).toBeGreaterThan(1_990_000);
  });

  it('two replicas - each of many verdicts gets one response', async () => {
    const pods = Array.from({ length: 60 }, () => rig.pod());
    const verdicts = await verdictsFor(pods, 'faulty');
    for (const verdict of verdicts) {
      for (const action of ['observe', 'delete']) expect((await endOf(verdict, action)).phase).toBe('succeeded');
      // The label may find its pod deleted already: then it is refused, with the reason.
      expect(['', 'pod-gone', 'found-done']).toContain((await endOf(verdict, 'label')).reasonCode);
      expect(new Set(rig.of(verdict).map((r) => r.responseId)).size).toBe(rig.of(verdict).length);
    }
    for (const pod of pods) expect(rig.changesOf(pod, 'delete').filter(({ status }) => status === 200)).toHaveLength(1);
  });

  const faults: [name: string, fault: Record<string, unknown>, times: number][] = [
    ['409', { status: 409 }, 2],
    ['410', { status: 410 }, 2],
    ['429', { status: 429, retryAfterSeconds: 0 }, 2],
    ['500', { status: 500 }, 3],
    ['503', { status: 503 }, 3],
    ['504', { status: 504 }, 3],
    ['a dropped connection', { drop: true }, 3],
    ['no response in time', { delayMs: TOO_LATE_MS }, 1],
    ['an expired token', { status: 401 }, 2],
  ];
  it.each(faults)('API server - %s on the call: retried, done once', async (_name, fault, times) => {
    const pod = rig.pod();
    const armed = rig.api.faults.inject({ verb: 'delete', resource: 'pods', name: pod.name, times, ...fault });
    const verdict = await rig.verdict(pod, { rule: 'remove' });
    expect((await endOf(verdict)).phase).toBe('succeeded');
    expect(armed.hits).toBe(times);
    await waitFor(() => rig.podNow(pod) === null, { what: 'the pod to be gone' });
    expect(rig.of(verdict).map(({ phase }) => phase)).toEqual(['started', 'succeeded']);
  });

  it.each(['500', 'drop', 'timeout'])('API server - %s on the read: retried, done once', async (kind) => {
    const pod = rig.pod();
    const fault = kind === '500' ? { status: 500 } : kind === 'drop' ? { drop: true } : { delayMs: TOO_LATE_MS };
    rig.api.faults.inject({ verb: 'get', resource: 'pods', name: pod.name, times: 2, ...fault });
    const verdict = await rig.verdict(pod, { rule: 'remove' });
    expect((await endOf(verdict)).phase).toBe('succeeded');
    expect(rig.changesOf(pod, 'delete')).toHaveLength(1);
  });

  it.each(['delete', 'patch', 'create'])(
    'API server - it did %s but the response was lost: detected as done, not repeated',
    async (verb) => {
      const pod = rig.pod();
      const [rule, action, resource] = {
        delete: ['remove', 'delete', 'pods'],
        patch: ['isolate', 'quarantine', 'pods'],
        create: ['isolate', 'quarantine', 'networkpolicies'],
      }[verb] as [string, string, string];
      const where = verb === 'create' ? { resource } : { resource, name: pod.name };
      const armed = rig.api.faults.inject({ verb, ...where, times: 1, drop: true, when: 'after' });
      const verdict = await rig.verdict(pod, { rule });
      expect((await endOf(verdict, action)).phase).toBe('succeeded');
      expect(armed.hits).toBe(1);
      if (verb === 'delete') expect(rig.changesOf(pod, 'delete')).toHaveLength(1);
      if (verb === 'patch') expect(rig.changesOf(pod, 'patch').filter(({ status }) => status === 200)).toHaveLength(0);
      expect(rig.of(verdict, action).filter(({ phase }) => phase === 'succeeded')).toHaveLength(1);
    },
  );

  it('API server - unavailable for a while: everything waits and is done when it is back', async () => {
    const pods = Array.from({ length: 5 }, () => rig.pod());
    rig.api.faults.expireTokens();
    const verdicts = await verdictsFor(pods, 'remove');
    await waitFor(() => rig.api.requests.count({ code: 401 }) >= 10, { what: 'attempts with an expired token' });
    expect(verdicts.flatMap((verdict) => rig.of(verdict))).toEqual([]);
    rig.api.faults.restoreTokens();
    for (const verdict of verdicts) expect((await endOf(verdict)).phase).toBe('succeeded');
  });

  it('latency - from the verdict to the call at the API server', async () => {
    const pods = Array.from({ length: 40 }, () => rig.pod());
    const latencies: number[] = [];
    for (const pod of pods) {
      const verdict = await rig.verdict(pod, { rule: 'remove' });
      await endOf(verdict);
      latencies.push((rig.changesOf(pod, 'delete')[0]?.timeMs ?? Number.NaN) - verdict.triggeredAt / 1000);
    }
    latencies.sort((a, b) => a - b);
    // Only the fastest one: no step may wait for a timer. The benchmark measures the latency
    // itself, on an idle machine.
    expect(latencies[0], `sorted: ${latencies.map(Math.round).join(' ')}`).toBeLessThan(100);
  });
});

it('responder - whose credential the API server refuses: not ready without any verdict, until it is accepted', async () => {
  await using rig = await Rig.start();
  await rig.policies({ remove: acting('remove', [{ action: 'delete' }]) });
  const responder = await rig.start();
  const check = async () => (await responder.ready()).checks['kubernetes'];
  expect(await check()).toBe('ok');
  rig.api.faults.expireTokens();
  // The rights are reviewed when a policy changes, and once a minute.
  await rig.policies({ remove: acting('remove', [{ action: 'label' }, { action: 'delete' }]) });
  await waitFor(check, {
    what: 'the refusal',
    until: (text) => text?.startsWith('the API server refuses the credential: ') ?? false,
  });
  expect((await responder.ready()).ok).toBe(false);
  rig.api.faults.restoreTokens();
  await waitFor(check, { what: 'its end', until: (text) => text === 'ok' });
});

describe('responder bounds - the last place in a budget', () => {
  it('pods - many verdicts, two replicas, and exactly as many deletions as the budget allows', async () => {
    await using rig = await Rig.start();
    await rig.policies({ few: acting('few', [{ action: 'delete' }], budget({ maxPods: 3, maxPodsPerNamespace: 3 })) });
    await rig.start();
    await rig.start();
    const pods = Array.from({ length: 20 }, () => rig.pod());
    const verdicts = await Promise.all(pods.map((pod) => rig.verdict(pod, { rule: 'few' })));
    const ends = await Promise.all(verdicts.map((verdict) => rig.until(verdict, 'delete', ['succeeded', 'refused'])));
    expect(ends.filter(({ phase }) => phase === 'succeeded')).toHaveLength(3);
    expect(rig.changes.filter(({ verb, resource }) => verb === 'delete' && resource === 'pods')).toHaveLength(3);
    // A new process has the same state: the budget is still spent, although Redis is empty.
    await rig.redis.flush();
    const late = await rig.verdict(rig.pod(), { rule: 'few' });
    expect((await rig.until(late, 'delete', ['succeeded', 'refused'])).reasonCode).toBe('budget-exhausted');
  });

  it('give up - after its limit a task is recorded as failed, with the server’s message', async () => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', [{ action: 'delete' }]) });
    await rig.start({ giveUpAfterMs: 500 });
    const [pod, unseen] = [rig.pod(), rig.pod()];
    rig.api.faults.inject({ verb: 'delete', resource: 'pods', name: pod.name, status: 503, times: 1e6 });
    rig.api.faults.inject({ verb: 'get', resource: 'pods', name: unseen.name, status: 403, times: 1e6 });
    const failed = await rig.until(await rig.verdict(pod, { rule: 'remove' }), 'delete', 'failed');
    expect(failed).toMatchObject({ reasonCode: 'kube-server', apiStatus: 503, apiVerb: 'DELETE' });
    expect(failed.attempt).toBeGreaterThanOrEqual(3);
    const blind = await rig.until(await rig.verdict(unseen, { rule: 'remove' }), 'delete', 'failed');
    expect(blind).toMatchObject({ reasonCode: 'kube-forbidden', apiVerb: '' });
    expect(rig.changesOf(unseen)).toEqual([]);
  });

  it.each([
    ['expired tokens', null],
    ['no connection', { drop: true }],
    ['failing reads', { status: 500 }],
    ['throttled reads', { status: 429 }],
  ] as const)('give up - not while the API server is away: %s', async (_, fault) => {
    await using rig = await Rig.start();
    await rig.policies({ away: acting('away', [{ action: 'quarantine' }, { action: 'evict', after: '1ms' }]) });
    await rig.start({ giveUpAfterMs: 1_000, budgetGiveUpAfterMs: 1_000 });
    const pod = rig.pod();
    if (fault) rig.api.faults.inject({ ...fault, times: 1e6 });
    else rig.api.faults.expireTokens();
    const verdict = await rig.verdict(pod, { rule: 'away' });
    await waitFor(() => rig.api.requests.count({}) >= 20, { what: 'further attempts' });
    const sinceMs = Date.now();
    await waitFor(() => Date.now() - sinceMs > 2_000, { what: 'twice the bound' });
    expect(rig.of(verdict)).toEqual([]);
    rig.api.faults.clear();
    // That time is none for which the task itself has failed.
    const once = [
      rig.api.faults.inject({ verb: 'get', resource: 'pods', name: pod.name, status: 403, times: 1 }),
      rig.api.faults.inject({ verb: 'create', resource: 'networkpolicies', status: 500, times: 1 }),
      rig.api.faults.inject({ resource: 'pods', subresource: 'eviction', name: pod.name, status: 429, times: 1 }),
    ];
    expect(await rig.until(verdict, 'quarantine', ['succeeded', 'failed'])).toMatchObject({ reasonCode: '' });
    expect((await rig.until(verdict, 'evict', ['succeeded', 'failed'])).phase).toBe('succeeded');
    expect(once.map(({ hits }) => hits)).toEqual([1, 1, 1]);
  });

  it('minimum healthy - holds after the API server was away, if it then fails to read the owner once', async () => {
    await using rig = await Rig.start();
    await rig.policies({ healthy: acting('healthy', [{ action: 'delete' }], { minHealthyReplicas: 3 }) });
    await rig.start({ giveUpAfterMs: 1_000 });
    const removed = async (atEnd: () => object) => {
      rig.api.faults.expireTokens();
      const before = rig.api.requests.count({ code: 401 });
      const verdict = await rig.verdict(rig.pod({ owner: rig.replicaSet(`set-${before}`, 3) }), { rule: 'healthy' });
      const sinceMs = Date.now();
      await waitFor(() => Date.now() - sinceMs > 1_000, { what: 'twice the patience' });
      expect(rig.api.requests.count({ code: 401 })).toBeGreaterThan(before);
      rig.api.faults.restoreTokens();
      atEnd();
      return (await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'])).reasonCode;
    };
    const failing = (times: number) =>
      rig.api.faults.inject({ verb: 'get', resource: 'replicasets', status: 503, times });
    expect(await removed(() => failing(1))).toBe('below-min-healthy');
    // Control: an owner that cannot be read for longer protects nothing.
    expect(await removed(() => failing(1e6))).toBe('');
  });
});

describe('responder bounds - settings of the process', () => {
  it('namespace, dryRun - no policy acts in the own namespace, nor anywhere in a dry run', async () => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', [{ action: 'delete' }], { protectedNamespaces: [] }) });
    const endIn = async (namespace: string) => {
      const pod = rig.pod({ namespace });
      const verdict = await rig.verdict(pod, { rule: 'remove' });
      const { phase, reasonCode } = await rig.until(verdict, 'delete', ['succeeded', 'refused', 'dryrun']);
      return [phase, reasonCode, rig.changesOf(pod, 'delete').length];
    };
    const stop = await rig.start({ namespace: 'shop' });
    expect(await endIn('shop')).toEqual(['refused', 'protected-namespace', 0]);
    expect(await endIn('kube-system')).toEqual(['succeeded', '', 1]);
    await stop.stop();
    await rig.start({ dryRun: true });
    expect(await endIn('kube-system')).toEqual(['dryrun', 'dry-run', 0]);
    const reported = async () => (await readInstances(rig.bus)).some(({ dryRun, stoppedAt }) => dryRun && !stoppedAt);
    await waitFor(reported, { what: 'its status to say so' });
  });
});

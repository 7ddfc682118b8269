// The responder killed by SIGKILL at each of its steps, Redis emptied or killed, the bus killed: no
// action is lost, and none is carried out twice.

import { encodeToken, openBucket } from '@bailiff/bus';
import type { Response, Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acting, HASTY, NODE, PATIENT, Rig, type RigPod } from '../cluster/responder/rig.ts';
import { startVictim } from './responder/spawn.ts';

const ACTIONS = ['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon'] as const;
type Action = (typeof ACTIONS)[number];
const POLICIES = Object.fromEntries(ACTIONS.map((action) => [action, acting(action, [{ action }])]));

/** Expects each record once, one of them terminal. */
function expectOnce(records: Response[], phase: Response['phase'] = 'succeeded'): void {
  expect(records.map((r) => r.phase).sort()).toEqual(['started', phase].sort());
}

/** The server's changes for an action on a pod; each must be made once. */
function changesFor(rig: Rig, action: Action, pod: RigPod): string[] {
  const made = rig.changes.filter(({ status }) => status >= 200 && status < 300);
  const of = (verb: string, resource: string, name?: string) =>
    made.filter((c) => c.verb === verb && c.resource === resource && (name === undefined || c.name === name));
  const calls = {
    observe: () => of('create', 'events').filter(() => eventsOf(rig, pod) > 0),
    label: () => of('patch', 'pods', pod.name),
    quarantine: () => [...of('patch', 'pods', pod.name), ...of('create', 'networkpolicies')],
    evict: () => made.filter((c) => c.subresource === 'eviction' && c.name === pod.name),
    delete: () => of('delete', 'pods', pod.name),
    cordon: () => of('patch', 'nodes', pod.node),
  };
  return calls[action]().map(({ verb, resource }) => `${verb} ${resource}`);
}
const ONCE: Record<Action, string[]> = {
  observe: ['create events'],
  label: ['patch pods'],
  quarantine: ['patch pods', 'create networkpolicies'],
  evict: ['create pods'],
  delete: ['delete pods'],
  cordon: ['patch nodes'],
};
function eventsOf(rig: Rig, pod: RigPod): number {
  const events = rig.api.api.list('events', pod.namespace).items as unknown as { involvedObject: { uid: string } }[];
  return events.filter((event) => event.involvedObject.uid === pod.uid).length;
}

describe('responder killed', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    await rig.policies(POLICIES);
  }, 60_000);
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  const afterStart = ACTIONS.flatMap((action) =>
    ['started', 'called', 'before-terminal'].map((step) => [step, action] as const),
  );
  const cases = [
    ['verdict-read', 'delete'],
    ['job-added', 'delete'],
    ['job-added', 'quarantine'],
    ...afterStart,
  ] as const;

  it.each(cases)(
    'at %s of %s - the next process completes the rest, once',
    async (step, action) => {
      rig.changes.length = 0;
      const node = `node-${step}-${action}`;
      rig.api.api.create('nodes', { metadata: { name: node } });
      const pod = rig.pod({ node });
      // The process must die at that step, not find that its lock has expired by then.
      const limits = { ...PATIENT, lockDurationMs: HASTY.lockDurationMs };
      const victim = await startVictim(rig, step === 'verdict-read' ? step : `${step}/${action}`, limits);
      const verdict = await rig.verdict(pod, { rule: action });
      expect(await victim.exit).toEqual([null, 'SIGKILL']);
      expect(rig.of(verdict).filter((r) => r.phase !== 'started')).toEqual([]);
      const before = changesFor(rig, action, pod);
      if (step === 'called' || step === 'before-terminal') expect(before.length).toBeGreaterThan(0);
      else expect(before).toEqual([]);

      const rescuer = await rig.start(HASTY);
      const end = await rig.until(verdict, action, ['succeeded', 'failed', 'refused'], 20_000);
      expect(end.phase).toBe('succeeded');
      expectOnce(rig.of(verdict));
      expect(changesFor(rig, action, pod)).toEqual(ONCE[action]);
      if (action === 'quarantine') {
        expect(await rig.quarantined(node)).toEqual([pod.uid]);
        expect(await openBucket(rig.bus, 'bailiff_quarantine').history(encodeToken(node))).toHaveLength(1);
      }
      if (action === 'observe') expect(eventsOf(rig, pod)).toBe(1);
      expect(await rescuer.stop()).toBe(0);
    },
    60_000,
  );

  it('before its call, and the pod is made again under its name meanwhile - the new one is never hit', async () => {
    rig.changes.length = 0;
    const old = rig.pod();
    const victim = await startVictim(rig, 'started/delete');
    const verdict = await rig.verdict(old, { rule: 'delete' });
    expect(await victim.exit).toEqual([null, 'SIGKILL']);
    rig.api.api.delete('pods', old, { gracePeriodSeconds: 0 });
    const fresh = rig.podCalled(old.name, {});
    const rescuer = await rig.start(HASTY);
    expect((await rig.until(verdict, 'delete', 'succeeded', 20_000)).reasonCode).toBe('found-done');
    expect(rig.podNow(fresh)?.metadata.uid).toBe(fresh.uid);
    expect(rig.changesOf(fresh, 'delete')).toEqual([]);
    await rescuer.stop();
  }, 60_000);
});

describe('responder without its surroundings', () => {
  const all = [
    { action: 'observe' },
    { action: 'label' },
    { action: 'quarantine' },
    { action: 'delete', after: '300ms' },
  ];
  const ended: Response['phase'][] = ['succeeded', 'refused', 'failed'];

  async function expectAllDone(rig: Rig, verdicts: Verdict[], pods: RigPod[]): Promise<void> {
    for (const verdict of verdicts) {
      for (const { action } of all) {
        const end = await rig.until(verdict, action, ended, 60_000);
        // Label and quarantine may be later than the deletion: then there is nothing to label, while the node
        // isolates by UID what still runs.
        const isLate = action === 'label' && end.reasonCode === 'pod-gone';
        expect([action, end.phase]).toEqual([action, isLate ? 'refused' : 'succeeded']);
        const late = { label: 'pod-gone', quarantine: 'object-gone' }[action as string];
        if (late) expect(['', 'found-done', late], action).toContain(end.reasonCode);
      }
      const records = rig.of(verdict);
      expect(new Set(records.map((r) => r.responseId)).size).toBe(records.length);
    }
    for (const pod of pods) {
      expect(rig.changesOf(pod, 'delete').filter(({ status }) => status === 200)).toHaveLength(1);
      expect(eventsOf(rig, pod)).toBe(1);
    }
  }
  const started = async (policies = { all: acting('all', all) }) => {
    const rig = await Rig.start();
    await rig.policies(policies);
    return rig;
  };
  const publishAll = (rig: Rig, pods: RigPod[]) => Promise.all(pods.map((pod) => rig.verdict(pod, { rule: 'all' })));
  const some = (rig: Rig, count: number) => Array.from({ length: count }, () => rig.pod());

  it('Redis emptied again and again while it works - everything is done, once', async () => {
    await using rig = await started();
    await rig.start(HASTY);
    await rig.start(HASTY);
    const pods = some(rig, 30);
    const verdicts = await publishAll(rig, pods);
    for (let round = 0; round < 8; round++) {
      const seen = rig.responses.length;
      await rig.redis.flush();
      // It may be done before the rounds are.
      const isDone = () =>
        verdicts.every((verdict) =>
          all.every(({ action }) => rig.of(verdict, action).some(({ phase }) => ended.includes(phase))),
        );
      await waitFor(() => rig.responses.length > seen || isDone(), { what: 'progress' });
    }
    await expectAllDone(rig, verdicts, pods);
  }, 120_000);

  it('Redis killed before and during the work, and back empty - everything is done, once', async () => {
    await using rig = await started();
    await rig.start(HASTY);
    await rig.redis.kill();
    const pods = some(rig, 20);
    const verdicts = await publishAll(rig, pods);
    await rig.redis.start();
    await waitFor(() => rig.responses.length > 10, { what: 'the first records', timeoutMs: 30_000 });
    await rig.redis.kill();
    await rig.redis.start();
    await expectAllDone(rig, verdicts, pods);
  }, 120_000);

  it('the bus killed during the work, and back - everything is done, once', async () => {
    await using rig = await started();
    await rig.start(HASTY);
    const pods = some(rig, 20);
    const verdicts = await publishAll(rig, pods);
    await waitFor(() => rig.responses.length > 10, { what: 'the first records' });
    await rig.nats.kill();
    await rig.nats.restart();
    await expectAllDone(rig, verdicts, pods);
  }, 120_000);

  it('two replicas killed alternately at random - every action is carried out, once', async () => {
    await using rig = await started();
    const pods = some(rig, 60);
    const waves = [pods.slice(0, 20), pods.slice(20, 40), pods.slice(40)];
    const verdicts: Verdict[] = [];
    let stays = await startVictim(rig);
    for (const wave of waves) {
      const other = await startVictim(rig);
      const seen = rig.responses.length;
      verdicts.push(...(await publishAll(rig, wave)));
      await waitFor(() => rig.responses.length > seen + Math.random() * 60, { what: 'some progress' });
      await stays.kill();
      stays = other;
    }
    await stays.kill();
    await rig.start(HASTY);
    await expectAllDone(rig, verdicts, pods);
  }, 180_000);

  it('Redis emptied while effects run out - each ends at its time all the same', async () => {
    await using rig = await started({
      all: acting('all', [
        { action: 'label', expires: '3s' },
        { action: 'quarantine', expires: '3s' },
      ]),
    });
    const first = await rig.start(HASTY);
    const pod = rig.pod();
    const verdict = await rig.verdict(pod, { rule: 'all' });
    await rig.until(verdict, 'label', 'succeeded');
    await rig.until(verdict, 'quarantine', 'succeeded');
    expect(await first.stop()).toBe(0);
    await rig.redis.flush();
    await rig.start(HASTY);
    await rig.until(verdict, 'label', 'undone');
    await rig.until(verdict, 'quarantine', 'undone');
    expect(await rig.quarantined(NODE)).toEqual([]);
    expect(Object.keys(rig.podNow(pod)?.metadata.labels ?? {})).toEqual([]);
  }, 60_000);
});

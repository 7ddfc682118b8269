// What failed attempts of a response have left in a quarantine list: a task that ends without an effect takes it
// back, and one that is given up says what is in force. The API server answers reads, and fails to write.

import { encodeToken, openBucket } from '@bailiff/bus';
import { QUARANTINE_LABEL, REMOVAL_REASON } from '@bailiff/response';
import type { QuarantineEntry, Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StepHook } from '../../apps/responder/src/ports.ts';
import { logged } from '../support/config-log.ts';
import { acting, NODE, Rig, type RigPod } from './responder/rig.ts';

const FULL = 'etcdserver: mvcc: database space exceeded';
const DAY_MS = 86_400_000;
const DISARMED = ['quiet-a', 'quiet-b', 'quiet-c'];

describe('responder - what attempts have left behind', () => {
  let rig: Rig;
  let onStep: StepHook = () => {};
  const remove = acting('remove', [{ action: 'delete' }]);
  const evict = acting('evict', [{ action: 'evict' }, { action: 'quarantine', after: '10m', expires: '2s' }]);
  beforeAll(async () => {
    rig = await Rig.start();
    for (const name of DISARMED) rig.api.api.create('namespaces', { metadata: { name } });
    await rig.policies({
      remove,
      evict,
      withdrawn: acting('withdrawn', [{ action: 'delete' }]),
      'taken-back': acting('taken-back', [{ action: 'delete' }]),
      isolate: acting('isolate', [{ action: 'quarantine', expires: '5s' }]),
      long: acting('long', [{ action: 'quarantine', expires: '1h' }]),
    });
    await rig.start({ budgetGiveUpAfterMs: 1_500, giveUpAfterMs: 2_000 }, { step: (...at) => onStep(...at) });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  const entryOf = async ({ uid }: RigPod): Promise<QuarantineEntry | undefined> => {
    const stored = await openBucket(rig.bus, 'bailiff_quarantine').get(encodeToken(NODE));
    const { entries } = JSON.parse(stored?.value.toString() ?? '{"entries":[]}') as { entries: QuarantineEntry[] };
    return entries.find(({ podUid }) => podUid === uid);
  };
  const failDeletes = ({ name }: RigPod) =>
    rig.api.faults.inject({ verb: 'delete', resource: 'pods', name, status: 500, message: FULL, times: 1e6 });
  const isIsolated = (pod: RigPod) => waitFor(() => entryOf(pod), { what: 'the entry of the pod' });
  const isMarked = (pod: RigPod) => rig.podNow(pod)?.metadata.labels?.[QUARANTINE_LABEL] !== undefined;

  it('a removal whose policy is withdrawn - the pod has its network again, or its former quarantine', async () => {
    const [pod, before, given] = [rig.pod(), rig.pod(), rig.pod()];
    const former = await rig.verdict(before, { rule: 'long' });
    await rig.until(former, 'quarantine', 'succeeded');
    const verdicts: Verdict[] = [];
    for (const one of [pod, before]) {
      failDeletes(one);
      verdicts.push(await rig.verdict(one, { rule: 'withdrawn' }));
      await waitFor(async () => (await entryOf(one))?.verdictId === verdicts.at(-1)?.verdictId);
    }
    await rig.policies({ withdrawn: { ...acting('withdrawn', [{ action: 'delete' }]), enabled: false } });
    for (const verdict of verdicts)
      expect(await rig.until(verdict, 'delete', ['refused', 'failed'])).toMatchObject({
        reasonCode: 'policy-withdrawn',
      });
    expect(await entryOf(pod)).toBeUndefined();
    expect(await entryOf(before)).toMatchObject({ verdictId: former.verdictId });

    // Control: a deletion that the API server fails to do isolates the pod, and its record says until when.
    failDeletes(given);
    const end = await rig.until(await rig.verdict(given, { rule: 'remove' }), 'delete', 'failed');
    const { until = '' } = (await entryOf(given)) ?? {};
    expect(Date.parse(until)).toBeGreaterThan(Date.now() + DAY_MS - 60_000);
    expect(end.reason).toContain(`traffic stays blocked until ${until}: given up`);
  });

  it('a quarantine during which a removal takes its entry back - is in force all the same', async () => {
    const pod = rig.pod();
    failDeletes(pod);
    const removal = await rig.verdict(pod, { rule: 'taken-back' });
    const { until } = await isIsolated(pod);
    let verdict: Verdict | null = null;
    // The last step before its record: it has found the entry of the removal.
    onStep = async (step, { verdictId, action }) => {
      if (step !== 'before-terminal' || action !== 'quarantine' || verdictId !== verdict?.verdictId) return;
      expect(await entryOf(pod)).toMatchObject({ until });
      await rig.policies({ 'taken-back': { ...acting('taken-back', [{ action: 'delete' }]), enabled: false } });
      await rig.until(removal, 'delete', 'refused');
      expect(await entryOf(pod), 'control').toBeUndefined();
    };
    verdict = rig.verdictOf(pod, { rule: 'long' });
    await rig.publish(verdict);
    await rig.until(verdict, 'quarantine', 'succeeded');
    await waitFor(async () => (await entryOf(pod))?.verdictId === verdict?.verdictId, { what: 'its own entry' });
    onStep = () => {};
  });

  it('an eviction that failed once, and that a disruption budget then refuses - its quarantine ends with its record', async () => {
    const pod = rig.pod();
    const eviction = { resource: 'pods', subresource: 'eviction', name: pod.name } as const;
    const failing = rig.api.faults.inject({ ...eviction, status: 500, message: FULL, times: 1 });
    rig.api.faults.inject({ ...eviction, status: 429, times: 1e6 });
    const verdict = await rig.verdict(pod, { rule: 'evict' });
    await isIsolated(pod);
    expect((await rig.until(verdict, 'evict', 'failed')).reasonCode).toBe('disruption-budget');
    await rig.until(verdict, 'quarantine', 'undone');
    expect([failing.hits, await entryOf(pod), isMarked(pod)]).toEqual([1, undefined, false]);
  });

  it('a quarantine that the API server cannot show - counts as in force, and is undone at its end', async () => {
    const pod = rig.pod();
    const fault = { verb: 'create', resource: 'networkpolicies', status: 500, message: FULL } as const;
    const failing = rig.api.faults.inject({ ...fault, times: 1e6 });
    const verdict = await rig.verdict(pod, { rule: 'isolate' });
    const end = await rig.until(verdict, 'quarantine', ['succeeded', 'failed']);
    expect(end).toMatchObject({ phase: 'succeeded', reasonCode: 'not-marked' });
    expect(end.reason).toContain(FULL);
    expect([await entryOf(pod), isMarked(pod)]).toMatchObject([{ verdictId: verdict.verdictId }, true]);
    await rig.until(verdict, 'quarantine', 'undone');
    expect([await entryOf(pod), isMarked(pod)]).toEqual([undefined, false]);
    failing.remove();
  });

  it.each([
    ['quiet-a', '', 0, false],
    ['quiet-b', ', also if the API server fails meanwhile', 1, false],
    ['quiet-c', ', also if a removal isolates the pod', 0, true],
  ])('a quarantine is incomplete, and %s is disarmed - it is taken back%s', async (namespace, _, times, isolated) => {
    const pod = rig.pod({ namespace });
    if (isolated) {
      failDeletes(pod);
      await rig.until(await rig.verdict(pod, { rule: 'remove' }), 'delete', 'failed');
    }
    const fault = { verb: 'create', resource: 'networkpolicies', status: 500, message: FULL } as const;
    const failing = rig.api.faults.inject({ ...fault, times: 1e6 });
    const verdict = await rig.verdict(pod, { rule: 'long' });
    await waitFor(() => isMarked(pod), { what: 'the label of the pod' });
    const unmarking = rig.api.faults.inject({ verb: 'patch', resource: 'pods', name: pod.name, status: 500, times });
    const key = `disarm.namespace.${namespace}.all`;
    const json = JSON.stringify({ until: new Date(Date.now() + 600_000).toISOString(), duration: '10m' });
    await openBucket(rig.bus, 'bailiff_config').put(key, json);
    await logged(rig.bus, { key, json });
    const end = await rig.until(verdict, 'quarantine', ['succeeded', 'failed', 'dryrun']);
    expect(end).toMatchObject({ phase: 'dryrun', reasonCode: 'disarmed' });
    expect([unmarking.hits, isMarked(pod)]).toEqual([times, false]);
    expect(await entryOf(pod)).toEqual(isolated ? expect.objectContaining({ reason: REMOVAL_REASON }) : undefined);
    failing.remove();
  });
});

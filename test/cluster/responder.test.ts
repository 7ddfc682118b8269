// The responder against a real bus, a real Redis and the API stand-in: the effect and the undo of
// each action, and refusals.

import {
  encodeToken,
  filters,
  getLastMessage,
  openBucket,
  publishOnce,
  responseSubject,
  verdictSubject,
} from '@bailiff/bus';
import { editQuarantine, releaseOf, VERDICT_LABEL, withoutEntry } from '@bailiff/response';
import { encodeResponse, encodeVerdict, type Response, type Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { acting, brief, NODE, Rig, type RigPod } from './responder/rig.ts';

const QUARANTINE = 'bailiff.dev/quarantine';

describe('responder', () => {
  let rig: Rig;
  let responder: RunningService;
  beforeAll(async () => {
    rig = await Rig.start();
    await rig.policies({
      remove: acting('remove', [{ action: 'delete' }]),
      report: acting('tell', [{ action: 'observe' }]),
      mark: acting('mark', [{ action: 'label', expires: '1s' }]),
      'mark-a-while': acting('mark-a-while', [{ action: 'label', expires: '3s' }]),
      'mark-long': acting('mark-long', [{ action: 'label', expires: '10m' }]),
      isolate: acting('isolate', [{ action: 'quarantine', expires: '2s' }]),
      'isolate-long': acting('isolate-long', [{ action: 'quarantine', expires: '20m' }]),
      evict: acting('evict', [{ action: 'evict' }]),
      close: acting('close', [{ action: 'cordon', expires: '1s' }]),
      escalate: acting('escalate', [{ action: 'label' }, { action: 'delete', after: '1500ms', gracePeriodSeconds: 0 }]),
      kept: acting('kept', [{ action: 'label' }]),
    });
    await rig.policies({ kept: { steps: [{ action: 'delete', until: '5m' }] } });
    responder = await rig.start({ budgetGiveUpAfterMs: 2_500 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());
  const phases = (verdict: Verdict) => rig.of(verdict).map(brief).sort();
  const uidOf = (object: unknown) => (object as { metadata: { uid: string } }).metadata.uid;

  it('delete - the pod of the verdict is deleted once, and no other pod', async () => {
    const [pod, neighbour] = [rig.pod(), rig.pod()];
    const verdict = await rig.verdict(pod, { rule: 'remove' });
    const done = await rig.until(verdict, 'delete', 'succeeded');
    expect(done).toMatchObject({
      policy: 'remove',
      podUid: pod.uid,
      nodeName: NODE,
      apiVerb: 'DELETE',
      apiStatus: 200,
    });
    await waitFor(() => rig.podNow(pod) === null, { what: 'the pod to be gone' });
    expect(rig.podNow(neighbour)).not.toBeNull();
    expect(phases(verdict)).toEqual(['delete/started', 'delete/succeeded']);
    expect(rig.changesOf(pod, 'delete')).toHaveLength(1);
  });

  it('default policy - everything is proposed, nothing is done', async () => {
    const pod = rig.pod();
    const verdict = await rig.verdict(pod, { level: 'critical', rule: 'without-policy' });
    for (const action of ['observe', 'label', 'delete']) await rig.until(verdict, action, 'dryrun');
    expect(rig.of(verdict)).toHaveLength(3);
    expect(rig.of(verdict)[0]?.reason).toContain('dry run');
    expect(rig.changesOf(pod)).toEqual([]);
  });

  it('observe - an event that names the pod by its uid', async () => {
    const pod = rig.pod();
    const reason = 'forged source; by "/tmp/\u202e\u009b2Jx"';
    await rig.until(await rig.verdict(pod, { rule: 'tell', reason }), 'observe', 'succeeded');
    const events = rig.api.api.list('events', 'shop').items as unknown as {
      involvedObject: { uid: string };
      message: string;
    }[];
    const mine = events.filter((event) => event.involvedObject.uid === pod.uid);
    expect(mine).toHaveLength(1);
    // kubectl prints it as it is.
    expect(mine[0]?.message).toContain('forged source; by "/tmp/\\u202e\\u009b2Jx"');
  });

  it('observe - a verdict about a node becomes an event of the node', async () => {
    await rig.until(await rig.verdict(null, { rule: 'tell' }), 'observe', 'succeeded');
    const events = rig.api.api.list('events', 'default').items as unknown as { involvedObject: { kind: string } }[];
    expect(events.some((event) => event.involvedObject.kind === 'Node')).toBe(true);
  });

  it('label - the pod has the level as a label until it expires', async () => {
    const pod = rig.pod();
    const versions = rig.versionsOf('pods', pod.name);
    const verdict = await rig.verdict(pod, { rule: 'mark' });
    await rig.until(verdict, 'label', 'undone');
    expect(versions.map(({ metadata }) => metadata.labels?.['bailiff.dev/verdict'])).toEqual(['medium', undefined]);
    const [succeeded, undone] = rig.of(verdict, 'label').slice(-2) as [Response, Response];
    expect([succeeded.phase, undone.recordedAt]).toEqual(['succeeded', expect.any(Number)]);
    expect(undone.recordedAt).toBeGreaterThanOrEqual(succeeded.expiresAt as number);
    expect(rig.changesOf(pod, 'patch')).toHaveLength(2);
  });

  it('label - a later verdict keeps its label when the earlier one ends', async () => {
    const both = async () => {
      const pod = rig.pod();
      const first = await rig.verdict(pod, { rule: 'mark-a-while' });
      const { expiresAt } = await rig.until(first, 'label', 'succeeded');
      const second = await rig.verdict(pod, { rule: 'mark-long', level: 'high' });
      const { recordedAt } = await rig.until(second, 'label', 'succeeded');
      // In a delayed process the first may end before the second starts: that is another case.
      return recordedAt < (expiresAt as number) && { pod, first };
    };
    const { pod, first } = await waitFor(both, { what: 'the later one to start in time' });
    expect((await rig.until(first, 'label', 'undone')).reasonCode).toBe('superseded');
    expect(rig.podNow(pod)?.metadata.labels).toMatchObject({ 'bailiff.dev/verdict': 'high' });
  });

  it('label - verdicts of one moment: the level of the pod only rises', async () => {
    const levels = ['low', 'medium', 'high', 'critical'] as const;
    const runs = Array.from({ length: 8 }, () => {
      const pod = rig.pod();
      return { pod, versions: rig.versionsOf('pods', pod.name) };
    });
    // Last the lowest level: its task would patch last.
    const publish = ({ pod }: (typeof runs)[number]) =>
      Promise.all(levels.toReversed().map((level) => rig.verdict(pod, { rule: 'mark-long', level })));
    const verdicts = (await Promise.all(runs.map(publish))).flat();
    for (const verdict of verdicts) await rig.until(verdict, 'label', 'succeeded');
    for (const { pod, versions } of runs) {
      const seen = versions.map(({ metadata }) => levels.findIndex((one) => one === metadata.labels?.[VERDICT_LABEL]));
      expect(seen).toEqual(seen.toSorted());
      expect(rig.podNow(pod)?.metadata.labels?.[VERDICT_LABEL]).toBe('critical');
    }
  });

  it('quarantine - kernel list first, then label and a policy owned by the pod; all removed at its end', async () => {
    // Two pods, because a quarantine of two seconds may have ended before a delayed process looks.
    const [stays, goes] = [rig.pod(), rig.pod()];
    const policyOf = ({ uid }: RigPod) =>
      rig.api.api.get('networkpolicies.networking.k8s.io', { namespace: 'shop', name: `bailiff-quarantine-${uid}` });
    await rig.until(await rig.verdict(stays, { rule: 'isolate-long' }), 'quarantine', 'succeeded');
    expect(await rig.quarantined()).toContain(stays.uid);
    expect(rig.podNow(stays)?.metadata.labels).toMatchObject({ [QUARANTINE]: stays.uid });
    const policy = policyOf(stays);
    expect(policy.metadata.ownerReferences).toMatchObject([{ kind: 'Pod', uid: stays.uid }]);
    expect(policy['spec']).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      podSelector: { matchLabels: { [QUARANTINE]: stays.uid } },
    });
    const versions = rig.versionsOf('pods', goes.name);
    await rig.until(await rig.verdict(goes, { rule: 'isolate' }), 'quarantine', 'undone');
    expect(await rig.quarantined()).not.toContain(goes.uid);
    expect(versions.map(({ metadata }) => metadata.labels?.[QUARANTINE])).toEqual([goes.uid, undefined]);
    expect(() => policyOf(goes)).toThrow(/not found/);
    expect(await rig.quarantined()).toContain(stays.uid);
  });

  it('quarantine - a foreign network policy of that name is not changed, and the record has the reason', async () => {
    const pod = rig.pod();
    const name = `bailiff-quarantine-${pod.uid}`;
    const theirs = rig.api.api.create('networkpolicies.networking.k8s.io', {
      metadata: { namespace: 'shop', name },
      spec: { podSelector: {}, policyTypes: ['Egress'] },
    });
    const verdict = await rig.verdict(pod, { rule: 'isolate-long' });
    expect((await rig.until(verdict, 'quarantine', 'succeeded')).reasonCode).toBe('record-name-taken');
    const now = rig.api.api.get('networkpolicies.networking.k8s.io', { namespace: 'shop', name });
    expect(now.metadata.resourceVersion).toBe(theirs.metadata.resourceVersion);
    expect(await rig.quarantined()).toContain(pod.uid);
  });

  it('quarantine - an earlier end does not shorten a longer one', async () => {
    const pod = rig.pod();
    const long = await rig.verdict(pod, { rule: 'isolate-long' });
    await rig.until(long, 'quarantine', 'succeeded');
    const short = await rig.verdict(pod, { rule: 'isolate' });
    expect(await rig.until(short, 'quarantine', 'succeeded')).toMatchObject({
      reasonCode: 'already-quarantined',
      expiresAt: null,
    });
    expect(await rig.quarantined()).toContain(pod.uid);
  });

  it('quarantine - the label and the policy end with it, also while a removal that failed keeps the pod isolated', async () => {
    const [pod, other] = [rig.pod(), rig.pod()];
    const isMarked = ({ uid }: RigPod) =>
      rig.api.api
        .list('networkpolicies.networking.k8s.io', 'shop')
        .items.some(({ metadata }) => metadata.name === `bailiff-quarantine-${uid}`);
    const isolate = async (one: RigPod) => {
      rig.api.faults.inject({ verb: 'delete', resource: 'pods', name: one.name, status: 500, times: 1e6 });
      await rig.verdict(one, { rule: 'remove' });
      await waitFor(() => rig.changesOf(one, 'delete').length > 1, { what: 'the deletion to fail' });
      expect(await rig.quarantined()).toContain(one.uid);
    };
    await isolate(pod);
    const short = await rig.verdict(pod, { rule: 'isolate' });
    expect((await rig.until(short, 'quarantine', 'undone')).reasonCode).toBe('');
    expect(rig.podNow(pod)?.metadata.labels?.[QUARANTINE]).toBeUndefined();
    expect(isMarked(pod)).toBe(false);
    expect(await rig.quarantined()).toContain(pod.uid);

    await rig.until(await rig.verdict(other, { rule: 'isolate-long' }), 'quarantine', 'succeeded');
    await isolate(other);
    const within = await rig.verdict(other, { rule: 'isolate' });
    expect((await rig.until(within, 'quarantine', 'undone')).reasonCode).toBe('superseded');
    expect(rig.podNow(other)?.metadata.labels?.[QUARANTINE]).toBe(other.uid);
    expect(isMarked(other)).toBe(true);
  });

  it("quarantine - an operator's release removes the visible record as well", async () => {
    const pod = rig.pod();
    const verdict = await rig.verdict(pod, { rule: 'isolate-long' });
    const succeeded = await rig.until(verdict, 'quarantine', 'succeeded');
    const bucket = openBucket(rig.bus, 'bailiff_quarantine');
    const remove = (list: Parameters<typeof withoutEntry>[0]) => withoutEntry(list, { podUid: pod.uid }, Date.now());
    expect(await editQuarantine(bucket, encodeToken(NODE), NODE, remove)).toBe('removed');
    const released = releaseOf(succeeded, { by: 'anna', nowMicros: Date.now() * 1000 });
    await publishOnce(rig.bus, responseSubject(released), encodeResponse(released));
    await waitFor(() => rig.podNow(pod)?.metadata.labels?.[QUARANTINE] === undefined, {
      what: 'the label to be removed',
    });
    const name = `bailiff-quarantine-${pod.uid}`;
    await waitFor(() => {
      const policies = rig.api.api.list('networkpolicies.networking.k8s.io', 'shop').items;
      return policies.every((policy) => policy.metadata.name !== name);
    });
    await rig.until(verdict, 'quarantine', 'undone');
    expect(rig.of(verdict).filter((r) => r.phase === 'undone')).toHaveLength(1);
  });

  it('evict - a disruption budget is retried until its limit, then recorded', async () => {
    const [pod, free] = [rig.pod(), rig.pod()];
    const fault = rig.api.faults.inject({
      resource: 'pods',
      subresource: 'eviction',
      name: pod.name,
      status: 429,
      times: 1e6,
    });
    const verdict = await rig.verdict(pod, { rule: 'evict' });
    const failed = await rig.until(verdict, 'evict', 'failed');
    expect(failed).toMatchObject({ reasonCode: 'disruption-budget', apiStatus: 429, apiVerb: 'POST' });
    expect(failed.attempt).toBeGreaterThanOrEqual(3);
    expect(rig.podNow(pod)).not.toBeNull();
    fault.remove();
    await rig.until(await rig.verdict(free, { rule: 'evict' }), 'evict', 'succeeded');
    await waitFor(() => rig.podNow(free) === null, { what: 'the evicted pod to be gone' });
  });

  it('evict - a budget that allows it in time', async () => {
    const pod = rig.pod();
    rig.api.faults.inject({ resource: 'pods', subresource: 'eviction', name: pod.name, status: 429, times: 2 });
    const verdict = await rig.verdict(pod, { rule: 'evict' });
    expect((await rig.until(verdict, 'evict', 'succeeded')).attempt).toBe(3);
  });

  it('cordon - the node is cordoned until it expires; a foreign cordon stays', async () => {
    const node = (name: string) =>
      rig.api.api.get('nodes', { name }) as unknown as { spec?: { unschedulable?: boolean } };
    const versions = rig.versionsOf('nodes', NODE) as ReturnType<typeof node>[];
    const verdict = await rig.verdict(rig.pod(), { rule: 'close' });
    await rig.until(verdict, 'cordon', 'undone');
    expect(versions.map(({ spec }) => spec?.unschedulable ?? false)).toEqual([true, false]);

    rig.api.api.patch('nodes', { name: 'node-b' }, 'application/merge-patch+json', { spec: { unschedulable: true } });
    const other = await rig.verdict(rig.pod({ node: 'node-b' }), { rule: 'close' });
    expect((await rig.until(other, 'cordon', 'refused')).reasonCode).toBe('already-cordoned');
    expect(node('node-b').spec?.unschedulable).toBe(true);
  });

  it('escalation - a later step waits for its time', async () => {
    const pod = rig.pod();
    const before = Date.now();
    const verdict = await rig.verdict(pod, { rule: 'escalate' });
    await rig.until(verdict, 'label', 'succeeded');
    await rig.until(verdict, 'delete', 'succeeded');
    const [started] = rig.of(verdict, 'delete') as [Response];
    expect(started.phase).toBe('started');
    expect(started.recordedAt / 1000 - before).toBeGreaterThanOrEqual(1_500);
  });

  it('refusals - each is one record with its reason, without a deletion', async () => {
    const system = rig.podCalled('dns', { namespace: 'kube-system' });
    const daemon = rig.pod({ owner: rig.daemonSet('agent') });
    const fixed = rig.pod({ annotations: { 'kubernetes.io/config.mirror': '0123456789abcdef'.repeat(2) } });
    const elsewhere = rig.pod({ node: 'node-b' });
    const rows = [
      [await rig.verdict(system, { rule: 'remove' }), 'protected-namespace', system],
      [await rig.verdict(daemon, { rule: 'remove' }), 'protected-owner-kind', daemon],
      [await rig.verdict(fixed, { rule: 'remove' }), 'static-pod', fixed],
      [await rig.verdict(elsewhere, { rule: 'remove', nodeName: NODE }), 'node-mismatch', elsewhere],
      [await rig.verdict(null, { rule: 'remove' }), 'no-pod', elsewhere],
    ] as const;
    for (const [verdict, code, pod] of rows) {
      expect(await rig.until(verdict, 'delete', 'refused')).toMatchObject({
        reasonCode: code,
        apiVerb: '',
        apiStatus: 0,
      });
      expect(rig.of(verdict, 'delete')).toHaveLength(1);
      expect(rig.changesOf(pod, 'delete')).toEqual([]);
    }
  });

  it('owner - a pod’s own claim protects it only if it is true', async () => {
    const owner = { kind: 'DaemonSet', name: 'absent', uid: 'ds-1' };
    const pod = rig.pod({ owner });
    const foreign = rig.pod({ owner: { ...owner, apiVersion: 'made.up/v1' } });
    for (const one of [pod, foreign]) {
      await rig.until(await rig.verdict(one, { rule: 'isolate' }), 'quarantine', 'succeeded');
      await rig.until(await rig.verdict(one, { rule: 'remove' }), 'delete', 'succeeded');
    }
  });

  it('a pod recreated under the same name is never hit', async () => {
    const old = rig.pod();
    rig.api.api.delete('pods', old, { gracePeriodSeconds: 0 });
    const fresh = rig.podCalled(old.name, {});
    for (const [rule, action, phase, code] of [
      ['mark', 'label', 'refused', 'uid-changed'],
      ['isolate', 'quarantine', 'succeeded', 'object-gone'],
      ['remove', 'delete', 'succeeded', 'already-gone'],
      ['evict', 'evict', 'succeeded', 'already-gone'],
    ] as const) {
      const verdict = await rig.verdict(old, { rule });
      expect((await rig.until(verdict, action, phase)).reasonCode).toBe(code);
    }
    expect(uidOf(rig.podNow(fresh))).toBe(fresh.uid);
    expect(rig.changesOf(fresh)).toEqual([]);
    expect(await rig.quarantined()).not.toContain(fresh.uid);
  });

  it('a pod that its owner removed by force - is isolated by UID, until its node reports that it is gone', async () => {
    const node = 'node-forced';
    const pod = rig.pod({ node });
    rig.api.api.delete('pods', pod, { gracePeriodSeconds: 0 });
    // Its containers run on: the node still sees what they send.
    expect((await rig.until(await rig.verdict(pod, { rule: 'remove' }), 'delete', 'succeeded')).reasonCode).toBe(
      'already-gone',
    );
    expect(await rig.quarantined(node)).toEqual([pod.uid]);
    const report = (uids: string[]) =>
      openBucket(rig.bus, 'bailiff_nodes').put(encodeToken(node), JSON.stringify({ quarantinesGone: uids }));
    const label = await rig.verdict(pod, { rule: 'mark' });
    await rig.until(label, 'label', 'refused');
    expect(await rig.quarantined(node)).toEqual([pod.uid]);
    await report([pod.uid]);
    await waitFor(async () => (await rig.quarantined(node)).length === 0, { what: 'the entry to be removed' });
  });

  it('a pod recreated between read and call is not hit either: the precondition fails', async () => {
    const old = rig.pod();
    const held = rig.api.faults.inject({ verb: 'delete', resource: 'pods', name: old.name, hold: true });
    const verdict = await rig.verdict(old, { rule: 'remove' });
    await waitFor(() => held.hits === 1, { what: 'the delete call to arrive' });
    rig.api.api.delete('pods', old, { gracePeriodSeconds: 0 });
    const fresh = rig.podCalled(old.name, {});
    held.release();
    expect((await rig.until(verdict, 'delete', 'succeeded')).reasonCode).toBe('found-done');
    expect(uidOf(rig.podNow(fresh))).toBe(fresh.uid);
    expect(rig.changesOf(fresh).map(({ status }) => status)).toContain(409);
  });

  it('an unreadable policy is reported, and the last good one stays in force', async () => {
    const verdict = await rig.verdict(rig.pod(), { rule: 'kept' });
    await rig.until(verdict, 'label', 'succeeded');
    const line = responder.log().find(({ key }) => key === 'response.cluster._.kept');
    expect(line?.['reason']).toContain('steps.0');
  });

  it('an unreadable verdict is dead-lettered, and the next one gets its response', async () => {
    const lying = rig.verdictOf(rig.pod(), { rule: 'remove' });
    const subject = verdictSubject({ ...lying, level: 'low' });
    const stored = await publishOnce(rig.bus, subject, encodeVerdict(lying));
    if (stored.outcome !== 'stored') throw new Error(`${subject} exists`);
    const garbage = verdictSubject(rig.verdictOf(null));
    await publishOnce(rig.bus, garbage, Buffer.from('nonsense'));
    await rig.until(await rig.verdict(rig.pod(), { rule: 'remove' }), 'delete', 'succeeded');
    const letter = (reason: string, sequence: number) =>
      getLastMessage(
        rig.bus,
        'DEAD_LETTERS',
        filters.deadLetters({ stream: 'VERDICTS', reason }).replace('*', String(sequence)),
      );
    const { sequence } = stored;
    expect(await letter('not-a-verdict', sequence)).not.toBeNull();
    expect(await letter('not-single-object', sequence + 1)).not.toBeNull();
    expect(rig.of(lying)).toEqual([]);
  });
});

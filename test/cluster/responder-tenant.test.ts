// A tenant with `edit` in a namespace writes pods, workloads and disruption budgets there. They leave
// no pod without a response, and do not spend the budget, the cooldown or the storm limit of another
// workload. Each attack is next to a workload that the guard must protect.
import type { Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MIN_TRIES } from '../../apps/responder/src/tasks/failures.ts';
import { acting, Rig, type RigPod } from './responder/rig.ts';

const DELETE = [{ action: 'delete' }];
const budget = (more: Record<string, unknown>) => ({
  budget: { window: '10m', maxPods: 100_000, maxPercent: 100, maxNodes: 100, ...more },
});

/** How each action of the verdict ended: `succeeded`, or the reason. */
async function endsOn(rig: Rig, pod: RigPod, rule: string, actions: string[]) {
  const verdict = await rig.verdict(pod, { rule });
  const ends = [];
  for (const action of actions) ends.push(await rig.until(verdict, action, ['succeeded', 'refused', 'failed']));
  return ends.map(({ phase, reasonCode }) => (phase === 'succeeded' ? phase : reasonCode));
}

/** Both allow disruptions. @returns labels of a pod that both select */
function twoBudgets(rig: Rig, app: string, namespace = 'shop'): Record<string, string> {
  const spec = { maxUnavailable: 1, selector: { matchLabels: { app } } };
  for (const name of [`${app}-1`, `${app}-2`])
    rig.api.api.create('poddisruptionbudgets.policy', { metadata: { namespace, name }, spec });
  return { app };
}

describe('responder - a tenant’s own labels and annotations', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    rig.api.api.create('namespaces', { metadata: { name: 'tenant' } });
    await rig.policies({
      remove: acting('remove', DELETE),
      healthy: acting('healthy', DELETE, { ...budget({}), minHealthyReplicas: 3 }),
      storm: acting('storm', DELETE, { ...budget({}), deleteStorm: { deletes: 3, window: '10m' }, cooldown: '1h' }),
    });
    await rig.start({ giveUpAfterMs: 2_000 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  const endOf = (verdict: Verdict, action = 'delete') => rig.until(verdict, action, ['succeeded', 'refused', 'failed']);
  const answer = async (pod: RigPod, rule: string) => endOf(await rig.verdict(pod, { rule }));

  it.each([431, 400, 405])('owner - one that the API server refuses to return protects no pod (%d)', async (status) => {
    const name = `unreadable-${status}`;
    rig.api.faults.inject({ verb: 'get', resource: 'replicasets', name, status, times: 1e6 });
    const pod = rig.pod({ owner: { kind: 'ReplicaSet', name, uid: 'rs-1' } });
    expect((await answer(pod, 'remove')).phase).toBe('succeeded');
    expect(rig.podNow(pod)).toBeNull();
    const owner = rig.daemonSet(`honest-${status}`);
    for (const honest of [rig.pod({ owner }), rig.pod({ owner, forged: true })])
      expect(await answer(honest, 'remove')).toMatchObject({ phase: 'refused', reasonCode: 'protected-owner-kind' });
  });

  it('owner - a name that no object can have protects no pod', async () => {
    // The response of a real API server.
    rig.api.faults.inject({ verb: 'get', resource: 'replicasets', name: '%', status: 400, times: 1e6 });
    const pod = rig.pod({ owner: { kind: 'ReplicaSet', name: '%', uid: 'rs-1' }, labels: {} });
    expect((await answer(pod, 'remove')).phase).toBe('succeeded');
  });

  it('owner - the wait for one that cannot be read is bounded', async () => {
    const owner = rig.replicaSet('away', 4);
    rig.api.faults.inject({ verb: 'get', resource: 'replicasets', name: 'away', status: 503, times: 1e6 });
    const pod = rig.pod({ owner });
    const end = await answer(pod, 'remove');
    expect(end).toMatchObject({ phase: 'succeeded', ownerUid: '' });
    expect(end.attempt).toBeGreaterThan(1);
  });

  it('a label by which an admission policy forbids deletions: the pod has no network, and one without it is deleted', async () => {
    const message = "ValidatingAdmissionPolicy 'protected-pods' denied request: protected pods are not deleted";
    const [kept, plain] = [rig.pod(), rig.pod()];
    const fault = { verb: 'delete', resource: 'pods', name: kept.name, status: 403, message, times: 1e6 } as const;
    const denied = rig.api.faults.inject(fault);
    expect(await answer(kept, 'remove')).toMatchObject({ phase: 'failed', reasonCode: 'kube-invalid' });
    expect(denied.hits).toBe(MIN_TRIES);
    expect(await rig.quarantined()).toContain(kept.uid);
    expect((await answer(plain, 'remove')).phase).toBe('succeeded');
  });

  it('minimum healthy - a bare pod, an invented owner and a foreign one are deleted; replicas are quarantined, also changed ones', async () => {
    const owner = rig.replicaSet('few', 3);
    const invented = { kind: 'ReplicaSet', name: 'invented', uid: 'rs-2' };
    const pods = [...[rig.pod(), rig.pod({ owner: invented }), rig.pod({ owner, labels: { app: 'not-few' } })]];
    for (const pod of pods) {
      expect(await answer(pod, 'healthy')).toMatchObject({ phase: 'succeeded', ownerUid: '' });
      expect(rig.podNow(pod)).toBeNull();
    }
    for (const replica of [rig.pod({ owner }), rig.pod({ owner, forged: true })]) {
      const verdict = await rig.verdict(replica, { rule: 'healthy' });
      const { uid } = owner;
      const charged = replica.ownerUid === '' ? { claimedOwnerUid: uid, ownerUid: '' } : { ownerUid: uid };
      expect(await endOf(verdict)).toMatchObject({ reasonCode: 'below-min-healthy', ...charged });
      expect((await endOf(verdict, 'quarantine')).phase).toBe('succeeded');
      expect([rig.podNow(replica)?.metadata.uid, await rig.quarantined()]).toEqual([
        replica.uid,
        expect.arrayContaining([replica.uid]),
      ]);
    }
  });

  it('storm and cooldown - pods that claim the UID of a workload are not charged to it', async () => {
    const owner = rig.replicaSet('victim', 20);
    const claims = Array.from({ length: 4 }, () => rig.pod({ owner, labels: { app: 'claim' } }));
    // With the labels of the workload too, and an image of their own: they have a storm limit together.
    const forged = Array.from({ length: 3 }, () => rig.pod({ owner, forged: true }));
    for (const pod of [...claims, ...forged]) expect((await answer(pod, 'storm')).phase).toBe('succeeded');
    expect((await answer(rig.pod({ owner, forged: true }), 'storm')).reasonCode).toBe('delete-storm');
    const replica = rig.pod({ owner });
    expect(await answer(replica, 'storm')).toMatchObject({ phase: 'succeeded', ownerUid: owner.uid });
    // The workload's own deletions count: the next one waits for the cooldown.
    const next = await rig.verdict(rig.pod({ owner }), { rule: 'storm' });
    const bare = rig.pod();
    expect((await answer(bare, 'storm')).phase).toBe('succeeded');
    expect(rig.of(next)).toEqual([]);
  });
});

describe('responder - a tenant’s share of the budget', () => {
  it('namespace - ten sacrificial pods leave the rest of the budget to the others; later ones of their namespace are quarantined', async () => {
    await using rig = await Rig.start();
    rig.api.api.create('namespaces', { metadata: { name: 'tenant' } });
    await rig.policies({
      share: acting('share', DELETE, budget({ maxPods: 10 })),
      strict: acting('strict', DELETE, budget({ maxPods: 10, exhausted: 'refuse' })),
    });
    await rig.start();
    const answers = (pods: RigPod[], rule: string) =>
      Promise.all(
        pods.map(async (pod) => {
          const verdict = await rig.verdict(pod, { rule });
          return [verdict, await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'])] as const;
        }),
      );
    const sacrificed = await answers(
      Array.from({ length: 12 }, () => rig.pod({ namespace: 'tenant' })),
      'share',
    );
    const refused = sacrificed.filter(([, { reasonCode }]) => reasonCode === 'budget-exhausted');
    expect([sacrificed.length - refused.length, refused.length]).toEqual([5, 7]);
    for (const [verdict] of refused) {
      expect((await rig.until(verdict, 'quarantine', ['succeeded', 'refused', 'failed'])).phase).toBe('succeeded');
      expect(await rig.quarantined()).toContain(verdict.pod?.uid);
    }
    const [late] = await answers([rig.pod({ namespace: 'tenant' })], 'strict');
    expect(late?.[1].reasonCode).toBe('budget-exhausted');
    const others = await answers(
      Array.from({ length: 5 }, () => rig.pod()),
      'strict',
    );
    // Of the rest, these get as many as they leave to further namespaces.
    expect(others.filter(([, { phase }]) => phase === 'succeeded')).toHaveLength(3);
    rig.api.api.create('namespaces', { metadata: { name: 'third' } });
    const [third] = await answers([rig.pod({ namespace: 'third' })], 'strict');
    expect(third?.[1].phase).toBe('succeeded');
    // Control: with `exhausted: refuse`, the pods beyond the share have no response.
    expect(rig.of((late as (typeof others)[0])[0], 'quarantine')).toEqual([]);
  });
});

describe('responder - what a tenant can create', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    const own = (rule: string, steps: unknown[], guards = {}) => ({
      dryRun: false,
      match: { rules: [rule] },
      steps,
      guards,
    });
    await rig.policies({
      // The guards of the defaults.
      remove: own('remove', DELETE),
      isolate: own('isolate', [{ action: 'quarantine' }]),
      floor: own('floor', DELETE, { minHealthyReplicas: 1 }),
      evict: own('evict', [{ action: 'evict' }]),
      both: own('both', [{ action: 'quarantine' }, ...DELETE]),
      spared: own('spared', [{ action: 'quarantine' }, ...DELETE], { protectedNamespaces: ['shop'] }),
    });
    await rig.start({ budgetGiveUpAfterMs: 500 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());
  const endsOf = (pod: RigPod, rule: string, actions: string[]) => endsOn(rig, pod, rule, actions);

  it('sacrificial pods: the default budget deletes five of the namespace, and quarantines all further ones', async () => {
    rig.api.api.create('namespaces', { metadata: { name: 'sacrifice' } });
    const pods = Array.from({ length: 20 }, () => rig.pod({ namespace: 'sacrifice' }));
    for (const pod of pods.slice(0, 5)) expect(await endsOf(pod, 'remove', ['delete'])).toEqual(['succeeded']);
    for (const pod of pods.slice(5))
      expect(await endsOf(pod, 'remove', ['delete', 'quarantine'])).toEqual(['budget-exhausted', 'succeeded']);
    const ofOthers = rig.pod();
    expect(await endsOf(ofOthers, 'isolate', ['quarantine'])).toEqual(['succeeded']);
  });

  it('a DaemonSet, a ReplicaSet with one pod that is never ready, a static pod: removal becomes quarantine; only the administrator spares a namespace', async () => {
    let daemons = 0;
    const daemon = () => rig.pod({ owner: rig.daemonSet(`own-${++daemons}`) });
    expect(await endsOf(daemon(), 'remove', ['delete', 'quarantine'])).toEqual(['protected-owner-kind', 'succeeded']);
    expect(await endsOf(daemon(), 'isolate', ['quarantine'])).toEqual(['succeeded']);
    const single = rig.pod({ owner: rig.replicaSet('single', 1, 0), ready: false });
    expect(await endsOf(single, 'floor', ['delete', 'quarantine'])).toEqual(['below-min-healthy', 'succeeded']);
    const mirror = rig.pod({ annotations: { 'kubernetes.io/config.mirror': '0123456789abcdef'.repeat(2) } });
    expect(await endsOf(mirror, 'remove', ['delete', 'quarantine'])).toEqual(['static-pod', 'succeeded']);
    expect(await endsOf(daemon(), 'spared', ['quarantine', 'delete'])).toEqual([
      'protected-namespace',
      'protected-namespace',
    ]);
  });

  it('a quota of NetworkPolicies that is used up: the quarantine is in force, and later steps follow at once', async () => {
    rig.api.api.create('namespaces', { metadata: { name: 'full' } });
    const fault = { verb: 'create', resource: 'networkpolicies', namespace: 'full', status: 403, times: 1e6 } as const;
    const quota = rig.api.faults.inject(fault);
    const pod = rig.pod({ namespace: 'full' });
    const verdict = await rig.verdict(pod, { rule: 'both' });
    const end = await rig.until(verdict, 'quarantine', ['succeeded', 'refused', 'failed']);
    expect(end).toMatchObject({ phase: 'succeeded', reasonCode: 'not-marked', attempt: 1 });
    expect(await rig.quarantined()).toContain(pod.uid);
    expect((await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'])).phase).toBe('succeeded');
    expect(quota.hits).toBe(1);
  });

  it('a pod too large for a label and for its deletion: the quarantine is in force, and later steps end at once', async () => {
    rig.api.api.create('namespaces', { metadata: { name: 'large' } });
    const message = 'etcdserver: request is too large';
    for (const verb of ['patch', 'delete'] as const)
      rig.api.faults.inject({ verb, resource: 'pods', namespace: 'large', status: 500, message, times: 1e6 });
    const pod = rig.pod({ namespace: 'large' });
    const verdict = await rig.verdict(pod, { rule: 'both' });
    const end = await rig.until(verdict, 'quarantine', ['succeeded', 'refused', 'failed']);
    expect(end).toMatchObject({ phase: 'succeeded', reasonCode: 'not-marked', attempt: 1 });
    // A reason that concerns one pod: libs/response/src/status/failed-responses.ts.
    const removal = await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed']);
    expect(removal).toMatchObject({ phase: 'failed', reasonCode: 'kube-invalid' });
    expect(await rig.quarantined()).toContain(pod.uid);
  });

  it('a disruption budget without disruptions: the eviction is given up, and the pod quarantined', async () => {
    const labels = { app: 'budgeted' };
    const [pod, free] = [rig.pod({ labels }), rig.pod()];
    const spec = { maxUnavailable: 0, selector: { matchLabels: labels } };
    rig.api.api.create('poddisruptionbudgets.policy', { metadata: { namespace: 'shop', name: 'never' }, spec });
    expect(await endsOf(pod, 'evict', ['evict', 'quarantine'])).toEqual(['disruption-budget', 'succeeded']);
    expect([rig.podNow(pod)?.metadata.uid, await rig.quarantined()]).toEqual([
      pod.uid,
      expect.arrayContaining([pod.uid]),
    ]);
    expect(await endsOf(free, 'evict', ['evict'])).toEqual(['succeeded']);
  });

  it('two disruption budgets, for which the API server has no answer: the same', async () => {
    rig.api.api.create('namespaces', { metadata: { name: 'twice' } });
    const pod = rig.pod({ namespace: 'twice', labels: twoBudgets(rig, 'twice', 'twice') });
    expect(await endsOf(pod, 'evict', ['evict', 'quarantine'])).toEqual(['disruption-budget', 'succeeded']);
    expect(await rig.quarantined()).toContain(pod.uid);
  });
});

describe('responder - a pod on the network of its node', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    const kinds = { ...budget({}), protectedOwnerKinds: ['DaemonSet'] };
    const isolate = [{ action: 'quarantine' }];
    await rig.policies({
      remove: acting('remove', DELETE, kinds),
      isolate: acting('isolate', isolate, kinds),
      later: acting('later', [...isolate, { action: 'delete', after: '10m' }], kinds),
      floor: acting('floor', DELETE, { ...kinds, minHealthyReplicas: 1 }),
      evict: acting('evict', [{ action: 'evict' }], kinds),
      spared: acting('spared', [...isolate, ...DELETE], { ...kinds, protectedNamespaces: ['shop'] }),
    });
    await rig.start({ budgetGiveUpAfterMs: 500 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());
  const endsOf = (pod: RigPod, rule: string, actions: string[]) => endsOn(rig, pod, rule, actions);

  it('it cannot be quarantined: the removal of its policy follows at once; without one, status counts it', async () => {
    const onNode = (more = {}) => rig.pod({ hostNetwork: true, ...more });
    const alone = onNode();
    expect(await endsOf(alone, 'isolate', ['quarantine'])).toEqual(['host-network']);
    // Its policy would remove it in ten minutes; another pod has that time.
    const [now, later] = [onNode(), rig.pod()];
    expect(await endsOf(now, 'later', ['quarantine', 'delete'])).toEqual(['host-network', 'succeeded']);
    expect(await endsOf(later, 'later', ['quarantine'])).toEqual(['succeeded']);
    expect([now, later, alone].map((pod) => rig.podNow(pod)?.metadata.uid)).toEqual([undefined, later.uid, alone.uid]);
    const quarantined = await rig.quarantined();
    expect([alone, now, later].map(({ uid }) => quarantined.includes(uid))).toEqual([false, false, true]);
  });

  it('what a tenant creates prevents no removal, and turns that of another pod into a quarantine', async () => {
    const owner = rig.daemonSet('agent');
    expect(await endsOf(rig.pod({ hostNetwork: true, owner }), 'remove', ['delete'])).toEqual(['succeeded']);
    expect(await endsOf(rig.pod({ owner }), 'remove', ['delete', 'quarantine'])).toEqual([
      'protected-owner-kind',
      'succeeded',
    ]);
    const single = rig.replicaSet('single-on-node', 1, 0);
    const unready = rig.pod({ hostNetwork: true, owner: single, ready: false });
    expect(await endsOf(unready, 'floor', ['delete'])).toEqual(['succeeded']);
    const labels = { app: 'budgeted-on-node' };
    const spec = { maxUnavailable: 0, selector: { matchLabels: labels } };
    rig.api.api.create('poddisruptionbudgets.policy', { metadata: { namespace: 'shop', name: 'never-on-node' }, spec });
    const budgeted = rig.pod({ hostNetwork: true, labels });
    expect(await endsOf(budgeted, 'evict', ['evict', 'quarantine', 'delete'])).toEqual([
      'disruption-budget',
      'host-network',
      'succeeded',
    ]);
    expect(rig.podNow(budgeted)).toBeNull();
    const twice = rig.pod({ hostNetwork: true, labels: twoBudgets(rig, 'twice-on-node') });
    expect(await endsOf(twice, 'evict', ['evict', 'quarantine', 'delete'])).toEqual([
      'disruption-budget',
      'host-network',
      'succeeded',
    ]);
    // Half of no replicas are none, so such an owner would protect its pods for ever.
    const none = rig.replicaSet('none', 0, 0);
    expect(await endsOf(rig.pod({ hostNetwork: true, owner: none }), 'remove', ['delete'])).toEqual(['succeeded']);
    expect(await endsOf(rig.pod({ owner: none }), 'remove', ['delete', 'quarantine'])).toEqual([
      'budget-exhausted',
      'succeeded',
    ]);
    // The administrator alone spares it.
    expect(await endsOf(rig.pod({ hostNetwork: true, owner }), 'spared', ['quarantine', 'delete'])).toEqual([
      'protected-namespace',
      'protected-namespace',
    ]);
  });
});

/** After the server's tries of ten seconds: a tenant changed the budget before each of them. */
const CHANGED =
  'Operation cannot be fulfilled on poddisruptionbudgets.policy "x": the object has been modified; please apply your changes to the latest version and try again';

describe('responder - the time of an eviction', () => {
  it('a disruption budget with too many evictions that nothing followed, or that changes all the time: the same; control: a missing right', async () => {
    await using rig = await Rig.start();
    await rig.policies({ evict: acting('evict', [{ action: 'evict' }], budget({})) });
    await rig.start({ budgetGiveUpAfterMs: 500 });
    const refuse = (namespace: string, status: number, message: string) => {
      rig.api.api.create('namespaces', { metadata: { name: namespace } });
      rig.api.faults.inject({ verb: 'create', subresource: 'eviction', namespace, status, message, times: 1e6 });
      return rig.pod({ namespace });
    };
    const many = refuse('many', 403, 'poddisruptionbudget.policy "x" is forbidden: DisruptedPods map too big');
    const busy = refuse('busy', 409, CHANGED);
    const right = refuse(
      'right',
      403,
      'pods "x" is forbidden: User "responder" cannot create resource "pods/eviction"',
    );
    // The responder tries this one for ten minutes.
    await rig.verdict(right, { rule: 'evict' });
    for (const pod of [many, busy])
      expect(await endsOn(rig, pod, 'evict', ['evict', 'quarantine'])).toEqual(['disruption-budget', 'succeeded']);
    const quarantined = await rig.quarantined();
    expect([many, busy, right].map(({ uid }) => quarantined.includes(uid))).toEqual([true, true, false]);
  });

  it('disruption budgets that the API server does not read in time: as one without disruptions', async () => {
    await using rig = await Rig.start();
    rig.api.api.create('namespaces', { metadata: { name: 'slow' } });
    await rig.policies({ evict: acting('evict', [{ action: 'evict' }], budget({})) });
    await rig.start({ budgetGiveUpAfterMs: 500, apiTimeoutMs: 1_000 });
    // As measured on a real one with 40 budgets of 0.8 MB, of which none selects the pod.
    rig.api.faults.inject({ verb: 'create', subresource: 'eviction', namespace: 'slow', hold: true, times: 1e6 });
    const pods = [{}, { hostNetwork: true }].map((more) => rig.pod({ namespace: 'slow', ...more }));
    const [pod, onNode] = pods as [RigPod, RigPod];
    const [ends, onNodeEnds, other] = await Promise.all([
      endsOn(rig, pod, 'evict', ['evict', 'quarantine']),
      endsOn(rig, onNode, 'evict', ['evict', 'quarantine', 'delete']),
      endsOn(rig, rig.pod(), 'evict', ['evict']),
    ]);
    expect(ends).toEqual(['disruption-budget', 'succeeded']);
    expect(onNodeEnds).toEqual(['disruption-budget', 'host-network', 'succeeded']);
    expect(other).toEqual(['succeeded']);
    expect(await rig.quarantined()).toContain(pod.uid);
    expect([rig.podNow(pod)?.metadata.uid, rig.podNow(onNode)]).toEqual([pod.uid, null]);
  });
});

describe('responder - the order of a policy’s steps', () => {
  const steps = ['observe', 'label', 'quarantine', 'delete'];

  it('order - each step begins when the one before it has ended, and a verdict waits for no other', async () => {
    await using rig = await Rig.start();
    await rig.policies({ ordered: acting('ordered', [...steps.slice(0, 3).map((action) => ({ action })), ...DELETE]) });
    await rig.start();
    await rig.start();
    const slow = rig.pod();
    const held = rig.api.faults.inject({ verb: 'create', resource: 'events', delayMs: 600, times: 1 });
    const first = await rig.verdict(slow, { rule: 'ordered' });
    await waitFor(() => held.hits === 1, { what: 'the event of the first verdict to be in flight' });
    const others = await Promise.all(Array.from({ length: 6 }, () => rig.verdict(rig.pod(), { rule: 'ordered' })));
    for (const verdict of [...others, first]) {
      expect((await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'])).phase).toBe('succeeded');
      expect(rig.of(verdict).map(({ action, phase }) => `${action} ${phase}`)).toEqual(
        steps.flatMap((action) => [`${action} started`, `${action} succeeded`]),
      );
    }
  });

  it('order - a failing step delays the next one up to its bound', async () => {
    await using rig = await Rig.start();
    await rig.policies({ stuck: acting('stuck', [{ action: 'label' }, ...DELETE]) });
    await rig.start();
    const pod = rig.pod();
    rig.api.faults.inject({ verb: 'patch', resource: 'pods', name: pod.name, status: 503, times: 1e6 });
    const verdict = await rig.verdict(pod, { rule: 'stuck' });
    expect((await rig.until(verdict, 'delete', 'succeeded')).phase).toBe('succeeded');
    const [label, remove] = ['label', 'delete'].map((action) => rig.of(verdict, action)[0]?.recordedAt ?? 0);
    expect((remove as number) - (label as number)).toBeGreaterThan(8_000_000);
  });
});

describe('responder - a pod that does not end', () => {
  it('grace - a period of a year is shortened, the pod has no network until it is gone, and only then the delete has succeeded', async () => {
    await using rig = await Rig.start();
    await rig.policies({
      remove: acting('remove', DELETE),
      evict: acting('evict', [{ action: 'evict' }]),
      own: acting('own', [{ action: 'delete', gracePeriodSeconds: 2 }]),
    });
    await rig.start({ maxGraceSeconds: 1 });
    for (const [rule, action, graceSeconds] of [
      ['remove', 'delete', 1],
      ['evict', 'evict', 1],
      ['own', 'delete', 2],
    ] as const) {
      const pod = rig.pod({ terminationGracePeriodSeconds: 31_536_000 });
      rig.deaf.add(pod.name);
      const verdict = await rig.verdict(pod, { rule });
      await waitFor(() => rig.podNow(pod)?.metadata.deletionGracePeriodSeconds === graceSeconds, {
        what: `${action} with ${graceSeconds} s of grace`,
        state: () => rig.podNow(pod)?.metadata,
      });
      await waitFor(async () => (await rig.quarantined()).includes(pod.uid), { what: 'the pod to have no network' });
      expect(rig.of(verdict).map(({ phase }) => phase)).toEqual(['started']);
      const end = await rig.until(verdict, action, ['succeeded', 'refused', 'failed']);
      expect(end).toMatchObject({ phase: 'succeeded', reasonCode: '', attempt: 1 });
      expect(end.apiVerb).toBe(action === 'delete' ? 'DELETE' : 'POST');
      expect(rig.podNow(pod)).toBeNull();
      // Its containers may run on: the node decides when it is gone.
      expect(await rig.quarantined()).toContain(pod.uid);
    }
  });

  it('size - a pod that ends slowly is read as a whole for the guards alone, whatever its size; control: it is read often', async () => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', DELETE) });
    await rig.start({ maxGraceSeconds: 6 });
    const pod = rig.pod({ terminationGracePeriodSeconds: 6 });
    rig.deaf.add(pod.name);
    const reads: ('whole' | 'metadata')[] = [];
    using _ = {
      [Symbol.dispose]: rig.api.requests.listen(({ verb, resource, name, accept }) => {
        if (verb !== 'get' || resource !== 'pods' || name !== pod.name) return;
        reads.push(accept.includes('as=PartialObjectMetadata') ? 'metadata' : 'whole');
      }),
    };
    const end = await rig.until(await rig.verdict(pod, { rule: 'remove' }), 'delete', ['succeeded', 'failed']);
    expect(end).toMatchObject({ phase: 'succeeded', reasonCode: '', attempt: 1 });
    expect(reads.filter((one) => one === 'metadata').length, 'control').toBeGreaterThan(2);
    expect(reads.filter((one) => one === 'whole').length).toBeLessThanOrEqual(2);
  });

  it('grace - a deletion that the tenant began with a long period is shortened; one that ends in time is not', async () => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', DELETE) });
    await rig.start({ maxGraceSeconds: 1 });
    const [long, short] = [rig.pod(), rig.pod()];
    rig.deaf.add(long.name).add(short.name);
    rig.api.api.delete('pods', long, { gracePeriodSeconds: 31_536_000 });
    rig.api.api.delete('pods', short, { gracePeriodSeconds: 1 });
    const cut = await rig.until(await rig.verdict(long, { rule: 'remove' }), 'delete', [
      'succeeded',
      'refused',
      'failed',
    ]);
    expect(cut.phase).toBe('succeeded');
    expect(rig.podNow(long)).toBeNull();
    const left = await rig.until(await rig.verdict(short, { rule: 'remove' }), 'delete', ['succeeded', 'refused']);
    expect(left.phase).toBe('succeeded');
    expect(rig.changesOf(short, 'delete')).toEqual([]);
  });

  it('a namespace that an administrator deletes - its pods, which end when their author chose, are evicted, and no Event is tried in it; budgets hold elsewhere', async () => {
    await using rig = await Rig.start();
    rig.api.api.create('namespaces', { metadata: { name: 'ending' } });
    await rig.policies({ evict: acting('evict', [{ action: 'observe' }, { action: 'evict' }]) });
    await rig.start({ maxGraceSeconds: 1, budgetGiveUpAfterMs: 1_000 });
    const spec = { maxUnavailable: 0, selector: { matchLabels: { app: 'held' } } };
    for (const namespace of ['ending', 'shop'])
      rig.api.api.create('poddisruptionbudgets.policy', { metadata: { namespace, name: 'held' }, spec });
    const podIn = (namespace: string) => rig.pod({ namespace, labels: { app: 'held' } });
    const [ending, kept] = [podIn('ending'), podIn('shop')];
    rig.deaf.add(ending.name);
    rig.api.api.delete('namespaces', { name: 'ending' });
    rig.api.api.delete('pods', ending, { gracePeriodSeconds: 31_536_000 });
    const endsOf = async (pod: RigPod) => {
      const verdict = await rig.verdict(pod, { rule: 'evict' });
      const ends = [];
      for (const action of ['observe', 'evict'])
        ends.push(await rig.until(verdict, action, ['succeeded', 'refused', 'failed']));
      return ends.map(({ phase, reasonCode }) => `${phase} ${reasonCode}`);
    };
    expect(await endsOf(ending)).toEqual(['refused namespace-gone', 'succeeded ']);
    expect(rig.podNow(ending)).toBeNull();
    expect(
      rig.changesOf(ending, 'create').map(({ status }) => status),
      'control',
    ).toEqual([403]);
    expect(await endsOf(kept)).toEqual(['succeeded ', 'failed disruption-budget']);
    expect(rig.podNow(kept)?.metadata.uid).toBe(kept.uid);
  }, 60_000);

  it.each([
    ['more seconds than a number holds exactly', 2 ** 53],
    ['a negative number of seconds, which the API server takes for one', -1_000_000],
  ])('grace - %s, of a pod and of a deletion by its tenant: it ends like others', async (_, seconds) => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', DELETE) });
    await rig.start({ maxGraceSeconds: 1 });
    const [running, going] = [0, 1].map(() => rig.pod({ terminationGracePeriodSeconds: seconds })) as [RigPod, RigPod];
    rig.deaf.add(running.name).add(going.name);
    rig.api.api.delete('pods', going, {});
    const period = rig.podNow(going)?.metadata.deletionGracePeriodSeconds;
    expect(period, 'control').toBe(Math.max(1, seconds));
    for (const pod of [running, going]) {
      const verdict = await rig.verdict(pod, { rule: 'remove' });
      await waitFor(() => rig.of(verdict).some(({ phase }) => phase === 'started'), { what: 'the deletion to start' });
      const end = await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'], 60_000);
      expect(end.phase).toBe('succeeded');
      expect(rig.podNow(pod)).toBeNull();
    }
    expect(rig.changesOf(running, 'delete').filter(({ user }) => user.includes('responder')).length).toBe(1);
  });

  it('a pod that its tenant deletes before it attacks has no network until it is gone; a deleted one that attacks nothing keeps its own', async () => {
    await using rig = await Rig.start();
    await rig.policies({ remove: acting('remove', DELETE) });
    await rig.start();
    const [attacker, honest] = [rig.pod(), rig.pod()];
    for (const pod of [attacker, honest]) {
      rig.deaf.add(pod.name);
      rig.api.api.delete('pods', pod, { gracePeriodSeconds: 30 });
    }
    const verdict = await rig.verdict(attacker, { rule: 'remove' });
    await waitFor(async () => (await rig.quarantined()).includes(attacker.uid), { what: 'it to have no network' });
    expect(rig.podNow(attacker)?.metadata.uid, 'control: it still runs').toBe(attacker.uid);
    expect(await rig.quarantined()).toEqual([attacker.uid]);
    rig.api.api.delete('pods', attacker, { gracePeriodSeconds: 0 });
    expect(await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed'])).toMatchObject({
      phase: 'succeeded',
      reasonCode: '',
    });
  });

  it.each([
    ['on another node', { node: 'node-b' }],
    ['on the same node', {}],
    ['on the network of the same node, where no quarantine would block it', { hostNetwork: true }],
  ])(
    'a pod %s, with the name and the claimed UID of one that was removed by force, protects nothing',
    async (_where, more) => {
      await using rig = await Rig.start();
      await rig.policies({
        remove: acting('remove', DELETE),
        isolate: acting('isolate', [{ action: 'quarantine' }]),
      });
      await rig.start();
      for (const [rule, action] of [
        ['remove', 'delete'],
        ['isolate', 'quarantine'],
      ] as const) {
        const attacker = rig.pod();
        rig.api.api.delete('pods', attacker, { gracePeriodSeconds: 0 });
        const annotations = { 'kubernetes.io/config.mirror': attacker.uid };
        const decoy = rig.podCalled(attacker.name, { ...more, annotations });
        const end = await rig.until(await rig.verdict(attacker, { rule }), action, ['succeeded', 'refused', 'failed']);
        expect(end.phase, end.reason).toBe('succeeded');
        expect(await rig.quarantined()).toContain(attacker.uid);
        expect(rig.podNow(decoy)?.metadata.labels?.['bailiff.dev/quarantine']).toBeUndefined();
      }
    },
  );
});

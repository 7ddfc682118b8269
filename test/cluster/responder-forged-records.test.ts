// What docs/threat-model.md says of stolen passwords of `cli` and `correlator`: the responder does not see who stored a
// record, so the credential of operators can store records of the responder. The control is a pod without such a record.
// A verdict may name a pod that the API server no longer has, so nothing proves whose UID it names.

import { type Bus, publishOnce, responseSubject, verdictSubject } from '@bailiff/bus';
import { phaseGroupOf, responseIdOf } from '@bailiff/response';
import { encodeResponse, encodeVerdict, type Response } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acting, Rig, type RigPod } from './responder/rig.ts';

const BUDGET = { window: '10m', maxPods: 3, maxPercent: 100, maxNodes: 100 };
const ENDED = ['succeeded', 'refused', 'failed'] as const;

let rig: Rig;
let thief: Bus;
beforeAll(async () => {
  rig = await Rig.start();
  const remove = [{ action: 'delete' }];
  const isolate = acting('isolate', [{ action: 'quarantine', expires: '10m' }]);
  await rig.policies({ remove: acting('remove', remove), few: acting('few', remove, { budget: BUDGET }), isolate });
  thief = await rig.nats.connect('cli');
});
afterAll(async () => rig?.[Symbol.asyncDispose]());

/** Stores that the responder deleted a pod. */
function forge(pod: RigPod, key: Pick<Response, 'verdictId' | 'policy'>) {
  const record = sampleResponse({
    ...key,
    action: 'delete',
    phase: 'succeeded',
    podUid: pod.uid,
    podName: pod.name,
    podNamespace: pod.namespace,
    nodeName: pod.node,
    ownerUid: '',
    recordedAt: Date.now() * 1_000,
  });
  record.responseId = responseIdOf(record, phaseGroupOf(record.phase));
  return publishOnce(thief, responseSubject(record), encodeResponse(record));
}

test('forged records - a task whose end the password of cli has stored does not run, and budgets count its actions', async () => {
  const [spared, control, late] = [rig.pod(), rig.pod(), rig.pod()];
  const verdict = await rig.verdict(spared, { rule: 'remove' });
  await forge(spared, { verdictId: verdict.verdictId, policy: 'remove' });
  for (let pod = 0; pod < BUDGET.maxPods; pod += 1)
    await forge({ ...spared, uid: `uid-${pod}` }, { verdictId: `aaaaaaaaaaaaaaa${pod}`, policy: 'few' });
  await rig.start();
  await rig.until(await rig.verdict(control, { rule: 'remove' }), 'delete', 'succeeded');
  expect(rig.changesOf(control, 'delete')).toHaveLength(1);
  expect(rig.changesOf(spared, 'delete')).toHaveLength(0);
  const end = await rig.until(await rig.verdict(late, { rule: 'few' }), 'delete', [...ENDED]);
  expect([end.phase, end.reasonCode]).toEqual(['refused', 'budget-exhausted']);
});

test('forged verdicts - the password of correlator has any pod quarantined by its UID; control: under its own name', async () => {
  const correlator = await rig.nats.connect('correlator');
  const answer = async (pod: RigPod) => {
    const verdict = rig.verdictOf(pod, { rule: 'isolate' });
    await publishOnce(correlator, verdictSubject(verdict), encodeVerdict(verdict));
    return rig.until(verdict, 'quarantine', [...ENDED]);
  };
  const dns = rig.pod({ namespace: 'kube-system' });
  expect(await answer(dns)).toMatchObject({ phase: 'refused', reasonCode: 'protected-namespace' });
  expect(await rig.quarantined()).not.toContain(dns.uid);
  expect((await answer({ ...dns, namespace: 'shop', name: 'none' })).phase).toBe('succeeded');
  expect(await rig.quarantined()).toContain(dns.uid);
});

import { encodeViolationFrame, type PodIdentity, type PodRef } from '@bailiff/schemas';
import { sampleFrame, sampleLsmViolation } from '@bailiff/schemas/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { storedPodRef } from '../../identity/stored-pod-ref.ts';
import type { ContainerRef } from '../counting/account.ts';
import { denying, podIdentity, uidOf } from '../testing.ts';
import { desiredSubjects } from './desired.ts';
import { Policies } from './policies.ts';
import { MAX_REFUSED_SUBJECTS, policyStatuses, refusedSubjects } from './policy-status.ts';

const KEY = 'runtime.cluster._.guard';
const app: ContainerRef = { name: 'app', id: 'x://1', cgroupId: '11' };
const sidecar: ContainerRef = { name: 'proxy', id: 'x://2', cgroupId: '12' };

describe('desired subjects', () => {
  let policies: Policies;
  beforeEach(() => {
    policies = new Policies();
  });
  const desired = (pods: PodIdentity[], containers: ContainerRef[] = []) =>
    desiredSubjects({ pods, policies, containersOf: () => containers, auditUntilNs: () => 0n });
  const ruleNames = (pods: PodIdentity[], containers: ContainerRef[] = []) =>
    desired(pods, containers).subjects.map(({ key, set, hasContainers }) => [
      key,
      set?.rules.map(({ name }) => name) ?? null,
      hasContainers,
    ]);

  it('pods with the same policies - share a set; unselected pods have none', () => {
    policies.receive(KEY, denying({ one: '/bin/one' }, { selector: { podLabels: { matchLabels: { app: 'web' } } } }));
    const pods = [podIdentity('a'), podIdentity('b'), podIdentity('c', { labels: {} })];
    const [first, second, third] = desired(pods).subjects;
    expect(first?.set).toBe(second?.set);
    expect(third?.set).toBeNull();
    expect(policyStatuses(policies, desired(pods).subjects, [])).toEqual([
      { key: KEY, revision: 0, state: 'in-force', reason: '', subjects: 2 },
    ]);
  });

  it('owner - one whose UID has more bytes than characters keeps no frame back, also from the state directory', () => {
    const owner = { kind: 'Thing', name: 'x', uid: '€'.repeat(128) };
    const [subject] = desired([podIdentity('a', { owners: [owner] })]).subjects;
    const uncut = { ...(subject?.pod as PodRef), ownerUid: owner.uid };
    const frameOf = (pod: PodRef) => sampleFrame({ violations: [sampleLsmViolation(), sampleLsmViolation({ pod })] });
    for (const pod of [subject?.pod as PodRef, storedPodRef.parse(uncut)])
      expect(() => encodeViolationFrame(frameOf(pod))).not.toThrow();
    expect(() => encodeViolationFrame(frameOf(uncut)), 'control').toThrow('ownerUid has 384 bytes');
  });

  it('policy of one container - its own set, before its pod; the others have the common set', () => {
    const pod = podIdentity('a');
    policies.receive(KEY, denying({ all: '/bin/all' }));
    policies.receive(
      'runtime.namespace.shop.of-app',
      denying({ own: '/bin/own' }, { selector: { containers: ['app'] } }),
    );
    expect(ruleNames([pod], [app, sidecar])).toEqual([
      ['c11', ['all', 'own'], false],
      [uidOf(pod), ['all'], true],
    ]);
    expect(ruleNames([pod])).toEqual([[uidOf(pod), ['all'], false]]);
  });

  it('bad value - rejected with its field, the last good one stays; deleting the key removes both', () => {
    policies.receive(KEY, denying({ one: '/bin/one' }));
    expect(policies.receive(KEY, '{"revision":4,"rules":[{"name":"x","action":"block"}]}')).toMatchObject({
      refused: expect.stringContaining('rules.0'),
    });
    const pod = podIdentity('a');
    expect(ruleNames([pod])).toEqual([[uidOf(pod), ['one'], false]]);
    expect(policyStatuses(policies, desired([pod]).subjects, [])).toMatchObject([
      { key: KEY, revision: 4, state: 'refused', subjects: 1 },
    ]);
    policies.receive(KEY, null);
    expect(ruleNames([pod])).toEqual([[uidOf(pod), null, false]]);
    expect(policyStatuses(policies, [], [])).toEqual([]);
  });

  it('policies that cannot be merged - refused with the reason', () => {
    const path = '/bin/crowded';
    for (let i = 0; i < 20; i += 1) {
      const many = Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`r${n}`, `/bin/${i}-${n}`]));
      policies.receive(`runtime.cluster._.p${i}`, denying({ ...many, crowded: path }));
    }
    const { subjects, refusals } = desired([podIdentity('a')]);
    expect(subjects).toEqual([]);
    expect(refusals).toMatchObject([{ reason: expect.stringContaining('rules hold for one container') }]);
    expect(policyStatuses(policies, subjects, refusals).every(({ state }) => state === 'refused')).toBe(true);
    const reason = expect.stringMatching(/rules hold/);
    expect(refusedSubjects(refusals)).toEqual({
      refusedSubjects: [{ podUid: podIdentity('a').uid, container: null, reason }],
      refusedSubjectsOmitted: 0,
    });
    const crowd = Array.from({ length: MAX_REFUSED_SUBJECTS + 3 }, () => refusals[0] as (typeof refusals)[number]);
    expect(refusedSubjects(crowd)).toMatchObject({
      refusedSubjects: { length: MAX_REFUSED_SUBJECTS },
      refusedSubjectsOmitted: 3,
    });
  });

  it('cells - named by policy and rule, with the facts of the policy; postures and unresolved paths too', () => {
    policies.receive(KEY, denying({ one: '/bin/one' }, { revision: 3, severity: 'high', tags: ['t'], message: 'no' }));
    const { set } = policies.match(podIdentity('a'), null);
    const facts = policies.factsOf(set as NonNullable<typeof set>);
    expect(facts[0]).toEqual({
      vector: 'guard/one',
      action: 'drop',
      policy: KEY,
      policyRevision: 3,
      severity: 'high',
      tags: ['t'],
      message: 'no',
    });
    expect(facts.at(-1)).toMatchObject({ vector: 'unresolved', action: 'drop', policy: '' });
    expect(policies.factsOf(set as NonNullable<typeof set>)).toBe(facts);
  });
});

import type { PlacedPod } from '@bailiff/insight';
import type { NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { asHypothetical, notInForce, podObstacle, podPlaces } from './in-force.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
const status = (state: string, reason = '', ageMs = 0) =>
  ({
    collectorVersion: '0.1.0',
    updatedAt: new Date(NOW_MS - ageMs).toISOString(),
    configRefused: [],
    runtime: { state, reason, remedy: '', policies: [] },
  }) as unknown as NodeStatus;

describe('policies where a pod runs', () => {
  it.each<[string, NodeStatus | undefined, string | null]>([
    ['a node that enforces', status('available'), null],
    ['one that is silent: what was in force still is', status('available', '', 600_000), null],
    ['one without LSM', status('unavailable', 'EPERM'), 'not in force on node-1: LSM unavailable: "EPERM"'],
    ['one where it is not wanted', status('off', 'runtime is off'), 'not in force on node-1: "runtime is off"'],
    ['one without a collector', undefined, 'not in force on node-1: no collector has ever reported'],
  ])('%s', (_, node, words) => {
    expect(notInForce('node-1', node, NOW_MS)).toBe(words);
  });

  it('unenforced rule - reported as would-deny; an allowed operation passes', () => {
    expect(asHypothetical('connect 1.1.1.1 is blocked: rule a/b denies it')).toBe(
      'connect 1.1.1.1 would be blocked: rule a/b denies it',
    );
    expect(asHypothetical('x is blocked and its process killed: y')).toBe(
      'x would be blocked and its process killed: y',
    );
    expect(asHypothetical('x passes: y is blocked')).toBe('x passes: y is blocked');
  });
});

describe('policies of one pod', () => {
  const KEY = 'runtime.cluster._.no-shell';
  const CROWDED = 'pod b: 300 rules hold for one container';
  const pod = { uid: 'a', nodeName: 'node-1', hostNetwork: false, listRevision: 4 } as unknown as PlacedPod;
  const policy = (state: string, revision = 3, reason = '') => ({ key: KEY, revision, state, reason, subjects: 1 });
  const node = (policies: object[], runtime: object = {}, part: object = {}) => {
    const base = status('available') as unknown as { runtime: object };
    const reported = { refusedSubjects: [], policiesOmitted: 0, ...base.runtime, policies, ...runtime };
    return {
      ...base,
      interfaces: [{ podUid: 'a' }],
      snapshotRevision: 4,
      ...part,
      runtime: reported,
    } as unknown as NodeStatus;
  };
  const refusal = (podUid: string, reason = CROWDED, container: string | null = null) => ({
    podUid,
    container,
    reason,
  });
  const at = (node: NodeStatus | undefined) => podPlaces(pod, [{ key: KEY, revision: 3 }], node, NOW_MS)[0];

  it.each<[string, NodeStatus | undefined, string, RegExp]>([
    ['held to it', node([policy('in-force')]), 'in force', /^$/],
    ['an older revision there', node([policy('in-force', 2)]), 'not yet', /node-1: still at revision 2/],
    ['not taken there', node([]), 'not yet', /node-1: not applied yet/],
    [
      'refused for this very pod',
      node([policy('refused', 3, CROWDED)], { refusedSubjects: [refusal('a', 'pod a: too many')] }),
      'refused',
      /^"pod a: too many"; its previous policies stay in force/,
    ],
    [
      'refused for a container of it',
      node([policy('in-force')], { refusedSubjects: [refusal('a', 'too many', 'app')] }),
      'refused',
      /^container app: "too many"/,
    ],
    [
      'refused for another pod of the node: this one has it',
      node([policy('refused', 3, CROWDED)], { refusedSubjects: [refusal('b')] }),
      'in force',
      /^$/,
    ],
    [
      'refused for more pods than the node could name',
      node([policy('refused', 3, CROWDED)], { refusedSubjects: [refusal('b')], refusedSubjectsOmitted: 1 }),
      'not known',
      /possibly this one/,
    ],
    ['refused by itself', node([policy('refused', 3, 'mode: wrong')]), 'refused', /^node-1: "mode: wrong"$/],
    [
      'a collector that does not tell of pods',
      node([policy('refused', 3, CROWDED)], { refusedSubjects: undefined }),
      'not known',
      /possibly this one/,
    ],
    [
      'a pod of a newer list',
      node([policy('in-force')], {}, { interfaces: [], snapshotRevision: 3 }),
      'not yet',
      /snapshot/,
    ],
    ['a node without LSM', status('unavailable', 'EPERM'), 'not in force', /^node-1: LSM unavailable: "EPERM"$/],
    ['a silent node', status('available', '', 600_000), 'not known', /^node-1 is silent for 10m/],
    ['no collector', undefined, 'not in force', /no collector/],
  ])('%s', (_, node, state, reason) => {
    expect(at(node)).toEqual({ key: KEY, state, reason: expect.stringMatching(reason) });
  });

  it('a decision - is one of the books where a policy is known not to hold', () => {
    const one = (state: 'in force' | 'not known' | 'refused' | 'not in force') => ({ key: KEY, state, reason: 'why' });
    expect(podObstacle([one('in force'), one('not known')])).toBeNull();
    expect(podObstacle([one('in force'), one('refused')])).toBe('refused here: why');
    expect(podObstacle([one('not in force')])).toBe('not in force on why');
  });
});

// Pods without an object: listed while their node reports them, and bounded.
import type { PodIdentity } from '@bailiff/schemas';
import { samplePodIdentity } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { EndedPods, MAX_FORMER } from './ended-pods.ts';

const NODE = 'node-a';
const MINUTE = 60_000;
const identity = (uid: string, more: Partial<PodIdentity> = {}): PodIdentity =>
  samplePodIdentity({ uid, name: `pod-${uid}`, owners: [], ...more });
const uids = (pods: EndedPods) => pods.of(NODE).map(({ uid }) => uid);

describe('ended pods', () => {
  it('a removed pod - is listed as ended only when its node reports it', () => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('a'), 0);
    expect(uids(pods)).toEqual([]);
    expect(pods.reported(NODE, new Set(['a']), 1)).toBe(true);
    expect(pods.of(NODE)).toEqual([{ ...identity('a'), ended: true }]);
    expect(pods.reported(NODE, new Set(['a']), 2)).toBe(false);
  });

  it.each([
    ['a pod that was never in its list', NODE, 'b'],
    ['a pod of another node', 'node-b', 'a'],
  ])('a node reports %s - nothing is listed', (_name, node, uid) => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('a'), 0);
    expect(pods.reported(node, new Set([uid]), 1)).toBe(false);
    expect([...pods.of(NODE), ...pods.of(node)]).toEqual([]);
  });

  it('a listed pod - stays as long as it is reported, and leaves five minutes after', () => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('a'), 0);
    for (let minute = 1; minute < 2_000; minute += 4) {
      pods.reported(NODE, new Set(['a']), minute * MINUTE);
      expect(pods.expire(minute * MINUTE)).toEqual(new Set());
    }
    const last = 1_997 * MINUTE;
    expect(pods.expire(last + 5 * MINUTE - 1)).toEqual(new Set());
    expect(pods.expire(last + 5 * MINUTE)).toEqual(new Set([NODE]));
    expect(uids(pods)).toEqual([]);
    expect(pods.reported(NODE, new Set(['a']), last + 6 * MINUTE)).toBe(false);
  });

  it('a pod that its node does not report - is forgotten after ten minutes', () => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('a'), 0);
    expect(pods.expire(10 * MINUTE - 1)).toEqual(new Set());
    expect(pods.reported(NODE, new Set(['a']), 10 * MINUTE - 1)).toBe(true);
    pods.forget('a');
    pods.removed(NODE, identity('a'), 0);
    expect(pods.expire(10 * MINUTE)).toEqual(new Set());
    expect(pods.reported(NODE, new Set(['a']), 10 * MINUTE)).toBe(false);
  });

  it('a list of a former leader - its ended pods are listed at once', () => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('a', { ended: true }), 0);
    expect(uids(pods)).toEqual(['a']);
  });

  it('a namespace that removes more pods than are kept - loses its own, first those that no node reports', () => {
    const pods = new EndedPods();
    pods.removed(NODE, identity('neighbour', { namespace: 'quiet' }), 0);
    pods.removed(NODE, identity('reported'), 0);
    pods.reported(NODE, new Set(['reported']), 0);
    const churn = Array.from({ length: 2 * MAX_FORMER }, (_, n) => `${n}`);
    for (const uid of churn) pods.removed(NODE, identity(uid), 0);
    pods.reported(NODE, new Set(['neighbour', ...churn]), 1);
    expect(uids(pods)).toHaveLength(MAX_FORMER);
    expect(uids(pods)).toEqual(expect.arrayContaining(['neighbour', 'reported', churn.at(-1)]));
    expect(uids(pods)).not.toContain('0');
  });

  it.each([
    ['that the kubelet never started - hide none that may run on', '', true],
    ['that ran (control) - displace it before its node reports it', 'c1', false],
  ])('thousands of pods of its namespace %s', (_name, id, isKept) => {
    const pods = new EndedPods();
    const of = (uid: string, containerId: string) =>
      identity(uid, { namespace: 'tenant', containers: [{ name: 'main', id: containerId }] });
    pods.removed(NODE, of('attacker', 'c0'), 0);
    for (let n = 0; n < 2 * MAX_FORMER; n++) pods.removed(NODE, of(`${n}`, id), 1);
    expect(pods.reported(NODE, new Set(['attacker']), 2)).toBe(isKept);
    // Removed when the bound was reached before: it is not the one that is lost.
    pods.removed(NODE, of('late', 'c2'), 3);
    expect(pods.reported(NODE, new Set(['late']), 4)).toBe(true);
  });

  it('pods of a tenant that run on without an object - do not displace those of others; control: within one namespace, the newest is lost', () => {
    const pods = new EndedPods();
    const ghosts = Array.from({ length: MAX_FORMER }, (_, n) => `${n}`);
    for (const uid of ghosts) pods.removed(NODE, identity(uid, { namespace: 'tenant' }), 0);
    pods.reported(NODE, new Set(ghosts), 1);
    pods.removed(NODE, identity('neighbour', { namespace: 'quiet' }), 2);
    pods.reported(NODE, new Set(['neighbour', ...ghosts]), 3);
    expect(uids(pods)).toContain('neighbour');
    expect([uids(pods).length, uids(pods).includes('0')]).toEqual([MAX_FORMER, false]);
    // Those that no node reports yet are lost first.
    pods.removed(NODE, identity('own', { namespace: 'tenant' }), 4);
    expect([pods.reported(NODE, new Set(['own']), 5), uids(pods).length]).toEqual([false, MAX_FORMER]);
  });

  it('a list of a former leader with more ended pods than are kept - is bounded', () => {
    const pods = new EndedPods();
    for (let n = 0; n < MAX_FORMER + 100; n++) pods.removed(NODE, identity(`${n}`, { ended: true }), 0);
    expect(uids(pods)).toHaveLength(MAX_FORMER);
  });

  it('a large pod - keeps what identifies it, and the labels that policies select by', () => {
    const large = identity('a', { labels: { filler: 'x'.repeat(7_000), zone: 'restricted' } });
    const labelsBy = (...names: string[]) => {
      const pods = new EndedPods(() => new Set(names));
      pods.removed(NODE, large, 0);
      pods.reported(NODE, new Set(['a']), 1);
      const [{ labels, ...rest } = large] = pods.of(NODE);
      expect({ ...rest, labels: {} }).toEqual({ ...large, labels: {}, cut: true, ended: true });
      return labels;
    };
    expect(labelsBy('zone', 'app')).toEqual({ zone: 'restricted' });
    expect(labelsBy()).toEqual({});
  });
});

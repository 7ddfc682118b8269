import { describe, expect, it } from 'vitest';
import { MINUTE, membersOf, podRef, SECOND, snapshotJson, T0 } from '../testing.ts';
import { POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';
import { NO_PRECEDENTS, standingOf } from './attribution.ts';
import { Members } from './pod-inventory.ts';

const web = podRef('web');
const db = podRef('db');
const stand = (members: Members, node: string, pod = web, at = T0, precedents = NO_PRECEDENTS) => {
  const { is, atMicros } = standingOf(members, precedents, { node, pod, sequence: 1, index: 0, timestampMicros: at });
  return [is, atMicros - at];
};
const DEADLINE = POD_GRACE_MICROS + SETTLE_MICROS;

describe('foreign - who may speak of whom', () => {
  it('listed - the node that has the pod may, another may not', () => {
    const members = membersOf({ 'node-a': [web], 'node-b': [db] });
    expect(stand(members, 'node-a')).toEqual(['listed', 0]);
    expect(stand(members, 'node-b')).toEqual(['foreign-pod', 0]);
    expect(stand(members, 'node-c')).toEqual(['foreign-pod', 0]);
  });

  it.each([{ name: 'other' }, { namespace: 'kube-system' }])('listed - under another name (%j) is a lie', (more) => {
    const members = membersOf({ 'node-a': [web] });
    expect(stand(members, 'node-a', { ...web, ...more })).toEqual(['foreign-pod', 0]);
  });

  it('invented - a pod that nobody lists waits for the grace, then is a lie when the list has no gap', () => {
    const members = membersOf({ 'node-a': [web] });
    expect(stand(members, 'node-a', podRef('ghost'))).toEqual(['foreign-pod', DEADLINE]);
  });

  it('invented - where there is no list nobody is blamed', () => {
    expect(stand(new Members(), 'node-a')).toEqual(['unproven-pod', DEADLINE]);
  });

  it('not yet listed - holds from a settling time after its list, within the grace; later is too late', () => {
    const members = membersOf({ 'node-a': [] });
    const list = (after: number) => {
      const again = membersOf({ 'node-a': [] });
      const json = snapshotJson('node-a', [web], 2);
      again.apply({ node: 'node-a', timestampMicros: T0 + after, revision: 9, previousRevision: 1, json });
      return stand(again, 'node-a');
    };
    expect(stand(members, 'node-a')).toEqual(['foreign-pod', DEADLINE]);
    expect(list(SECOND / 2)).toEqual(['listed', SECOND / 2 + SETTLE_MICROS]);
    expect(list(-SECOND / 2)).toEqual(['listed', SECOND / 2]);
    expect(list(-SECOND)).toEqual(['listed', 0]);
    expect(list(POD_GRACE_MICROS + 1)).toEqual(['foreign-pod', DEADLINE]);
  });

  it('former - may be named for ten minutes, then nobody is blamed but nothing is judged', () => {
    const members = membersOf({ 'node-a': [web] });
    const json = snapshotJson('node-a', [], 2);
    members.apply({ node: 'node-a', timestampMicros: T0, revision: 2, previousRevision: 1, json });
    expect(stand(members, 'node-a', web, T0 + 10 * MINUTE)).toEqual(['listed', 0]);
    expect(stand(members, 'node-a', web, T0 + 10 * MINUTE + 1)).toEqual(['unproven-pod', 0]);
    expect(stand(members, 'node-b', web, T0 + MINUTE)).toEqual(['foreign-pod', 0]);
  });

  it('late reader - a list with a past unknown to it vouches for who is in it and blames nobody for ten minutes', () => {
    const members = new Members();
    const json = snapshotJson('node-a', [web], 7);
    members.apply({ node: 'node-a', timestampMicros: T0 - MINUTE, revision: 40, previousRevision: 31, json });
    expect(stand(members, 'node-a', web, T0 - 60 * MINUTE)).toEqual(['listed', 0]);
    expect(stand(members, 'node-a', podRef('ghost'))).toEqual(['unproven-pod', DEADLINE]);
    expect(stand(members, 'node-a', podRef('ghost'), T0 + 9 * MINUTE)).toEqual(['foreign-pod', DEADLINE]);
  });

  it('replay - a claim older than what is known of the list is judged as it was judged then', () => {
    const members = new Members();
    const refused = new Map([[1, 'foreign-pod']]);
    const precedents = { untilMicros: T0, reasonOf: (sequence: number) => refused.get(sequence) };
    expect(stand(members, 'node-a', web, T0, precedents)).toEqual(['foreign-pod', 0]);
    refused.clear();
    expect(stand(members, 'node-a', web, T0, precedents)).toEqual(['precedent', 0]);
    expect(stand(members, 'node-a', web, T0 + 1, precedents)).toEqual(['unproven-pod', DEADLINE]);
    // What can be shown is not a matter of precedent.
    const elsewhere = membersOf({ 'node-b': [web] });
    expect(stand(elsewhere, 'node-a', web, T0, precedents)).toEqual(['foreign-pod', 0]);
  });
});

describe('members - snapshots', () => {
  const at = (timestampMicros: number, revision: number, previousRevision: number | null, json: string | null) => ({
    node: 'node-a',
    timestampMicros,
    revision,
    previousRevision,
    json,
  });

  it('gap - a snapshot that replaces one that was not seen starts the known time anew', () => {
    const members = new Members();
    members.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    expect(members.knownSince('node-a')).toBe(0);
    members.apply(at(T0 + 1, 2, 1, snapshotJson('node-a', [web, db], 2)));
    expect(members.knownSince('node-a')).toBe(0);
    members.apply(at(T0 + 5, 9, 8, snapshotJson('node-a', [web, db], 3)));
    expect(members.knownSince('node-a')).toBe(T0 + 5);
    expect(members.knownSince('node-b')).toBeNull();
  });

  it('deleted - everybody left', () => {
    const members = new Members();
    members.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    members.apply(at(T0 + 5, 2, 1, null));
    expect([members.listed, members.former, members.of(web.uid)[0]?.until]).toEqual([0, 1, T0 + 5]);
    members.apply(at(T0 + 6, 3, 2, snapshotJson('node-a', [web], 1)));
    expect([members.listed, members.of(web.uid)[0]?.until]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  it.each([
    ['{', /not JSON/],
    ['[]', /not an object/],
    [snapshotJson('node-b', [web], 9), /nodeName/],
    ['{"nodeName":"node-a","revision":"x","pods":[]}', /revision/],
    ['{"nodeName":"node-a","revision":9,"pods":[{"uid":"u"}]}', /pods\.0/],
    [snapshotJson('node-a', [], 1), /older than 2/],
  ])('refused - %s: the last good list stays', (json, why) => {
    const members = new Members();
    members.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 2)));
    expect(members.apply(at(T0, 2, 1, json))).toMatch(why);
    expect(members.listed).toBe(1);
  });

  it('memory - who left is forgotten after a day', () => {
    const members = new Members();
    members.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    members.apply(at(T0 + 1, 2, 1, snapshotJson('node-a', [], 2)));
    members.apply(at(T0 + 24 * 60 * MINUTE + 2, 3, 2, snapshotJson('node-a', [], 3)));
    expect([members.former, members.of(web.uid)]).toEqual([0, []]);
  });
});

import { describe, expect, it } from 'vitest';
import { MINUTE, podInventoryOf, podRef, SECOND, snapshotJson, T0 } from '../testing.ts';
import { POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';
import { attributePod, NO_PRIOR_REFUSALS, type ReportPlace } from './attribution.ts';
import { PodInventory } from './pod-inventory.ts';

const web = podRef('web');
const db = podRef('db');
const attribute = (inventory: PodInventory, node: string, pod = web, at = T0, priorRefusals = NO_PRIOR_REFUSALS) => {
  const { outcome, atMicros } = attributePod(inventory, priorRefusals, {
    node,
    pod,
    sequence: 1,
    index: 0,
    timestampMicros: at,
  });
  return [outcome, atMicros - at];
};
const DEADLINE = POD_GRACE_MICROS + SETTLE_MICROS;

describe('pod attribution - reports', () => {
  it('listed - accepted from the pod’s node, foreign from any other', () => {
    const inventory = podInventoryOf({ 'node-a': [web], 'node-b': [db] });
    expect(attribute(inventory, 'node-a')).toEqual(['listed', 0]);
    expect(attribute(inventory, 'node-b')).toEqual(['foreign-pod', 0]);
    expect(attribute(inventory, 'node-c')).toEqual(['foreign-pod', 0]);
  });

  it.each([{ name: 'other' }, { namespace: 'kube-system' }])('listed - under another name (%j) is foreign', (more) => {
    const inventory = podInventoryOf({ 'node-a': [web] });
    expect(attribute(inventory, 'node-a', { ...web, ...more })).toEqual(['foreign-pod', 0]);
  });

  it('unlisted - unproven after the grace period, although the list is complete: it may have begun and been removed by force while no ipam-sync ran', () => {
    const inventory = podInventoryOf({ 'node-a': [web] });
    expect(attribute(inventory, 'node-a', podRef('ghost'))).toEqual(['unproven-pod', DEADLINE]);
    expect(attribute(inventory, 'node-b', web), 'control: the list of another node names it').toEqual([
      'foreign-pod',
      0,
    ]);
  });

  it('unlisted - unproven if the node has no list', () => {
    expect(attribute(new PodInventory(), 'node-a')).toEqual(['unproven-pod', DEADLINE]);
  });

  it('not yet listed - accepted a settling time after its snapshot, if that is within the grace period', () => {
    const inventory = podInventoryOf({ 'node-a': [] });
    const list = (after: number) => {
      const again = podInventoryOf({ 'node-a': [] });
      const json = snapshotJson('node-a', [web], 2);
      again.apply({ node: 'node-a', timestampMicros: T0 + after, revision: 9, previousRevision: 1, json });
      return attribute(again, 'node-a');
    };
    expect(attribute(inventory, 'node-a')).toEqual(['unproven-pod', DEADLINE]);
    expect(list(SECOND / 2)).toEqual(['listed', SECOND / 2 + SETTLE_MICROS]);
    expect(list(-SECOND / 2)).toEqual(['listed', SECOND / 2]);
    expect(list(-SECOND)).toEqual(['listed', 0]);
    expect(list(POD_GRACE_MICROS + 1)).toEqual(['unproven-pod', DEADLINE]);
  });

  it('former - accepted for ten minutes, then unproven', () => {
    const inventory = podInventoryOf({ 'node-a': [web] });
    const json = snapshotJson('node-a', [], 2);
    inventory.apply({ node: 'node-a', timestampMicros: T0, revision: 2, previousRevision: 1, json });
    expect(attribute(inventory, 'node-a', web, T0 + 10 * MINUTE)).toEqual(['listed', 0]);
    expect(attribute(inventory, 'node-a', web, T0 + 10 * MINUTE + 1)).toEqual(['unproven-pod', 0]);
    expect(attribute(inventory, 'node-b', web, T0 + MINUTE)).toEqual(['foreign-pod', 0]);
  });

  it('late reader - a list with a gap proves its pods; after ten minutes it decides about a replayed report on a missing one', () => {
    const inventory = new PodInventory();
    const json = snapshotJson('node-a', [web], 7);
    inventory.apply({ node: 'node-a', timestampMicros: T0 - MINUTE, revision: 40, previousRevision: 31, json });
    expect(attribute(inventory, 'node-a', web, T0 - 60 * MINUTE)).toEqual(['listed', 0]);
    const replayed = { ...NO_PRIOR_REFUSALS, untilMicros: T0 + 60 * MINUTE };
    const ghost = (at: number, priorRefusals = replayed) =>
      attribute(inventory, 'node-a', podRef('ghost'), at, priorRefusals);
    expect(ghost(T0, NO_PRIOR_REFUSALS)).toEqual(['unproven-pod', DEADLINE]);
    expect(ghost(T0)).toEqual(['accepted-before', 0]);
    expect(ghost(T0 + 9 * MINUTE)).toEqual(['unproven-pod', DEADLINE]);
  });

  it('replay - a report older than the list gets its earlier decision', () => {
    const inventory = new PodInventory();
    const refused = new Map([[1, 'foreign-pod']]);
    const priorRefusals = {
      untilMicros: T0,
      letterOf: (sequence: number) => refused.get(sequence),
      reasonOf: ({ sequence }: ReportPlace) => refused.get(sequence),
    };
    expect(attribute(inventory, 'node-a', web, T0, priorRefusals)).toEqual(['foreign-pod', 0]);
    // A letter outweighs a list that names the pod since.
    expect(attribute(podInventoryOf({ 'node-a': [web] }), 'node-a', web, T0, priorRefusals)).toEqual([
      'foreign-pod',
      0,
    ]);
    refused.clear();
    expect(attribute(inventory, 'node-a', web, T0, priorRefusals)).toEqual(['accepted-before', 0]);
    expect(attribute(inventory, 'node-a', web, T0 + 1, priorRefusals)).toEqual(['unproven-pod', DEADLINE]);
    // A list outweighs the earlier decision.
    const elsewhere = podInventoryOf({ 'node-b': [web] });
    expect(attribute(elsewhere, 'node-a', web, T0, priorRefusals)).toEqual(['foreign-pod', 0]);
  });
});

describe('pod inventory - snapshots', () => {
  const at = (timestampMicros: number, revision: number, previousRevision: number | null, json: string | null) => ({
    node: 'node-a',
    timestampMicros,
    revision,
    previousRevision,
    json,
  });

  it('gap - a snapshot that replaced an unseen one restarts the complete period', () => {
    const inventory = new PodInventory();
    inventory.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    expect(inventory.completeSince('node-a')).toBe(0);
    inventory.apply(at(T0 + 1, 2, 1, snapshotJson('node-a', [web, db], 2)));
    expect(inventory.completeSince('node-a')).toBe(0);
    inventory.apply(at(T0 + 5, 9, 8, snapshotJson('node-a', [web, db], 3)));
    expect(inventory.completeSince('node-a')).toBe(T0 + 5);
    expect(inventory.completeSince('node-b')).toBeNull();
  });

  it('order - the bucket decides, not the revision in a list: the highest one freezes no list', () => {
    const inventory = new PodInventory();
    inventory.apply(at(T0, 1, 0, snapshotJson('node-a', [web], Number.MAX_SAFE_INTEGER)));
    expect(inventory.apply(at(T0 + 1, 2, 1, snapshotJson('node-a', [web, db], 1)))).toBeNull();
    expect(inventory.listed).toBe(2);
  });

  it('deleted - all pods left', () => {
    const inventory = new PodInventory();
    inventory.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    inventory.apply(at(T0 + 5, 2, 1, null));
    expect([inventory.listed, inventory.former, inventory.entriesOf(web.uid)[0]?.until]).toEqual([0, 1, T0 + 5]);
    inventory.apply(at(T0 + 6, 3, 2, snapshotJson('node-a', [web], 1)));
    expect([inventory.listed, inventory.entriesOf(web.uid)[0]?.until]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  it.each([
    ['{', /not JSON/],
    ['[]', /not an object/],
    [snapshotJson('node-b', [web], 9), /nodeName/],
    ['{"nodeName":"node-a","revision":9,"pods":[{"uid":"u"}]}', /pods\.0/],
  ])('refused - %s: the last valid list stays', (json, why) => {
    const inventory = new PodInventory();
    inventory.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 2)));
    expect(inventory.apply(at(T0, 2, 1, json))).toMatch(why);
    expect(inventory.listed).toBe(1);
  });

  it('memory - former pods expire after a day', () => {
    const inventory = new PodInventory();
    inventory.apply(at(T0, 1, 0, snapshotJson('node-a', [web], 1)));
    inventory.apply(at(T0 + 1, 2, 1, snapshotJson('node-a', [], 2)));
    inventory.apply(at(T0 + 24 * 60 * MINUTE + 2, 3, 2, snapshotJson('node-a', [], 3)));
    expect([inventory.former, inventory.entriesOf(web.uid)]).toEqual([0, []]);
  });
});

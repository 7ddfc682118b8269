import { expect, test } from 'vitest';
import { podRef, snapshotJson } from '../testing.ts';
import { FORMER_MEMORY_MICROS, MAX_FORMER_PER_NODE, Members, type SnapshotEntry } from './pod-inventory.ts';

const snapshot = (
  revision: number,
  previousRevision: number,
  names: string[],
  timestampMicros: number,
): SnapshotEntry => ({
  node: 'node-a',
  timestampMicros,
  revision,
  previousRevision,
  json: snapshotJson(
    'node-a',
    names.map((name) => podRef(name)),
    revision,
  ),
});
const isListed = (members: Members, name: string) =>
  members.of(podRef(name).uid).some(({ until }) => until === Number.POSITIVE_INFINITY);

test('members - a list that was complete from its beginning is known for ever, in a younger bucket since that was made', () => {
  const old = new Members();
  old.apply(snapshot(1, 0, ['web'], 100));
  expect(old.knownSince('node-a')).toBe(0);
  const young = new Members();
  young.bornAt(90);
  young.apply(snapshot(1, 0, ['web'], 100));
  expect(young.knownSince('node-a')).toBe(90);
});

test('members - in a bucket made anew lists stand, blame nobody, and are complete when they are told again', () => {
  const members = new Members();
  members.apply(snapshot(1, 0, ['web', 'gone'], 100));
  members.apply(snapshot(2, 1, ['web', 'gone'], 200));
  members.startOver(300);
  expect([isListed(members, 'web'), isListed(members, 'gone')]).toEqual([true, true]);
  expect(members.knownSince('node-a')).toBe(Number.POSITIVE_INFINITY);
  // Revisions meet those of before, and the document's own begin again.
  expect(members.apply(snapshot(1, 0, ['web'], 400))).toBeNull();
  expect([isListed(members, 'web'), isListed(members, 'gone')]).toEqual([true, false]);
  expect(members.knownSince('node-a')).toBe(400);
  expect(members.apply(snapshot(2, 1, ['web', 'new'], 500))).toBeNull();
  expect([isListed(members, 'new'), members.knownSince('node-a')]).toEqual([true, 400]);
});

/** Pods of a node that come and go, `each` in every snapshot. */
function churn(members: Members, node: string, total: number, each: number): void {
  for (let from = 0, revision = 1; from < total; from += each, revision++) {
    const pods = Array.from({ length: each }, (_, i) => podRef(`${node}-${from + i}`));
    const json = snapshotJson(node, pods, revision);
    members.apply({ node, timestampMicros: revision, revision, previousRevision: revision - 1, json });
  }
}

test('members - a node whose pods come and go is remembered within its share, and takes nothing of another', () => {
  const members = new Members();
  members.apply(snapshot(1, 0, ['web', 'gone'], 100));
  members.apply(snapshot(2, 1, ['web'], 200));
  churn(members, 'busy', 150_000, 500);
  expect(members.former).toBe(MAX_FORMER_PER_NODE + 1);
  expect(members.of(podRef('gone').uid)).toHaveLength(1);
  expect(members.knownSince('node-a')).toBe(0);
  // What was forgotten early is no proof against the node that reports it, until it would have been forgotten.
  expect(members.of(podRef('busy-0').uid)).toEqual([]);
  expect(members.knownSince('busy')).toBeGreaterThan(FORMER_MEMORY_MICROS);
});

test('members - pods that left are forgotten after a day, also of a node that is gone', () => {
  const members = new Members();
  members.apply(snapshot(1, 0, ['web'], 100));
  members.apply({ ...snapshot(2, 1, [], 200), json: null });
  expect(members.former).toBe(1);
  const later = 201 + FORMER_MEMORY_MICROS;
  for (let revision = 1; revision <= 256; revision++) {
    const json = snapshotJson('other', [podRef('other')], revision);
    members.apply({ node: 'other', timestampMicros: later, revision, previousRevision: revision - 1, json });
  }
  expect(members.former).toBe(0);
  expect(members.of(podRef('web').uid)).toEqual([]);
  expect(members.knownSince('node-a')).toBe(0);
});

test('members - a pod that leaves and comes back is remembered once', () => {
  const members = new Members();
  for (let revision = 1; revision <= 100; revision++) {
    members.apply(snapshot(revision, revision - 1, revision % 2 ? ['web'] : [], revision));
  }
  expect(members.former).toBe(1);
});

test('members - while a list leaves pods out, its node is blamed for none; then it is known from the next whole list', () => {
  const members = new Members();
  members.apply(snapshot(1, 0, ['web'], 100));
  const full = JSON.parse(snapshot(2, 1, ['web'], 200).json as string) as object;
  members.apply({ ...snapshot(2, 1, ['web'], 200), json: JSON.stringify({ ...full, omitted: 3 }) });
  expect(members.knownSince('node-a')).toBe(Number.POSITIVE_INFINITY);
  members.apply(snapshot(3, 2, ['web'], 300));
  expect(members.knownSince('node-a')).toBe(300);
});

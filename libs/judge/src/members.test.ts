import { expect, test } from 'vitest';
import { Members, type SnapshotEntry } from './members.ts';
import { podRef, snapshotJson } from './testing.ts';

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

import type { PodRef } from '@bailiff/schemas';
import { expect, test } from 'vitest';
import { podRef, snapshotJson } from '../testing.ts';
import { FORMER_MEMORY_MICROS, MAX_FORMER_PER_NODE, PodInventory, type PodSnapshot } from './pod-inventory.ts';

const snapshot = (
  revision: number,
  previousRevision: number,
  names: string[],
  timestampMicros: number,
): PodSnapshot => ({
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
const isListed = (inventory: PodInventory, name: string) =>
  inventory.entriesOf(podRef(name).uid).some(({ until }) => until === Number.POSITIVE_INFINITY);

test('pod inventory - a list without gaps is complete from the start, or since the bucket was created', () => {
  const old = new PodInventory();
  old.apply(snapshot(1, 0, ['web'], 100));
  expect(old.completeSince('node-a')).toBe(0);
  const young = new PodInventory();
  young.bucketCreatedAt(90);
  young.apply(snapshot(1, 0, ['web'], 100));
  expect(young.completeSince('node-a')).toBe(90);
});

test('pod inventory - after the bucket is recreated, lists stay but are incomplete until their next snapshot', () => {
  const inventory = new PodInventory();
  inventory.apply(snapshot(1, 0, ['web', 'gone'], 100));
  inventory.apply(snapshot(2, 1, ['web', 'gone'], 200));
  inventory.streamRecreated(300);
  expect([isListed(inventory, 'web'), isListed(inventory, 'gone')]).toEqual([true, true]);
  expect(inventory.completeSince('node-a')).toBe(Number.POSITIVE_INFINITY);
  // Bucket and document revisions restart.
  expect(inventory.apply(snapshot(1, 0, ['web'], 400))).toBeNull();
  expect([isListed(inventory, 'web'), isListed(inventory, 'gone')]).toEqual([true, false]);
  expect(inventory.completeSince('node-a')).toBe(400);
  expect(inventory.apply(snapshot(2, 1, ['web', 'new'], 500))).toBeNull();
  expect([isListed(inventory, 'new'), inventory.completeSince('node-a')]).toEqual([true, 400]);
});

/** Pod churn on a node, `each` pods in a snapshot. */
function churn(inventory: PodInventory, node: string, total: number, each: number): void {
  for (let from = 0, revision = 1; from < total; from += each, revision++) {
    const pods = Array.from({ length: each }, (_, i) => podRef(`${node}-${from + i}`));
    const json = snapshotJson(node, pods, revision);
    inventory.apply({ node, timestampMicros: revision, revision, previousRevision: revision - 1, json });
  }
}

test('pod inventory - churn on a node stays within its bound and shortens no other node’s memory', () => {
  const inventory = new PodInventory();
  inventory.apply(snapshot(1, 0, ['web', 'gone'], 100));
  inventory.apply(snapshot(2, 1, ['web'], 200));
  churn(inventory, 'busy', 150_000, 500);
  expect(inventory.former).toBe(MAX_FORMER_PER_NODE + 1);
  expect(inventory.entriesOf(podRef('gone').uid)).toHaveLength(1);
  expect(inventory.completeSince('node-a')).toBe(0);
  // A pod that expired early proves nothing against the node until its regular expiry.
  expect(inventory.entriesOf(podRef('busy-0').uid)).toEqual([]);
  expect(inventory.completeSince('busy')).toBeGreaterThan(FORMER_MEMORY_MICROS);
});

test('pod inventory - pods of one namespace that come and go leave the former pods of others on their node', () => {
  const inventory = new PodInventory();
  const apply = (revision: number, pods: PodRef[]) =>
    inventory.apply({
      ...snapshot(revision, revision - 1, [], revision),
      json: snapshotJson('node-a', pods, revision),
    });
  apply(1, [podRef('shop', { namespace: 'shop' })]);
  const rounds = 2 * MAX_FORMER_PER_NODE;
  for (let from = 0, revision = 2; from < rounds; from += 512, revision++) {
    apply(
      revision,
      Array.from({ length: 512 }, (_, i) => podRef(`tenant-${from + i}`, { namespace: 'tenant' })),
    );
  }
  expect(inventory.former).toBe(MAX_FORMER_PER_NODE);
  expect(inventory.entriesOf(podRef('tenant-0').uid), 'control: the oldest of the namespace are gone').toEqual([]);
  expect(inventory.entriesOf(podRef('shop').uid)).toHaveLength(1);
});

test('pod inventory - former pods expire after a day, also those of a deleted node', () => {
  const inventory = new PodInventory();
  inventory.apply(snapshot(1, 0, ['web'], 100));
  inventory.apply({ ...snapshot(2, 1, [], 200), json: null });
  expect(inventory.former).toBe(1);
  const later = 201 + FORMER_MEMORY_MICROS;
  for (let revision = 1; revision <= 256; revision++) {
    const json = snapshotJson('other', [podRef('other')], revision);
    inventory.apply({ node: 'other', timestampMicros: later, revision, previousRevision: revision - 1, json });
  }
  expect(inventory.former).toBe(0);
  expect(inventory.entriesOf(podRef('web').uid)).toEqual([]);
  expect(inventory.completeSince('node-a')).toBe(0);
});

test('pod inventory - a pod that leaves and returns has one entry', () => {
  const inventory = new PodInventory();
  for (let revision = 1; revision <= 100; revision++) {
    inventory.apply(snapshot(revision, revision - 1, revision % 2 ? ['web'] : [], revision));
  }
  expect(inventory.former).toBe(1);
});

test('pod inventory - a snapshot with omitted pods makes the list incomplete until the next full one', () => {
  const inventory = new PodInventory();
  inventory.apply(snapshot(1, 0, ['web'], 100));
  const full = JSON.parse(snapshot(2, 1, ['web'], 200).json as string) as object;
  inventory.apply({ ...snapshot(2, 1, ['web'], 200), json: JSON.stringify({ ...full, omitted: 3 }) });
  expect(inventory.completeSince('node-a')).toBe(Number.POSITIVE_INFINITY);
  inventory.apply(snapshot(3, 2, ['web'], 300));
  expect(inventory.completeSince('node-a')).toBe(300);
});

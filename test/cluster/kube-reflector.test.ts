// The reflector against an API stand-in that fails in every way it can. Its cache must end with the
// right objects each time.
import { Reflector, type ReflectorOptions } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { FAST, type KubeHarness, startKube } from '../support/kube.ts';
import { random } from '../support/random.ts';

function follow(kube: KubeHarness, more: Partial<ReflectorOptions<string>> = {}) {
  const folded = new Map<string, string>();
  const violations: string[] = [];
  const stop = new AbortController();
  const reflector = new Reflector<string>({
    client: kube.client(),
    path: '/api/v1/pods',
    pageLimit: 3,
    inactivityMs: 600,
    backoff: FAST,
    ...more,
    select: ({ metadata }) => `${metadata.name} ${metadata.labels?.['step'] ?? ''}`,
    onAdd(value, uid) {
      if (folded.has(uid)) violations.push(`added twice: ${value}`);
      folded.set(uid, value);
    },
    onUpdate: (value, _before, uid) => folded.set(uid, value),
    onDelete(value, uid) {
      if (!folded.delete(uid)) violations.push(`deleted twice: ${value}`);
    },
  });
  const running = reflector.run(stop.signal);
  const truth = () =>
    Object.fromEntries(
      kube.server.api
        .list('pods')
        .items.map(({ metadata }) => [metadata.uid, `${metadata.name} ${metadata.labels?.['step'] ?? ''}`])
        .sort(),
    );
  const seen = () => Object.fromEntries([...folded].sort());
  return {
    reflector,
    violations,
    seen,
    truth,
    settles: () =>
      waitFor(() => JSON.stringify(seen()) === JSON.stringify(truth()), {
        what: 'the right cache',
        state: () => ({ seen: seen(), truth: truth(), stats: reflector.stats }),
      }),
    async end() {
      stop.abort();
      await running;
    },
  };
}

const MERGE = 'application/merge-patch+json';

/** One random change of the collection. */
function change(kube: KubeHarness, next: () => number, step: number): void {
  const name = `pod-${Math.floor(next() * 8)}`;
  const { api } = kube.server;
  const ref = { namespace: 'default', name };
  const exists = api.list('pods').items.some(({ metadata }) => metadata.name === name);
  if (!exists) kube.pod(name, { labels: { step: String(step) } });
  else if (next() < 0.4) api.delete('pods', ref, { gracePeriodSeconds: 0 });
  else api.patch('pods', ref, MERGE, { metadata: { labels: { step: String(step) } } });
}

/** One random fault. */
function spoil(kube: KubeHarness, next: () => number): void {
  const { faults } = kube.server;
  const kind = Math.floor(next() * 9);
  const verb = next() < 0.5 ? 'list' : 'watch';
  if (kind === 0) faults.inject({ status: 500, verb, times: 2 });
  else if (kind === 1) faults.inject({ status: 429, retryAfterSeconds: 0, verb });
  else if (kind === 2) faults.inject({ drop: true, verb });
  else if (kind === 3) faults.inject({ delayMs: 50, verb });
  else if (kind === 4) faults.inject({ status: 410, verb });
  else if (kind === 5) faults.cutWatches();
  else if (kind === 6) faults.compact();
  else if (kind === 7) faults.expiredWatch = faults.expiredWatch === 'event' ? 'status' : 'event';
  else {
    faults.cutWatches();
    faults.compact();
  }
}

describe('reflector - against a failing server', () => {
  test.each([1, 2, 3, 4, 5, 6])('reflector - changes and faults, seed %i', async (seed) => {
    await using kube = await startKube();
    const next = random(seed);
    const watching = follow(kube);
    for (let step = 0; step < 120; step++) {
      change(kube, next, step);
      if (next() < 0.25) spoil(kube, next);
      if (next() < 0.5) await new Promise((resolve) => setTimeout(resolve, Math.floor(next() * 12)));
    }
    kube.server.faults.clear();
    await watching.settles();
    kube.pod('after');
    await watching.settles();
    expect(watching.violations).toEqual([]);
    await watching.end();
    await waitFor(() => kube.server.openWatches() === 0);
  });

  test('reflector - an open watch without events is closed within the inactivity time', async () => {
    await using kube = await startKube();
    kube.pod('first');
    const watching = follow(kube, { inactivityMs: 400 });
    await watching.settles();
    await waitFor(() => kube.server.openWatches() === 1);
    kube.server.faults.stallWatches(true);
    kube.pod('missed');
    expect(watching.seen()).not.toEqual(watching.truth());
    await waitFor(() => watching.reflector.stats.inactive > 0, { state: () => watching.reflector.stats });
    // The watch that stalls now is closed as well: it would never deliver the events it missed.
    kube.server.faults.cutWatches();
    kube.server.faults.stallWatches(false);
    await watching.settles();
    expect(watching.reflector.stats.lists).toBe(1);
    await watching.end();
  });

  test('reflector - the next list corrects an event that the server skipped', async () => {
    await using kube = await startKube();
    const watching = follow(kube, { inactivityMs: 30_000, watchSeconds: 0.5, relistMs: 1_500 });
    await watching.settles();
    await waitFor(() => kube.server.openWatches() === 1);
    kube.server.faults.stallWatches(true);
    kube.pod('skipped');
    kube.server.faults.stallWatches(false);
    kube.pod('delivered');
    const reported = () => Object.values(watching.seen()).map((value) => value.trim());
    await waitFor(() => reported().includes('delivered'));
    // A delayed process has listed by now.
    if (watching.reflector.stats.lists === 1) expect(reported()).toEqual(['delivered']);
    await watching.settles();
    expect(watching.reflector.stats.lists).toBeGreaterThanOrEqual(2);
    await watching.end();
  });

  test('reflector - bookmarks keep an idle watch open and carry it over a compaction without a new list', async () => {
    await using kube = await startKube();
    kube.pod('first');
    const watching = follow(kube, { inactivityMs: 30_000 });
    await watching.settles();
    // Changes of another kind raise the version. Only a new bookmark contains it, not one that was
    // already in flight.
    const versions = Array.from({ length: 20 }, (_, i) =>
      Number(kube.server.api.create('namespaces', { metadata: { name: `n-${i}` } }).metadata.resourceVersion),
    );
    await waitFor(() => Number(watching.reflector.version) >= Math.max(...versions), {
      what: 'a bookmark with their version',
      state: () => [watching.reflector.version, watching.reflector.stats],
    });
    kube.server.faults.compact();
    kube.server.faults.cutWatches();
    kube.pod('second');
    await watching.settles();
    expect(watching.reflector.stats).toMatchObject({ lists: 1, gone: 0, inactive: 0 });
    await watching.end();
  });

  test('reflector - a watch that the server ends regularly is reopened, without a list', async () => {
    await using kube = await startKube();
    const watching = follow(kube, { watchSeconds: 0.5, inactivityMs: 30_000 });
    await waitFor(() => watching.reflector.stats.watches >= 2, { state: () => watching.reflector.stats });
    kube.pod('later');
    await watching.settles();
    expect(watching.reflector.stats).toMatchObject({ lists: 1, errors: 0 });
    await watching.end();
  });

  test('reflector - pages are of one revision: the watch delivers changes between two of them', async () => {
    await using kube = await startKube();
    for (let i = 0; i < 10; i++) kube.pod(`pod-${i}`);
    const held = kube.server.faults.inject({ verb: 'list', hold: true, times: 2 });
    const watching = follow(kube, { pageLimit: 4 });
    await waitFor(() => held.hits >= 1);
    held.release();
    kube.server.api.delete('pods', { namespace: 'default', name: 'pod-9' }, { gracePeriodSeconds: 0 });
    kube.pod('pod-a');
    await watching.settles();
    expect(watching.violations).toEqual([]);
    await watching.end();
  });

  test('reflector - the server is unavailable for a while', async () => {
    await using kube = await startKube();
    kube.pod('first');
    const watching = follow(kube);
    await watching.settles();
    const fault = kube.server.faults.inject({ drop: true, times: Infinity });
    kube.server.faults.cutWatches();
    kube.pod('meanwhile');
    await waitFor(() => fault.hits > 5);
    fault.remove();
    await watching.settles();
    await watching.end();
  });
});

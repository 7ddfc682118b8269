import { isDeepStrictEqual } from 'node:util';
import { waitFor } from '@bailiff/service/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { KubeApi, RequestOptions, WatchOptions } from './client.ts';
import { KubeError } from './errors.ts';
import { Reflector } from './reflector.ts';
import { isNewer, ObjectStore } from './store.ts';
import { type ListFault, ModelCollection, type WatchFault } from './testing.ts';

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A reflector over a model, and a copy folded only from its reported changes. */
function follow(client: KubeApi, extra: { pageLimit?: number; select?: (data: string) => string | null } = {}) {
  const folded = new Map<string, string>();
  const breaches: string[] = [];
  const stop = new AbortController();
  let syncs = 0;
  const reflector = new Reflector<string>({
    client,
    path: '/api/v1/pods',
    pageLimit: extra.pageLimit ?? 2,
    backoff: { baseMs: 1, maxMs: 2 },
    random: () => 0,
    select: ({ metadata }) => (extra.select ?? ((data: string) => data))(metadata.labels?.['data'] ?? ''),
    onAdd(value, uid) {
      if (folded.has(uid)) breaches.push(`added twice: ${uid}`);
      folded.set(uid, value);
    },
    onUpdate(value, before, uid) {
      if (folded.get(uid) !== before) breaches.push(`update of ${uid} from ${before}`);
      folded.set(uid, value);
    },
    onDelete(value, uid) {
      if (folded.get(uid) !== value) breaches.push(`delete of ${uid} with ${value}`);
      folded.delete(uid);
    },
    onSync: () => {
      syncs += 1;
    },
  });
  const running = reflector.run(stop.signal);
  return {
    reflector,
    breaches,
    syncs: () => syncs,
    seen: () => Object.fromEntries([...folded].sort(([a], [b]) => (a < b ? -1 : 1))),
    async end() {
      stop.abort();
      await running;
    },
  };
}

async function settles(what: () => unknown, expected: () => unknown): Promise<void> {
  await waitFor(what, { until: (now) => isDeepStrictEqual(now, expected()), intervalMs: 1, state: expected });
}

/** An action, and the number of event loop turns after it. */
type Step = { do: 'put' | 'delete' | 'compact' | 'bookmark'; uid: string; data: string; turns: number };

const uid = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g');
const actions = ['put', 'put', 'put', 'delete', 'delete', 'compact', 'bookmark'] as const;
const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(...actions),
  uid,
  data: fc.string({ maxLength: 3 }),
  turns: fc.constantFrom(0, 0, 1, 2, 5),
});
const listFault = fc.constantFrom<ListFault>('none', 'none', '500', '429', 'timeout', 'gone');
const after = fc.nat(4);
const watchFault: fc.Arbitrary<WatchFault> = fc.oneof(
  fc.record({ kind: fc.constantFrom('none' as const, '500' as const, 'gone' as const, 'gone-event' as const) }),
  fc.record({ kind: fc.constant('inactive' as const) }),
  fc.record({ kind: fc.constantFrom('cut' as const, 'end' as const, 'error-event' as const), after }),
);

function perform(model: ModelCollection, action: Step): void {
  if (action.do === 'put') model.put(action.uid, `name-${action.uid}`, action.data);
  else if (action.do === 'delete') model.delete(action.uid);
  else if (action.do === 'compact') model.compact();
  else if (action.do === 'bookmark') model.bookmark();
}

describe('reflector - whatever the server does', () => {
  test('reflector - any script of changes and faults ends in the true picture, each announced once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.array(listFault, { maxLength: 8 }),
        fc.array(watchFault, { maxLength: 8 }),
        async (steps, listFaults, watchFaults) => {
          const model = new ModelCollection();
          model.listFaults = [...listFaults];
          // A watch that the server ends at once costs a second of backoff by design, which would
          // only slow down this test.
          model.watchFaults = watchFaults.filter((fault) => fault.kind !== 'end' || fault.after > 0);
          const watching = follow(model);
          for (const action of steps) {
            perform(model, action);
            for (let turns = action.turns; turns > 0; turns--) await tick();
          }
          await settles(watching.seen, () => model.truth());
          // The copy still follows changes after it has settled.
          model.put('z', 'late', 'late');
          await settles(watching.seen, () => model.truth());
          await watching.end();
          expect(watching.breaches).toEqual([]);
          expect(Object.fromEntries(watching.reflector.values().map((v) => [v, 1]))).toEqual(
            Object.fromEntries(Object.values(model.truth()).map((v) => [v, 1])),
          );
        },
      ),
      // Shrinking would wait for the deadline repeatedly; the seed is enough to reproduce the
      // failure.
      { numRuns: 150, endOnFailure: true },
    );
  });

  test('reflector - reports objects as deleted that were deleted during a disconnect', async () => {
    const model = new ModelCollection();
    model.put('a', 'one', '1');
    model.put('b', 'two', '2');
    model.watchFaults = [{ kind: 'cut', after: 0 }, { kind: 'none' }];
    const watching = follow(model);
    await settles(watching.syncs, () => 1);
    model.delete('a');
    model.put('c', 'one', 'same name, other pod');
    model.compact();
    await settles(watching.seen, () => ({ b: '2', c: 'same name, other pod' }));
    expect(watching.reflector.stats.gone).toBeGreaterThan(0);
    expect(watching.breaches).toEqual([]);
    await watching.end();
  });

  test('reflector - 410 as status and as event both lead to one new list', async () => {
    for (const kind of ['gone', 'gone-event'] as const) {
      const model = new ModelCollection();
      model.put('a', 'a', '1');
      model.watchFaults = [{ kind }];
      const watching = follow(model);
      await settles(watching.syncs, () => 2);
      expect(watching.reflector.stats).toMatchObject({ gone: 1, lists: 2 });
      await watching.end();
    }
  });

  test('reflector - repeated 410 responses back off', async () => {
    const model = new ModelCollection();
    model.watchFaults = Array.from({ length: 1000 }, () => ({ kind: 'gone' as const }));
    const stop = new AbortController();
    const backoff = { baseMs: 20, maxMs: 1000 };
    const reflector = new Reflector({ client: model, path: '/x', select: () => 1, backoff, random: () => 0 });
    const startedAtMs = performance.now();
    const running = reflector.run(stop.signal);
    await settles(
      () => reflector.stats.gone >= 5,
      () => true,
    );
    stop.abort();
    await running;
    // No wait after the first; then half of 40, 80 and 160 ms.
    expect(performance.now() - startedAtMs).toBeGreaterThan(20 + 40 + 80);
  });

  test('reflector - 410 responses with an event before each back off too; control: lists without a wait', async () => {
    const run = async (baseMs: number) => {
      let version = 0;
      const client: KubeApi = {
        request: async () => {
          await tick();
          return { metadata: { resourceVersion: String(++version) }, items: [] } as never;
        },
        watch: async ({ onEvent, onOpen }) => {
          await tick();
          onOpen?.();
          onEvent({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(++version) } } });
          onEvent({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
        },
      };
      const stop = new AbortController();
      const backoff = { baseMs, maxMs: 1_000 };
      const reflector = new Reflector({ client, path: '/x', select: () => 1, backoff, random: () => 0 });
      const running = reflector.run(stop.signal);
      const startedAtMs = performance.now();
      await settles(
        () => reflector.stats.gone >= 6,
        () => true,
      );
      stop.abort();
      await running;
      return performance.now() - startedAtMs;
    };
    // Half of 40, 80, 160 and 320 ms.
    expect(await run(20)).toBeGreaterThan(300);
    expect(await run(0), 'control').toBeLessThan(300);
  });

  test('reflector - an expired continue token leads to a list in one piece', async () => {
    const model = new ModelCollection();
    for (const name of ['a', 'b', 'c', 'd', 'e']) model.put(name, name, name);
    model.listFaults = ['none', 'gone'];
    const limits: unknown[] = [];
    const client: KubeApi = {
      request: (options) => {
        limits.push(options.query?.['limit']);
        return model.request(options);
      },
      watch: (options) => model.watch(options),
    };
    const watching = follow(client);
    await settles(watching.seen, () => model.truth());
    expect(limits).toEqual([2, 2, undefined]);
    await watching.end();
  });

  test('reflector - a page above the limit is requested again with fewer objects, and later pages continue behind it', async () => {
    const model = new ModelCollection();
    for (let i = 0; i < 20; i++) model.put(`u${i}`, `pod-${i}`, String(i));
    model.largestPage = 3;
    const watching = follow(model, { pageLimit: 500 });
    await settles(watching.seen, () => model.truth());
    expect(watching.breaches).toEqual([]);
    expect(watching.reflector.stats).toMatchObject({ errors: 0, lists: 1 });
    await watching.end();
  });

  test('reflector - behind large objects, pages have as many objects as before; control: none fits', async () => {
    const run = async (large: number) => {
      const model = new ModelCollection();
      for (let i = 0; i < 1_000; i++) model.put(`u${i}`, `pod-${i}`, String(i));
      model.largestPage = 1;
      let [requests, listed] = [0, 0];
      const client: KubeApi = {
        request: async (options) => {
          requests += 1;
          const page = (await model.request(options)) as { items?: unknown[] };
          listed += page.items?.length ?? 0;
          if (listed >= large) model.largestPage = Number.POSITIVE_INFINITY;
          return page as never;
        },
        watch: (options) => model.watch(options),
      };
      const watching = follow(client, { pageLimit: 256 });
      await settles(watching.syncs, () => 1);
      expect(watching.seen()).toEqual(model.truth());
      await watching.end();
      return requests;
    };
    expect(await run(20)).toBeLessThan(80);
    expect(await run(1_000), 'control').toBeGreaterThan(1_000);
  });

  test('reflector - a large object that a list lacks does not return by a read that began before; control: the list has it', async () => {
    const object = {
      metadata: { uid: 'x', name: 'x', namespace: 'shop', resourceVersion: '5', labels: { data: '1' } },
    };
    const run = async (isListed: boolean) => {
      let [answer, watches] = [(_: unknown) => {}, 0];
      const client: KubeApi = {
        request: async <T>({ query }: RequestOptions) =>
          (query?.['fieldSelector'] === undefined
            ? { metadata: { resourceVersion: '9' }, items: watches > 0 && isListed ? [object] : [] }
            : await new Promise<unknown>((resolve) => {
                answer = resolve;
              })) as T,
        watch: async ({ signal, onLarge }) => {
          watches += 1;
          if (watches === 1) onLarge?.({ type: 'ADDED', ...object.metadata });
          await new Promise((resolve) => signal?.addEventListener('abort', resolve));
        },
      };
      const watching = follow(client);
      const before = answer;
      await waitFor(() => answer !== before);
      watching.reflector.reselect();
      await waitFor(() => watches === 2);
      answer({ items: [object] });
      for (let turns = 0; turns < 10; turns += 1) await tick();
      const seen = watching.seen();
      await watching.end();
      return seen;
    };
    expect(await run(false)).toEqual({});
    expect(await run(true), 'control').toEqual({ x: '1' });
  });

  test('reflector - five failures of the watch in a row lead to a new list', async () => {
    const model = new ModelCollection();
    model.watchFaults = Array.from({ length: 5 }, () => ({ kind: '500' as const }));
    const watching = follow(model);
    await settles(watching.syncs, () => 2);
    expect(model.watches).toBeGreaterThanOrEqual(5);
    await watching.end();
  });

  test('reflector - a watch goes on from the last bookmark', async () => {
    const versions: unknown[] = [];
    let open: WatchOptions | undefined;
    let end = () => {};
    const client: KubeApi = {
      request: async () => ({ metadata: { resourceVersion: '7' }, items: null }) as never,
      watch: (options) => {
        versions.push(options.query?.['resourceVersion']);
        open = options;
        return new Promise((resolve, reject) => {
          end = () => reject(new KubeError('KUBE_INACTIVE', 'x'));
          options.signal?.addEventListener('abort', () => resolve());
        });
      },
    };
    const watching = follow(client);
    await settles(
      () => versions,
      () => ['7'],
    );
    open?.onEvent({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '90' } } });
    end();
    await settles(
      () => versions,
      () => ['7', '90'],
    );
    expect(watching.reflector.stats).toMatchObject({ bookmarks: 1, inactive: 1, lists: 1 });
    await watching.end();
  });

  test('reflector - an object that stops being of interest is deleted, and added when it is again', async () => {
    const model = new ModelCollection();
    model.put('a', 'a', 'on');
    const watching = follow(model, { select: (data) => (data === 'off' ? null : data) });
    await settles(watching.seen, () => ({ a: 'on' }));
    model.put('a', 'a', 'off');
    await settles(watching.seen, () => ({}));
    model.put('a', 'a', 'on');
    await settles(watching.seen, () => ({ a: 'on' }));
    expect(watching.breaches).toEqual([]);
    await watching.end();
  });

  test('reflector - a bug in a callback is not taken for a fault of the server', async () => {
    const model = new ModelCollection();
    model.put('a', 'a', '1');
    const reflector = new Reflector({
      client: model,
      path: '/x',
      select: () => {
        throw new TypeError('bug');
      },
    });
    await expect(reflector.run(new AbortController().signal)).rejects.toThrow('bug');
  });
});

const pod = (uid: string, resourceVersion: string, data = '') => ({
  metadata: { uid, name: uid, resourceVersion, labels: { data } },
});

describe('object store', () => {
  test('object store - an older event for the same object changes nothing and is counted', () => {
    const store = new ObjectStore(({ metadata }) => metadata.labels?.['data'] ?? '');
    store.event('ADDED', pod('a', '10', 'new'));
    expect(store.event('MODIFIED', pod('a', '9', 'old'))).toBeNull();
    expect(store.event('DELETED', pod('a', '9'))).toBeNull();
    expect(store.get('a')).toBe('new');
    expect(store.staleEvents).toBe(2);
    expect(store.event('DELETED', pod('a', '10'))?.type).toBe('delete');
    expect(store.event('DELETED', pod('a', '11'))).toBeNull();
  });
  test.each([
    ['10', '9', true],
    ['9', '10', false],
    ['10', '10', false],
    ['99999999999999999999', '99999999999999999998', true],
    ['opaque', '5', true],
    ['5', '5', false],
  ])('object store - version %s newer than %s: %s', (version, than, expected) => {
    expect(isNewer(version, than)).toBe(expected);
  });
});

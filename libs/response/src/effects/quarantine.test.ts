import { BUCKETS } from '@bailiff/bus';
import { describe, expect, it } from 'vitest';
import {
  editQuarantine,
  MAX_EDIT_ATTEMPTS,
  MAX_QUARANTINED_PODS_PER_NODE,
  MAX_RELEASES_PER_NODE,
  type QuarantineBucket,
  REMOVAL_REASON,
  readQuarantine,
  withdrawn,
  withEntry,
  withoutEntry,
  withoutGone,
  withRelease,
} from './quarantine.ts';

const NOW = 1_000_000;
const until = (ms: number) => new Date(NOW + ms).toISOString();
const entry = (podUid: string, endsInMs: number, verdictId = 'v1') => ({
  podUid,
  podNamespace: 'shop',
  podName: podUid,
  verdictId,
  until: until(endsInMs),
  reason: 'because',
});
const removal = (podUid: string, endsInMs: number) => ({ ...entry(podUid, endsInMs, 'v0'), reason: REMOVAL_REASON });
const list = (...entries: ReturnType<typeof entry>[]) => ({ nodeName: 'node-a', revision: 7, entries });

describe('quarantine list', () => {
  it.each([
    ['its own entry', list(removal('a', 1000), entry('b', 1000)), null, ['b']],
    ['its own entry, which had replaced another one', list(removal('a', 1000)), entry('a', 500, 'v2'), ['a']],
    ['not that of another verdict', list({ ...removal('a', 1000), verdictId: 'v2' }), null, null],
    ['not another one of its verdict', list(removal('a', 2000)), null, null],
    ['not without one', list(entry('b', 1000)), null, null],
  ] as const)('withdrawn - %s', (_name, before, other, uids) => {
    const result = withdrawn(before, removal('a', 1000), other, NOW);
    expect(result.outcome).toEqual(other ?? before.entries.find((one) => one.podUid === 'a' && uids === null) ?? null);
    if (uids === null) expect(result.list).toBe(before);
    else expect(result.list.entries.map(({ podUid }) => podUid)).toEqual(uids);
    if (other) expect(result.list.entries).toContainEqual(other);
  });

  it('withdrawn - a person has released the pod from the other quarantine: its entry does not come back', () => {
    const released = [{ podUid: 'a', verdictId: 'v2', until: '' }];
    const result = withdrawn({ ...list(removal('a', 1000)), released }, removal('a', 1000), entry('a', 500, 'v2'), NOW);
    expect([result.outcome, result.list.entries]).toEqual([null, []]);
  });

  it.each([
    ['a new pod', list(), entry('a', 1000), 'added', ['a']],
    ['a pod beside another', list(entry('b', 1000)), entry('a', 1000), 'added', ['b', 'a']],
    ['the same verdict again', list(entry('a', 1000)), entry('a', 1000), 'present', ['a']],
    ['another verdict with an earlier end', list(entry('a', 1000)), entry('a', 500, 'v2'), 'held', ['a']],
    ['a removal of another verdict with a later end', list(removal('a', 1000)), entry('a', 500), 'present', ['a']],
    ['a removal with an earlier end', list(removal('a', 1000)), entry('a', 2000), 'replaced', ['a']],
    ['another verdict with a later end', list(entry('a', 1000)), entry('a', 2000, 'v2'), 'replaced', ['a']],
    ['an expired entry is dropped', list(entry('b', -1)), entry('a', 1000), 'added', ['a']],
    ['an expired entry of the pod', list(entry('a', -1)), entry('a', 1000, 'v2'), 'added', ['a']],
  ] as const)('withEntry - %s', (_name, before, added, outcome, uids) => {
    const result = withEntry(before, added, NOW);
    expect(result.outcome).toBe(outcome);
    expect(result.list.entries.map((e) => e.podUid)).toEqual(uids);
    const changed = outcome === 'added' || outcome === 'replaced';
    expect(result.list.revision).toBe(changed ? NOW : 7);
    expect(result.list === before).toBe(!changed);
  });

  it('revision - grows with every change, also after a clock step and after the list was lost', () => {
    const ahead = { ...list(entry('b', 1000)), revision: NOW + 5 };
    expect(withEntry(ahead, entry('a', 1000), NOW).list.revision).toBe(NOW + 6);
    expect(withoutEntry(ahead, { podUid: 'b' }, NOW).list.revision).toBe(NOW + 6);
    const old = withEntry(list(), entry('a', 1000), NOW).list;
    const frozen = { ...list(entry('b', 1000)), revision: Number.MAX_SAFE_INTEGER };
    expect(withEntry(frozen, entry('a', 1000), NOW).list.revision).toBe(NOW);
    const lost = { nodeName: 'node-a', revision: 0, entries: [] };
    expect(withEntry(lost, entry('a', 1000), NOW + 1).list.revision).toBeGreaterThan(old.revision);
  });

  it('withEntry, withoutEntry - an entry without an end survives other edits until a person releases it', () => {
    const forever = { ...entry('a', 0), until: '' };
    const held = list(forever);
    expect(withEntry(held, entry('b', 1000), NOW).list.entries).toEqual([forever, entry('b', 1000)]);
    expect(withEntry(held, entry('a', 1000, 'v2'), NOW)).toEqual({ list: held, outcome: 'held' });
    expect(withEntry(list(entry('a', 1000)), { ...forever, verdictId: 'v2' }, NOW).outcome).toBe('replaced');
    expect(withoutEntry(held, { podUid: 'a', untilMs: NOW }, NOW).outcome).toBe('kept');
    expect(withoutEntry(held, { podUid: 'a' }, NOW).outcome).toBe('removed');
  });

  it('withRelease - removes the pod and blocks its verdict, but no other verdict', () => {
    const started = [{ verdictId: 'v0', untilMs: NOW + 500 }];
    const { list: out, outcome } = withRelease(list(entry('a', 1000), entry('b', 1000)), { podUid: 'a', started }, NOW);
    expect([outcome, out.entries.map(({ podUid }) => podUid)]).toEqual(['removed', ['b']]);
    expect(withEntry(out, entry('a', 1000), NOW)).toEqual({ list: out, outcome: 'released' });
    expect(withEntry(out, entry('a', 500, 'v0'), NOW).outcome).toBe('released');
    expect(withEntry(out, entry('a', 1000, 'v2'), NOW).outcome).toBe('added');
    expect(withEntry(out, entry('c', 1000), NOW).outcome).toBe('added');
    // Other edits keep the release until the original end of the entry.
    const soon = withEntry(out, entry('c', 9000), NOW + 600).list;
    expect(soon.released).toEqual([{ podUid: 'a', verdictId: 'v1', until: until(1000) }]);
    expect('released' in withoutEntry(soon, { podUid: 'c' }, NOW + 1001).list).toBe(false);
  });

  it('withRelease - without an entry it blocks started quarantines; expired or blocked ones change nothing', () => {
    const started = [{ verdictId: 'v1', untilMs: NOW + 500 }];
    const first = withRelease(list(), { podUid: 'a', started }, NOW);
    expect([first.outcome, withEntry(first.list, entry('a', 500), NOW).outcome]).toEqual(['absent', 'released']);
    expect(withRelease(first.list, { podUid: 'a', started }, NOW).list).toBe(first.list);
    const none = list();
    expect(withRelease(none, { podUid: 'a', started: [{ verdictId: 'v1', untilMs: NOW }] }, NOW).list).toBe(none);
  });

  it('withRelease - of a pod that its node holds without an entry, the list gets a new revision; control: otherwise not', () => {
    const before = list(entry('b', 1000));
    const { list: after, outcome } = withRelease(before, { podUid: 'a', started: [], isHeld: true }, NOW);
    expect([outcome, after.entries]).toEqual(['absent', before.entries]);
    expect(after.revision).toBeGreaterThan(before.revision);
    expect(withRelease(before, { podUid: 'a', started: [] }, NOW).list).toBe(before);
  });

  it('withRelease - beyond the bound releases with the earliest end are dropped', () => {
    let all: Parameters<typeof withRelease>[0] = list();
    for (let n = 0; n < MAX_RELEASES_PER_NODE + 2; n++)
      all = withRelease(all, { podUid: `p${n}`, started: [{ verdictId: 'v1', untilMs: NOW + 1000 + n }] }, NOW).list;
    expect(all.released).toHaveLength(MAX_RELEASES_PER_NODE);
    expect(all.released?.some(({ podUid }) => podUid === 'p0' || podUid === 'p1')).toBe(false);
  });

  const fill = (namespace: string, count: number, before = list()) =>
    fillWith((n) => ({ ...entry(`${namespace}-${n}`, 1000), podNamespace: namespace }), count, before);
  function fillWith(make: (n: number) => ReturnType<typeof entry>, most: number, before = list()) {
    let filled: Parameters<typeof withEntry>[0] = before;
    for (let n = 0; n < most; n += 1) {
      try {
        filled = withEntry(filled, make(n), NOW).list;
      } catch (error) {
        expect(error).toMatchObject({ code: 'QUARANTINE_FULL' });
        break;
      }
    }
    return filled;
  }
  const countOf = ({ entries }: { entries: readonly { podNamespace: string }[] }, namespace: string) =>
    entries.filter(({ podNamespace }) => podNamespace === namespace).length;

  it('withEntry - a namespace takes at most half of what is left, so another one finds places', () => {
    const one = fill('thief', 1_000);
    expect(countOf(one, 'thief')).toBe(MAX_QUARANTINED_PODS_PER_NODE / 2);
    expect(() => withEntry(one, { ...entry('x', 1000), podNamespace: 'thief' }, NOW)).toThrow(
      'node node-a has 256 pods in quarantine, 256 of namespace thief: no place is left',
    );
    // A longer quarantine takes no further place.
    expect(withEntry(one, { ...entry('thief-0', 2000, 'v2'), podNamespace: 'thief' }, NOW).outcome).toBe('replaced');
    const two = fill('thief-too', 1_000, one as ReturnType<typeof list>);
    expect(countOf(two, 'thief-too')).toBe(128);
    const three = fill('shop', 110, two as ReturnType<typeof list>);
    expect(countOf(three, 'shop')).toBe(64);
  });

  it('withEntry - long names and reasons do not make the list too large to store', () => {
    const long = (namespace: string) => (n: number) => ({
      ...entry(`${n}`.padStart(36, 'u'), 1000, 'v'.repeat(32)),
      podNamespace: namespace,
      podName: 'n'.repeat(253),
      reason: 'r'.repeat(4_096),
    });
    let filled = list();
    for (let n = 0; n < 30; n += 1) filled = fillWith(long(`namespace-${n}`), 1_000, filled) as typeof filled;
    expect(filled.entries.length).toBeGreaterThan(250);
    const started = Array.from({ length: MAX_RELEASES_PER_NODE }, (_, n) => ({
      verdictId: `${n}`.padStart(32, 'v'),
      untilMs: NOW + 1000,
    }));
    const all = withRelease(filled, { podUid: 'u'.repeat(36), started }, NOW).list;
    expect(all.released).toHaveLength(MAX_RELEASES_PER_NODE);
    const most = BUCKETS.find(({ bucket }) => bucket === 'bailiff_quarantine')?.maxValueBytes ?? 0;
    expect(Buffer.byteLength(JSON.stringify(all))).toBeLessThan(most);
  });

  it('withoutGone - removes the pods that are gone, and no other', () => {
    const one = fill('thief', 1_000);
    const { list: freed, outcome } = withoutGone(one, new Set(['thief-0', 'thief-1', 'elsewhere']), NOW);
    expect(outcome).toBe(2);
    expect(freed.entries).toHaveLength(one.entries.length - 2);
    expect(freed.entries.map(({ podUid }) => podUid)).not.toContain('thief-1');
    // Without a change there is nothing to write.
    expect(withoutGone(freed, new Set(['elsewhere']), NOW).list).toBe(freed);
  });

  it.each([
    ['a listed pod', {}, 'removed', 2],
    ['an entry with the expected end', { untilMs: NOW + 1000 }, 'removed', 2],
    ['an extended entry', { untilMs: NOW + 999 }, 'kept', 3],
    ['an entry that a removal has extended', { podUid: 'r', untilMs: NOW + 999 }, 'isolated', 3],
    ['an unlisted pod', { podUid: 'z' }, 'absent', 3],
  ])('withoutEntry - %s', (_name, which, outcome, left) => {
    const result = withoutEntry(
      list(entry('a', 1000), entry('b', 1000), removal('r', 1000)),
      { podUid: 'a', ...which },
      NOW,
    );
    expect(result.outcome).toBe(outcome);
    expect(result.list.entries).toHaveLength(left);
  });

  /** An in-memory bucket of one key, with a number of lost races. */
  function bucket(value: string | null, races = 0, deleted = false) {
    const state = { value, revision: value === null && !deleted ? 0 : 41, puts: 0 };
    const made: QuarantineBucket = {
      newest: async () =>
        state.value === null && !deleted
          ? null
          : { value: Buffer.from(state.value ?? ''), revision: state.revision, deleted: state.value === null },
      put: async (_key, next, { previousRevision }) => {
        state.puts++;
        if (races-- > 0) throw Object.assign(new Error('lost'), { code: 'BUS_CONFLICT' });
        if (previousRevision !== state.revision) throw Object.assign(new Error('lost'), { code: 'BUS_CONFLICT' });
        state.value = next;
        return ++state.revision;
      },
    };
    return { state, made };
  }
  const add = (l: ReturnType<typeof list>) => withEntry(l, entry('a', 1000), NOW);

  it('editQuarantine - creates the list, and writes nothing without a change', async () => {
    const { state, made } = bucket(null);
    expect(await editQuarantine(made, 'node-a', 'node-a', add)).toBe('added');
    expect(await editQuarantine(made, 'node-a', 'node-a', add)).toBe('present');
    expect(state.puts).toBe(1);
    expect((await readQuarantine(made, 'node-a', 'node-a')).list.entries).toHaveLength(1);
  });

  it('editQuarantine - a list created after its deletion has a higher revision', async () => {
    const { state, made } = bucket(null, 0, true);
    await editQuarantine(made, 'node-a', 'node-a', add);
    expect(JSON.parse(state.value ?? '').revision).toBeGreaterThan(41);
  });

  it('editQuarantine - retries after a lost race, within a bound', async () => {
    expect(await editQuarantine(bucket(null, 3).made, 'k', 'node-a', add)).toBe('added');
    await expect(editQuarantine(bucket(null, MAX_EDIT_ATTEMPTS).made, 'k', 'node-a', add)).rejects.toMatchObject({
      code: 'QUARANTINE_CONTENDED',
    });
  });

  it('editQuarantine - an invalid entry leaves the others in place, and does not expire itself', async () => {
    const entries = [{ ...entry('bad', 0), until: 'soon' }, entry('a', 1000)];
    const { state, made } = bucket(JSON.stringify({ nodeName: 'node-a', revision: 7, entries }));
    await editQuarantine(made, 'node-a', 'node-a', (l) => withEntry(l, entry('b', 1000), NOW));
    expect(JSON.parse(state.value ?? '').entries).toEqual([
      { ...entry('bad', 0), until: '' },
      entry('a', 1000),
      entry('b', 1000),
    ]);
  });

  it('readQuarantine - does not overwrite an unreadable list', async () => {
    await expect(editQuarantine(bucket('{"entries":1}').made, 'k', 'node-a', add)).rejects.toMatchObject({
      code: 'QUARANTINE_UNREADABLE',
    });
  });
});

import { pause } from '@bailiff/service/retry';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { KubeError } from './errors.ts';
import { type EventHead, headOf, LARGE_EVENT_BYTES } from './event-head.ts';
import { LargeObjects, type LargeObjectsOptions } from './large-objects.ts';
import { LineSplitter } from './lines.ts';

const OBJECT =
  '"object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-1","generateName":"web-","namespace":"shop"';
const EVENT = `{"type":"MODIFIED",${OBJECT},"uid":"u-1","resourceVersion":"17","generation":1,"labels":{}}}}`;
const HEAD: EventHead = { type: 'MODIFIED', namespace: 'shop', name: 'web-1', uid: 'u-1', resourceVersion: '17' };

describe('head of an event', () => {
  test.each([
    ['a pod', EVENT, HEAD],
    ['without generateName', EVENT.replace('"generateName":"web-",', ''), HEAD],
    ['of a cluster-wide object', EVENT.replace(',"namespace":"shop"', ''), { ...HEAD, namespace: '' }],
    ['labels before the UID, as no server writes them', EVENT.replace('"uid"', '"labels":{"uid":"u-2"},"uid"'), null],
    ['an error', '{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"code":410}}', null],
    [
      'a table',
      '{"type":"ADDED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"rows":[]}}',
      null,
    ],
  ])('head - %s', (_name, event, expected) => {
    expect(headOf(Buffer.from(event))).toEqual(expected);
  });

  test('lines - the rest of a long line is skipped if its head says so; all others are called back', () => {
    const lines: string[] = [];
    const heads: string[] = [];
    const skip = (head: Buffer) => {
      heads.push(head.toString());
      return head.toString().startsWith('skip');
    };
    const splitter = new LineSplitter((line) => lines.push(line), 1_000, { bytes: 10, skip });
    for (const chunk of ['short\nskip-this-lo', 'ng-line', '-to-its-end\nkeep-this-', 'long-line\n', 'last\n'])
      splitter.push(Buffer.from(chunk));
    expect(lines).toEqual(['short', 'keep-this-long-line', 'last']);
    expect(heads).toEqual(['skip-this-lo', 'keep-this-long-line']);
    expect(splitter.pendingBytes).toBe(0);
    expect(() => splitter.push(Buffer.from(`skip${'x'.repeat(1_000)}`))).toThrow(KubeError);
  });
});

describe('cost', () => {
  test('large - ten events of 8 MiB cost less than a fifth of parsing them', () => {
    const event = `${EVENT.slice(0, -3)},"note":"${'\\u003c'.repeat(1_400_000)}"}}}\n`;
    const bytes = Buffer.from(event);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
      bytes.subarray(i * 65_536, (i + 1) * 65_536),
    );
    let parsed = 0;
    const costOf = (splitter: LineSplitter) => {
      const began = process.cpuUsage();
      for (let i = 0; i < 10; i += 1) for (const chunk of chunks) splitter.push(chunk);
      const { user, system } = process.cpuUsage(began);
      return user + system;
    };
    const parse = (line: string) => {
      JSON.parse(line);
      parsed += 1;
    };
    const skip = (head: Buffer) => headOf(head) !== null;
    const skipped = costOf(new LineSplitter(parse, bytes.length, { bytes: LARGE_EVENT_BYTES, skip }));
    expect(parsed).toBe(0);
    const control = costOf(new LineSplitter(parse, bytes.length));
    expect(parsed).toBe(10);
    expect(skipped).toBeLessThan(control / 5);
  });
});

/** Reads on a clock of their own: each takes `tookMs`. */
function reader(change: Partial<LargeObjectsOptions> = {}) {
  const read: string[] = [];
  const applied: string[] = [];
  const late: boolean[] = [];
  const errors: string[] = [];
  const clock = { nowMs: 0, tookMs: 0 };
  const large = new LargeObjects({
    nowMs: () => clock.nowMs,
    // Pauses take no time; the wait for another object ends with it.
    sleep: async (ms, signal) => {
      if (ms >= 60_000) return pause(ms, signal);
      clock.nowMs += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
    read: async ({ uid, namespace, name, resourceVersion }) => {
      read.push(`${uid}@${resourceVersion}`);
      clock.nowMs += clock.tookMs;
      return { metadata: { uid, namespace, name, resourceVersion } };
    },
    onRead: ({ metadata }) => applied.push(metadata.uid),
    isKnown: () => true,
    onLate: (areLate) => late.push(areLate),
    onError: ({ code }) => errors.push(code),
    ...change,
  });
  const stop = new AbortController();
  const running = large.run(stop.signal);
  return {
    large,
    read,
    applied,
    late,
    errors,
    clock,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
const head = (uid: string, namespace = 'shop', resourceVersion = '1'): EventHead => ({
  type: 'MODIFIED',
  namespace,
  name: uid,
  uid,
  resourceVersion,
});

describe('large objects', () => {
  test('large - of many versions the newest is read, and namespaces take turns', async () => {
    await using one = reader();
    for (let version = 1; version <= 100; version += 1)
      for (const uid of ['h-1', 'h-2', 'h-3']) one.large.add(head(uid, 'hostile', String(version)));
    one.large.add(head('a', 'shop'));
    await waitFor(() => one.applied.length === 4, { state: () => one });
    // The namespace that was first has one read before the other.
    expect(one.read).toEqual(['h-1@100', 'a@1', 'h-2@100', 'h-3@100']);
    expect(one.large.waiting).toBe(0);
  });

  test('large - an object that is deleted while it is read does not return; control: one that is not', async () => {
    let answer: () => void = () => {};
    const read = async ({ uid, ...of }: EventHead) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return { metadata: { uid, ...of } };
    };
    await using one = reader({ read });
    for (const uid of ['deleted', 'unlisted', 'control']) {
      one.large.add(head(uid));
      const before = answer;
      await waitFor(() => answer !== before);
      if (uid === 'deleted') one.large.remove(head(uid));
      if (uid !== 'deleted') one.large.retain(new Set(['control']));
      answer();
    }
    await waitFor(() => one.applied.length === 1, { state: () => one });
    expect(one.applied).toEqual(['control']);
  });

  test('large - an object of the same name has another UID: nothing is read of it', async () => {
    const read = async ({ name }: EventHead) => ({ metadata: { name, uid: `${name}-again`, resourceVersion: '9' } });
    await using one = reader({ read });
    one.large.add(head('web'));
    await waitFor(() => one.large.waiting === 0);
    one.large.remove(head('web'));
    expect(one.applied).toEqual([]);
  });

  test('large - a failed read is reported and repeated', async () => {
    let failures = 1;
    const read = async (of: EventHead) => {
      if (failures-- > 0) throw new KubeError('KUBE_TIMEOUT', 'no response');
      return { metadata: of };
    };
    await using one = reader({ read });
    one.large.add(head('web'));
    await waitFor(() => one.applied.length === 1, { state: () => one });
    expect(one.errors).toEqual(['KUBE_TIMEOUT']);
  });

  test('large - a namespace leaves room for others, and what is beyond its share makes the list late', async () => {
    const isRead = new Promise<null>(() => undefined);
    const one = reader({ read: () => isRead });
    for (let i = 0; i < 12_000; i += 1) one.large.add(head(`h-${i}`, 'hostile'));
    expect(one.large.waiting).toBeLessThanOrEqual(5_001);
    expect(one.large.refused).toBeGreaterThan(6_000);
    const before = one.large.waiting;
    for (let i = 0; i < 100; i += 1) one.large.add(head(`a-${i}`));
    expect(one.large.waiting).toBe(before + 100);
  });

  test('large - unknown objects that wait make the list late, until none did for a minute; known ones do not', async () => {
    const known = new Set(['known']);
    await using one = reader({ isKnown: (uid) => known.has(uid) });
    one.clock.tookMs = 6_000;
    one.large.add(head('known'));
    one.large.add(head('known-too'));
    known.add('known-too');
    await waitFor(() => one.applied.length === 2, { state: () => one });
    expect(one.late).toEqual([]);
    for (const uid of ['new-1', 'new-2']) one.large.add(head(uid));
    await waitFor(() => one.late.length === 1, { state: () => one });
    one.clock.nowMs += 120_000;
    one.large.add(head('known'));
    await waitFor(() => one.late.length === 2, { state: () => one });
    expect(one.late).toEqual([true, false]);
  });
});

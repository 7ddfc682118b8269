import type { KvEntry, WatchOptions } from '@bailiff/bus';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EndedPods } from './ended-pods.ts';
import { READ_EVERY_MS, watchUnlistedPods } from './unlisted-pods.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A reader, and the statuses that it reads. */
function started() {
  let put: (entry: KvEntry) => void = () => undefined;
  const read: string[] = [];
  class Spied extends EndedPods {
    override reported(nodeName: string, uids: ReadonlySet<string>): boolean {
      read.push(`${nodeName} ${[...uids]}`);
      return false;
    }
  }
  const watch = async ({ onEntry }: WatchOptions) => {
    put = onEntry as typeof put;
  };
  const { signal } = new AbortController();
  void watchUnlistedPods({ watch }, { ended: new Spied(), onChanged: () => undefined, signal });
  const status = (key: string, unlistedPods: string[]) =>
    put({ key, value: Buffer.from(JSON.stringify({ unlistedPods })), deleted: false, injected: false } as KvEntry);
  return { status, read };
}

test('unlisted pods - a node that writes its status without pause is read rarely, and others at once', async () => {
  const { status, read } = started();
  for (let n = 0; n < 1_000; n += 1) {
    status('node-a', [`uid-${n}`]);
    if (n === 500) {
      status('node-b', ['uid-of-b']);
      expect(read.at(-1)).toBe('node-b uid-of-b');
    }
    await vi.advanceTimersByTimeAsync(10);
  }
  const ofA = read.filter((one) => one.startsWith('node-a'));
  expect([ofA.length, ofA[0]]).toEqual([6, 'node-a uid-0']);
  // The last one is not lost.
  await vi.advanceTimersByTimeAsync(READ_EVERY_MS);
  expect(read.at(-1)).toBe('node-a uid-999');
  expect(read.filter((one) => one.startsWith('node-b'))).toHaveLength(1);
});

test('unlisted pods - a status without such a pod is not read, and delays none', async () => {
  const { status, read } = started();
  status('node-a', []);
  status('node-a', ['first']);
  await vi.advanceTimersByTimeAsync(READ_EVERY_MS);
  status('node-a', ['second']);
  expect(read).toEqual(['node-a first', 'node-a second']);
});

/**
 * Reads from the status of nodes which pods they have beside their list (`unlistedPods`), for
 * ended-pods.ts.
 *
 * A node chooses how often it writes its status, of up to 512 KiB, and how long that takes to parse: tens
 * of milliseconds. So a status is read at most every READ_EVERY_MS, then the newest one. Bound: one status
 * for each node.
 */
import { type Bucket, decodeToken } from '@bailiff/bus';
import { uidsOfStatus } from '@bailiff/schemas';
import { pause } from '@bailiff/service';
import type { EndedPods } from './ended-pods.ts';

/** Most statuses have no such pod, and are not parsed. */
const SOME = Buffer.from('"unlistedPods":["');

/** A collector writes its status every ten seconds. */
export const READ_EVERY_MS = 2_000;

export interface UnlistedPodsOptions {
  ended: EndedPods;
  /** The list of these nodes changed. */
  onChanged(nodes: ReadonlySet<string>): void;
  signal: AbortSignal;
}

/** Watches until the signal aborts. @throws BusError */
export async function watchUnlistedPods(
  bucket: Pick<Bucket, 'watch'>,
  { ended, onChanged, signal }: UnlistedPodsOptions,
): Promise<void> {
  /** By node that was read lately: its newest status since then. */
  const pending = new Map<string, Buffer | null>();
  const take = (key: string, value: Buffer): void => {
    if (pending.has(key)) {
      pending.set(key, value);
      return;
    }
    pending.set(key, null);
    const nodeName = decodeToken(key);
    const uids = new Set(uidsOfStatus(value.toString('utf8'), 'unlistedPods'));
    if (ended.reported(nodeName, uids, performance.now())) onChanged(new Set([nodeName]));
    void pause(READ_EVERY_MS, signal).then(() => {
      const newest = pending.get(key);
      pending.delete(key);
      if (newest && !signal.aborted) take(key, newest);
    });
  };
  await bucket.watch({
    signal,
    onEntry: ({ key, value, deleted, injected }) => {
      if (!deleted && !injected && value.includes(SOME)) take(key, value);
    },
  });
}

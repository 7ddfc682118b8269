/**
 * Reads from the status of nodes which pods they have beside their list (`unlistedPods`), for
 * ended-pods.ts.
 */
import { type Bucket, decodeToken } from '@bailiff/bus';
import { uidsOfStatus } from '@bailiff/schemas';
import type { EndedPods } from './ended-pods.ts';

/** Most statuses have no such pod, and are not parsed. */
const SOME = Buffer.from('"unlistedPods":["');

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
  await bucket.watch({
    signal,
    onEntry: ({ key, value, deleted, injected }) => {
      if (deleted || injected || !value.includes(SOME)) return;
      const nodeName = decodeToken(key);
      const uids = new Set(uidsOfStatus(value.toString('utf8'), 'unlistedPods'));
      if (ended.reported(nodeName, uids, performance.now())) onChanged(new Set([nodeName]));
    },
  });
}

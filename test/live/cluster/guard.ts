/** Detaches and attaches the collector of one node, and waits for the guards of pods. */
import { waitFor } from '@bailiff/service/testing';
import type { BusWatch } from '../bus/watch.ts';
import { type Access, componentPods } from './facts.ts';

/** A pod of a loaded cluster takes this long at most to be in a status of its node. */
const GUARDED_TIMEOUT_MS = 300_000;

export async function collectorOf(access: Access, node: string): Promise<string> {
  const pods = await componentPods(access, 'collector');
  const name = pods.find(({ spec }) => spec?.nodeName === node)?.metadata.name;
  if (!name) throw new Error(`no collector on ${node}`);
  return name;
}

export async function collectorCommand(access: Access, node: string, ...args: string[]): Promise<string> {
  const pod = await collectorOf(access, node);
  return access.kubectl.run(['-n', access.options.namespace, 'exec', pod, '--', 'node', '/app/main.mjs', ...args]);
}

/** Waits until a status of the node that is newer than `after` shows a programmed guard for each pod. */
export async function untilGuarded(watch: BusWatch, node: string, uids: readonly string[], after = 0): Promise<void> {
  for (const uid of uids)
    await waitFor(() => watch.interfaceOf(node, uid, after), {
      what: `the guard of pod ${uid} on ${node}`,
      timeoutMs: GUARDED_TIMEOUT_MS,
      intervalMs: 500,
      until: (one) => one?.coverage === 'guarded' && one.state === 'programmed',
    });
}

/**
 * Runs `work` while the node is unguarded. The node is attached again in every case. The bus keeps
 * the status from before, so the caller waits for a newer one than the returned revision.
 */
export async function whileDetached(
  live: Access & { watch: BusWatch },
  node: string,
  work: () => Promise<void>,
): Promise<number> {
  await collectorCommand(live, node, 'detach', '--all');
  let revision = 0;
  try {
    await work();
    revision = (await live.watch.node(node))?.revision ?? 0;
  } finally {
    await collectorCommand(live, node, 'attach');
  }
  return revision;
}

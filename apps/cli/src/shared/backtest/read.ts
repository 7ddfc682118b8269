/**
 * Reads the other inputs of a backtest: configuration log, pod snapshots and earlier refusals, as a
 * correlator does at start.
 *
 * Invariant: read after the end of the range was determined, so every change that affects its
 * frames is included. Bounded by the retention of the streams.
 */

import { changeOf, readToEnd } from '@bailiff/bus';
import { type PodInventory, PriorRefusals, type RefusalLookup, type ReportPlace } from '@bailiff/correlation';
import { parseJson, type Reader, readInventory, readRefusals } from '@bailiff/insight';
import type { LoggedChange } from '@bailiff/policy';
import { nodeSnapshot } from '@bailiff/schemas';
import type { ListedPod } from './simulated-responses.ts';

/** All stored configuration changes, oldest first. */
export async function readConfigChanges({ bus, signal }: Reader): Promise<LoggedChange[]> {
  const changes: LoggedChange[] = [];
  await readToEnd(bus, 'CONFIG_LOG', {
    onMessage: (message) => {
      const change = changeOf(message);
      if (change) changes.push(change);
    },
    signal,
  });
  return changes;
}

export interface PodLists {
  inventory: PodInventory;
  /** Pods of the newest snapshots by uid. */
  pods: Map<string, ListedPod>;
}

export async function readPodLists(session: Reader): Promise<PodLists> {
  const newest = new Map<string, [string, ListedPod][]>();
  const inventory = await readInventory(session, (node, json) =>
    newest.set(node, json === null ? [] : podsIn(node, json)),
  );
  return { inventory, pods: new Map([...newest.values()].flat()) };
}

function podsIn(node: string, json: string): [string, ListedPod][] {
  const snapshot = parseJson(json, nodeSnapshot);
  return typeof snapshot === 'string' ? [] : snapshot.pods.map(({ uid, owners }) => [uid, { node, owners }]);
}

/** Counts reports of unlisted pods that are accepted because no dead letter refuses them. */
export class CountingPriorRefusals extends PriorRefusals {
  accepted = 0;
  /** The same without counting. */
  readonly uncounted: RefusalLookup = {
    untilMicros: this.untilMicros,
    letterOf: (sequence, index) => this.letterOf(sequence, index),
    reasonOf: (report) => super.reasonOf(report),
  };
  override reasonOf(report: ReportPlace): string | undefined {
    const reason = super.reasonOf(report);
    if (reason === undefined) this.accepted += 1;
    return reason;
  }
}

/** Reads refusals since a time. */
export async function readPriorRefusals(
  session: Reader,
  sinceMicros: number,
  untilMicros: number,
): Promise<CountingPriorRefusals> {
  const refusals = new CountingPriorRefusals(untilMicros);
  await readRefusals(session, sinceMicros, untilMicros, refusals);
  return refusals;
}

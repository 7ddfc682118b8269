/**
 * Violations as a listing. A gap in a frame contains only its interface: the collectors' status names
 * the pod.
 *
 * Bounds: unknown interfaces cause one read per REREAD_MS at most.
 */
import { filters } from '@bailiff/bus';
import { CounterHulls } from '@bailiff/correlation';
import { type EventFilter, type EventRow, eventJson, eventRows, NodeFrames, readNodes } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import type { Listing } from './listing.ts';
import { eventCells, eventColumns } from './rows/event-cells.ts';
import type { Session } from './session.ts';
import { missingReasons } from './unsent.ts';

/** A status lists a new interface after some seconds. */
const REREAD_MS = 5_000;

interface Place {
  nodeName: string;
  ifindex: number;
  generation: number;
}

const keyOf = ({ nodeName, ifindex, generation }: Place) => `${nodeName} ${ifindex} ${generation}`;

/**
 * `shop/web-0` by node, interface index and generation. Interfaces without a pod are omitted. Pure.
 */
export function podsByInterface(nodes: ReadonlyMap<string, NodeStatus | string>): Map<string, string> {
  const pods = new Map<string, string>();
  for (const [nodeName, status] of nodes) {
    if (typeof status === 'string') continue;
    for (const { ifindex, generation, podNamespace, podName: name } of status.interfaces) {
      if (name !== '') pods.set(keyOf({ nodeName, ifindex, generation }), podName({ namespace: podNamespace, name }));
    }
  }
  return pods;
}

class InterfacePods {
  readonly #session: Session;
  #pods = new Map<string, string>();
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The pod's name, or null. @throws BusError */
  async podOf(place: Place): Promise<string | null> {
    const key = keyOf(place);
    const nowMs = this.#session.io.nowMs();
    if (!this.#pods.has(key) && nowMs - this.#readAtMs >= REREAD_MS) {
      this.#readAtMs = nowMs;
      this.#pods = podsByInterface(await readNodes(this.#session));
    }
    return this.#pods.get(key) ?? null;
  }
}

export function eventListing(session: Session, filter: EventFilter, sinceMs: number): Listing<EventRow> {
  const { node, kind } = filter;
  const interfacePods = new InterfacePods(session);
  const hulls = new CounterHulls();
  const frames = new NodeFrames(session, sinceMs);
  return {
    stream: 'VIOLATIONS',
    noun: 'violations',
    filterSubjects: [
      filters.violations({
        ...(node === undefined ? {} : { node }),
        ...(kind === 'spoof' || kind === 'lsm' ? { kind } : {}),
      }),
    ],
    read: (message, take) =>
      frames.read(message, (frame) => {
        const rows = eventRows(frame, message, filter, hulls);
        if (rows.some((row) => row.kind === 'gap')) return addPodNames(interfacePods, rows, take);
        for (const row of rows) take(row);
        return undefined;
      }),
    columns: eventColumns(kind),
    cells: eventCells,
    json: eventJson,
    missing: () => missingReasons(session, sinceMs, node),
  };
}

async function addPodNames(interfacePods: InterfacePods, rows: readonly EventRow[], take: (row: EventRow) => void) {
  for (const row of rows) {
    if (row.kind === 'gap') row.pod = await interfacePods.podOf({ nodeName: row.nodeName, ...row.gap });
    take(row);
  }
}

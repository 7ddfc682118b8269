/**
 * Names the pods of interfaces from the collectors' status: a gap in a frame contains only the
 * interface.
 *
 * Bounds: unknown interfaces cause one read per REREAD_MS at most.
 */

import { readNodes } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import type { Session } from '../shared/session.ts';

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

export class InterfacePods {
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

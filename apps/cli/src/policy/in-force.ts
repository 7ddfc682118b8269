/** Whether policies hold where a pod runs, so that what a set decides is not told as what happens where nothing enforces it. */
import { nodeObstacle, type PlaceStatus } from '@bailiff/answer';
import { readNodes } from '../read/nodes.ts';
import type { Session } from '../session.ts';

/** A node that has said nothing for this long is silent; as `policy status` has it unless told otherwise. */
const STALE_MS = 60_000;

/** `not in force on node-1: LSM unavailable: EPERM`; null when the node enforces, or is silent: what was in force there still is. Pure. */
export function notInForce(node: string, status: PlaceStatus | string | undefined, nowMs: number): string | null {
  const obstacle = nodeObstacle(status, nowMs, STALE_MS);
  if (!obstacle || obstacle.state === 'silent') return null;
  return `not in force on ${node}: ${obstacle.reason}`;
}

/** A decision of a set that nothing enforces: `would be blocked`. Pure. */
export const conditional = (text: string): string =>
  text.replace(/ is blocked( and its process killed)?: /, ' would be blocked$1: ');

/** @throws BusError */
export async function readNotInForce(session: Session, node: string): Promise<string | null> {
  return notInForce(node, (await readNodes(session)).get(node), session.io.nowMs());
}

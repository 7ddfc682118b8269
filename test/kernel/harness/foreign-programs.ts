/** Programs of another agent beside the guard, and packets that show what they get. */
import { datagram, FORGED } from './ipv4.ts';
import { ATTACKER, type TestNode } from './node.ts';
import { foreignObject } from './processes.ts';

const forged = datagram(FORGED);
const plain = datagram(ATTACKER.ipv4);

/** @returns an index for `seenBy`. The receiver is where its redirects go. */
export function attachForeign(
  node: TestNode,
  program: string,
  place: string,
  direction: 'ingress' | 'egress' = 'ingress',
): Promise<number> {
  const { attacker, receiver } = node.pods;
  const { ifindex } = direction === 'ingress' ? attacker : receiver;
  return node.agent.call('own.attachForeign', foreignObject(), ifindex, direction, place, program, receiver.ifindex);
}

/** Packets that a foreign program got. */
export const seenBy = async (node: TestNode, index: number): Promise<number> =>
  Number(await node.agent.call<bigint>('own.counted', index));

/** Sends three forged and two plain packets. @returns how many of each landed */
export async function exchange(node: TestNode): Promise<number[]> {
  node.forgetLanded();
  await node.send(forged, 3);
  await node.send(plain, 2);
  await node.fence();
  return [node.landed(forged), node.landed(plain)];
}

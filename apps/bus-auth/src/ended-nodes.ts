/**
 * Nodes whose connections bus-auth ended in the last ENDED_MS, for its status. Pure.
 *
 * A node is known by the login that was granted on the connection, not by the name in the servers'
 * list, which its client chooses. Beyond MAX_ENDED nodes, the one that ended first is forgotten.
 */
import { nodeUserOf } from '@bailiff/bus';
import type { EndedConnections } from '@bailiff/schemas';
import { RecentMap } from '@bailiff/service';
import type { Excess } from './connection-shares.ts';

export const ENDED_MS = 15 * 60_000;
export const MAX_ENDED = 64;

type Ended = Omit<EndedConnections, 'keptOutUntil'>;

export class EndedNodes {
  readonly #ended = new RecentMap<string, Ended>(MAX_ENDED);

  add({ user, reason, host }: Pick<Excess, 'user' | 'reason'> & { host: string }, nowMs: number): void {
    const node = (user === null ? null : nodeUserOf(user)?.node) ?? '';
    const connections = 1 + (this.#at(nowMs).find((one) => one.node === node)?.connections ?? 0);
    const endedAt = new Date(nowMs).toISOString();
    this.#ended.set(node, { node, connections, reason, host, endedAt });
  }

  /** @param keptOutUntilMs until when the logins of a node get no response; undefined if they do */
  list(nowMs: number, keptOutUntilMs: (node: string) => number | undefined): EndedConnections[] {
    return this.#at(nowMs).map((one) => {
      const untilMs = keptOutUntilMs(one.node);
      return untilMs === undefined ? one : { ...one, keptOutUntil: new Date(untilMs).toISOString() };
    });
  }

  #at(nowMs: number): Ended[] {
    return [...this.#ended.values()].filter(({ endedAt }) => nowMs - Date.parse(endedAt) < ENDED_MS);
  }
}

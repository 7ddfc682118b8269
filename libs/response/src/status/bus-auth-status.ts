/** Status of bus-auth: its instances, and the nodes whose connections they ended. Pure. */
import type { EndedConnections } from '@bailiff/schemas';
import { healthOf, type InstanceSets, type ServiceHealth } from './service-health.ts';

export interface BusAuthStatus extends ServiceHealth {
  /** The servers list the connections of nodes to a running instance. */
  watched: boolean;
  /** Nodes whose connections ended in the last minutes, the newest first. */
  ended: EndedConnections[];
}

export function busAuthOf(sets: InstanceSets, atMs: number): BusAuthStatus | null {
  if (sets.known.length === 0) return null;
  const all = sets.running.flatMap(({ nodeConnections }) => nodeConnections ?? []);
  const byNode = new Map<string, EndedConnections>();
  // Each replica ends the connections that it sees, and all keep the node out.
  for (const one of all.flatMap(({ ended }) => ended)) {
    const known = byNode.get(one.node) ?? one;
    const newest = Date.parse(one.endedAt) > Date.parse(known.endedAt) ? one : known;
    const untils = [one.keptOutUntil, known.keptOutUntil].filter((time) => time !== undefined).sort();
    const connections = Math.max(one.connections, known.connections);
    const keptOutUntil = untils.at(-1);
    byNode.set(one.node, { ...newest, connections, ...(keptOutUntil === undefined ? {} : { keptOutUntil }) });
  }
  const ended = [...byNode.values()].sort((a, b) => Date.parse(b.endedAt) - Date.parse(a.endedAt));
  return { ...healthOf(sets, null, atMs), watched: all.some(({ watched }) => watched), ended };
}

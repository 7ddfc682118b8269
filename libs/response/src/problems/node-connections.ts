/** Connections of nodes that bus-auth ended, or cannot watch, as problems. Pure. */
import type { BusAuthStatus } from '../status/bus-auth-status.ts';
import { age, plural, quoted } from '../status/text.ts';
import { type Problem, warn } from './problem.ts';

/** A replica has its first lists by then. */
const STARTED_MS = 60_000;
const REASONS: Readonly<Record<string, string>> = {
  'too-many': 'it has more than four for a user',
  flooding: 'it sends or requests more than a collector does',
  heavy: 'it receives more than it requests, or does not read',
};
const ENDED_REMEDY = 'another client uses its credential, or its inbox: docs/alerts.md, BailiffNodeConnectionsEnded';
const NOT_WATCHED = 'does not end connections of nodes that flood the bus: the servers refuse their lists';
const NOT_WATCHED_REMEDY = 'render nats.conf again, and reload the servers: docs/bus-logins.md, "Connections"';

export function connectionProblems(status: BusAuthStatus | null, atMs: number): Problem[] {
  if (!status) return [];
  const { watched, runningForMs, ended } = status;
  const problems =
    watched || runningForMs < STARTED_MS ? [] : [warn('bus-auth', NOT_WATCHED, NOT_WATCHED_REMEDY, 'services')];
  for (const { node, connections, reason, host, endedAt, keptOutUntil } of ended) {
    const leftMs = keptOutUntil === undefined ? 0 : Date.parse(keptOutUntil) - atMs;
    const since = age(Math.max(0, atMs - Date.parse(endedAt)));
    const why = REASONS[reason] ?? quoted(reason);
    const kept = leftMs > 0 ? `; its logins get no response for ${age(leftMs)}` : '';
    const text = `bus-auth ended ${plural(connections, 'connection')} of it, the newest ${since} ago, of client ${quoted(host)}: ${why}${kept}`;
    problems.push(warn(node || 'unknown node', text, ENDED_REMEDY, 'services'));
  }
  return problems;
}

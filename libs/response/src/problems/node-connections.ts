/** Connections of nodes that bus-auth ended, cannot watch, or does not admit, as problems. Pure. */

import type { NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import type { BusAuthStatus } from '../status/bus-auth-status.ts';
import { age, plural, quoted } from '../status/text.ts';
import type { ClusterFacts } from './facts.ts';
import { type Problem, shout, warn } from './problem.ts';

/** A replica has its first lists by then. */
const STARTED_MS = 60_000;
const REASONS: Readonly<Record<string, string>> = {
  'too-many': 'it has more than four for a user',
  flooding: 'it sends more than a collector does',
  'second-login': 'it logged in again on the same connection, which no collector does',
  malformed: 'it ended its connection by malformed data, which no collector sends',
  reset: 'writes to its connections fail again and again: it hides what it sends, or its network resets them',
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
    const why = Object.hasOwn(REASONS, reason) ? REASONS[reason] : quoted(reason);
    const kept = leftMs > 0 ? `; its logins get no response for ${age(leftMs)}` : '';
    const text = `bus-auth ended ${plural(connections, 'connection')} of it, the newest ${since} ago, of client ${quoted(host)}: ${why}${kept}`;
    problems.push(warn(node || 'unknown node', text, ENDED_REMEDY, 'services'));
  }
  return problems;
}

const WITHOUT_LOGIN =
  'no instance has reported for an hour, and collectors log in by it: those that are connected are so only until their token expires';
const START = 'start it, or see its log: `bailiff logs bus-auth`';
const OLD_SERVERS =
  'check that it runs: `bailiff logs bus-auth`. If it does, the servers have an older configuration: render nats.conf again, and reload them';

/**
 * No bus-auth is known although collectors log in by token: the bus keeps the status of an instance for
 * an hour. While all of them report, it may run on servers that refuse its status.
 */
export function missingAuthProblems({ services, nodes, nowMs, staleMs }: AuthFacts): Problem[] {
  if (services?.busAuth !== null) return [];
  const byToken = [...nodes.values()].filter((status) => typeof status !== 'string' && status.bus.byToken === true);
  if (byToken.length === 0) return [];
  const isSilent = (status: NodeStatus | string) =>
    typeof status !== 'string' && nowMs - Date.parse(status.updatedAt) > staleMs;
  if (!byToken.some(isSilent)) return [warn('bus-auth', WITHOUT_LOGIN, OLD_SERVERS, 'services')];
  return [shout('bus-auth', WITHOUT_LOGIN, START, EXIT.dependencyUnreachable, 'services')];
}

type AuthFacts = Pick<ClusterFacts, 'services' | 'nodes' | 'nowMs' | 'staleMs'>;

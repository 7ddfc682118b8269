/**
 * Servers of a cluster that do not follow the streams: the next one that fails stops the bus. And streams
 * without a leader: it has stopped. Pure.
 */
import { EXIT } from '@bailiff/service/exit-codes';
import type { StreamInfo } from '../status/service-health.ts';
import { age, plural, quoted, shortList } from '../status/text.ts';
import { type Problem, shout, warn } from './problem.ts';

/** A restart and its catching up take less. */
const BEHIND_MS = 60_000;
/** Streams named for a server. */
const MAX_STREAMS = 3;
const REMEDY = 'look at its disk, and at its log: "Disk full" in docs/operations.md';

const ELECT =
  'start the servers of the bus that are down, or connect them: a leader needs more than half of them. If `bailiff logs nats` shows "last msgid mismatch": docs/operations.md, "Stopped stream"';

const isLeaderless = ({ cluster }: StreamInfo): boolean => cluster !== undefined && !cluster.leader;

/** One server answers all the same, with what it has. During an election, this lasts some seconds. */
export function leaderProblems(infos: readonly (StreamInfo | null)[]): Problem[] {
  const names = infos.flatMap((info) => (info && isLeaderless(info) ? [info.config.name] : []));
  if (names.length === 0) return [];
  const have = names.length === 1 ? 'has' : 'have';
  const text = `${plural(names.length, 'stream')} (${shortList(names, MAX_STREAMS)}) ${have} no leader and ${names.length === 1 ? 'stores' : 'store'} nothing: what is shown from there is old`;
  return [shout('bus', text, ELECT, EXIT.dependencyUnreachable, 'streams')];
}

/** @param infos as the leaders of the streams report them */
export function replicaProblems(infos: readonly (StreamInfo | null)[]): Problem[] {
  const behind = new Map<string, { streams: string[]; ms: number }>();
  for (const info of infos) {
    if (info && isLeaderless(info)) continue;
    for (const { name, current, active, offline = false } of info?.cluster?.replicas ?? []) {
      const ms = active / 1e6;
      // Of one that was lost before its leader started, the leader has no time, and no name.
      const isUnheard = offline && active === 0;
      if (current || (ms < BEHIND_MS && !isUnheard)) continue;
      const known = behind.get(name) ?? { streams: [], ms: 0 };
      behind.set(name, { streams: [...known.streams, info?.config.name ?? ''], ms: Math.max(known.ms, ms) });
    }
  }
  return [...behind].map(([server, { streams, ms }]) => {
    const since = ms === 0 ? 'since before their leaders started' : `for ${age(ms)}`;
    const text = `server ${quoted(server)} has not followed ${plural(streams.length, 'stream')} (${shortList(streams, MAX_STREAMS)}) ${since}: it is down, cut off, or its disk is full; no other one may fail`;
    return warn('bus', text, REMEDY, 'streams');
  });
}

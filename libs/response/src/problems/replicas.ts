/** Servers of a cluster that do not follow the streams: the next one that fails stops the bus. Pure. */
import { age, plural, quoted, shortList } from '../status/text.ts';
import type { StreamInfo } from './fill.ts';
import { type Problem, warn } from './problem.ts';

/** A restart and its catching up take less. */
const BEHIND_MS = 60_000;
/** Streams named for a server. */
const MAX_STREAMS = 3;
const REMEDY = 'look at its disk, and at its log: "Disk full" in docs/operations.md';

/** @param infos as the leaders of the streams report them */
export function replicaProblems(infos: readonly (StreamInfo | null)[]): Problem[] {
  const behind = new Map<string, { streams: string[]; ms: number }>();
  for (const info of infos) {
    for (const { name, current, active } of info?.cluster?.replicas ?? []) {
      const ms = active / 1e6;
      if (current || ms < BEHIND_MS) continue;
      const known = behind.get(name) ?? { streams: [], ms: 0 };
      behind.set(name, { streams: [...known.streams, info?.config.name ?? ''], ms: Math.max(known.ms, ms) });
    }
  }
  return [...behind].map(([server, { streams, ms }]) => {
    const text = `server ${quoted(server)} has not followed ${plural(streams.length, 'stream')} (${shortList(streams, MAX_STREAMS)}) for ${age(ms)}: it is down, cut off, or its disk is full; no other one may fail`;
    return warn('bus', text, REMEDY, 'streams');
  });
}

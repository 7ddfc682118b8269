/**
 * Composes a capture within its limits. Pure. Processes that the evidence names come first, then
 * their ancestors, so that a pod cannot hide them behind many others. The rest follows by age.
 */
import {
  cutEnd,
  cutFront,
  MAX_TEXT as LIMITS,
  MAX_CAPTURE_BYTES,
  MAX_CAPTURE_PROCESSES,
  MAX_CAPTURE_SOCKETS,
  type PodCapture,
} from '@bailiff/schemas';
import type { ProcessFacts } from './proc.ts';
import { redact } from './redact.ts';
import type { NetSocket } from './sockets.ts';

export interface CaptureFacts {
  takenAtMicros: number;
  /** Wall-clock microseconds at boot. */
  bootMicros: number;
  arguments: string;
  /** pids with priority. */
  first: readonly number[];
  processes: readonly (ProcessFacts & { container: string })[];
  /** Processes that were not read. */
  unread: number;
  sockets: readonly NetSocket[];
  /** Sockets that were not read. */
  unreadSockets: number;
}

/** Limit of one text, in characters. */
const MAX_TEXT = 512;
/** Bytes around the two lists. */
const FRAME_BYTES = 1024;
const PROCESS_BYTES = (MAX_CAPTURE_BYTES - FRAME_BYTES) * 0.65;
const SOCKET_BYTES = MAX_CAPTURE_BYTES - FRAME_BYTES - PROCESS_BYTES;
const CONTAINER = LIMITS.CapturedProcess.container.bytes;
const COMM = LIMITS.CapturedProcess.comm.bytes;
const EXECUTABLE = LIMITS.CapturedProcess.executable.bytes;
const TICK_MICROS = 10_000;

export function compose(facts: CaptureFacts): PodCapture {
  const bySocket = holders(facts.processes);
  const processes = within(
    inOrder(facts).map((one) => processOf(one, facts)),
    MAX_CAPTURE_PROCESSES,
    PROCESS_BYTES,
  );
  const all = facts.sockets.map((socket) => socketOf(socket, bySocket));
  // Held sockets come before those of closed connections.
  const sockets = within(
    [...all.filter(({ pids }) => pids.length > 0), ...all.filter(({ pids }) => pids.length === 0)],
    MAX_CAPTURE_SOCKETS,
    SOCKET_BYTES,
  );
  return {
    takenAt: facts.takenAtMicros,
    arguments: facts.arguments,
    processes,
    processesOmitted: facts.processes.length - processes.length + facts.unread,
    sockets,
    socketsOmitted: all.length - sockets.length + facts.unreadSockets,
  };
}

/** The processes of the evidence, then their ancestors by distance, then the others by age. */
function inOrder({ processes, first }: CaptureFacts): CaptureFacts['processes'][number][] {
  const byPid = new Map(processes.map((one) => [one.pid, one]));
  const byAge = [...processes].sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid);
  const chosen = new Set(first.flatMap((pid) => byPid.get(pid) ?? []));
  // What is added meanwhile is iterated too.
  for (const { parentPid } of chosen) {
    const parent = byPid.get(parentPid);
    if (parent) chosen.add(parent);
  }
  return [...new Set([...chosen, ...byAge])];
}

function holders(processes: CaptureFacts['processes']): Map<number, number[]> {
  const bySocket = new Map<number, number[]>();
  for (const { pid, sockets } of processes)
    for (const inode of new Set(sockets)) {
      const pids = bySocket.get(inode);
      if (pids) pids.push(pid);
      else bySocket.set(inode, [pid]);
    }
  return bySocket;
}

function processOf(one: CaptureFacts['processes'][number], facts: CaptureFacts): PodCapture['processes'][number] {
  const { pid, parentPid, startTicks, uid, container, comm, executable, args, argsCut } = one;
  const shown = facts.arguments === 'redacted' ? redact(args) : args;
  return {
    pid,
    parentPid,
    startedAt: facts.bootMicros + startTicks * TICK_MICROS,
    uid,
    container: cutEnd(container, CONTAINER),
    comm: cutEnd(comm, COMM),
    executable: cutFront(executable, EXECUTABLE),
    args: shown.map(cut),
    argsCut: argsCut || shown.some((text) => text.length > MAX_TEXT),
  };
}

function socketOf(socket: NetSocket, bySocket: ReadonlyMap<number, number[]>): PodCapture['sockets'][number] {
  const { protocol, local, remote, state, inode } = socket;
  const pids = (bySocket.get(inode) ?? []).slice(0, MAX_CAPTURE_PROCESSES);
  return { protocol, local: cut(local), remote, state, pids };
}

/** So many characters never exceed the limit of a text in bytes. */
const cut = (text: string): string => text.slice(0, MAX_TEXT);

/** The first items that fit. */
function within<T>(items: readonly T[], most: number, bytes: number): T[] {
  let used = 0;
  const kept: T[] = [];
  for (const item of items) {
    used += Buffer.byteLength(JSON.stringify(item)) + 1;
    if (kept.length === most || used > bytes) break;
    kept.push(item);
  }
  return kept;
}

/**
 * Takes a capture of a pod: its processes, by its cgroup, and the sockets of their network namespaces.
 *
 * Place in the path: the responder's question → server.ts → here → /proc. Needs no LSM. Never longer than BUDGET_MS, and other work has its
 * turn in between; what there was no time for is counted as omitted.
 */
import path from 'node:path';
import { normalPodUid } from '@bailiff/bpf';
import { type CaptureAnswer, type CaptureRequest, MAX_CAPTURE_PROCESSES, type PodIdentity } from '@bailiff/schemas';
import { processesIn } from '../identity/pod-cgroups.ts';
import { isContainerDir, podDirs, whyNoCgroups } from '../runtime/subjects/cgroups.ts';
import { compose } from './compose.ts';
import { type ProcessFacts, readProcess, readSome } from './proc.ts';
import { NET_FILES, type NetSocket, parseSockets } from './sockets.ts';

const BUDGET_MS = 1_000;
/** Read at most: some more than are told, because the evidence's may be among the last. */
const MAX_READ = 2 * MAX_CAPTURE_PROCESSES;
/** Processes read in one turn of the loop. */
const TURN = 16;
/** Namespaces of one pod that are looked into: it can make others. */
const MAX_NAMESPACES = 4;
/** Of one file of sockets: some two thousand of them. */
const MAX_FILE_BYTES = 256 * 1024;

export interface CaptureContext {
  cgroupRoot: string;
  /** The node's pod of this UID; undefined: not known. */
  podOf(uid: string): PodIdentity | undefined;
  /** Name of the host's own network namespace, whose sockets are told only where the pod holds them. */
  hostNetns: string;
  nowMicros(): number;
  bootMicros(): number;
  monotonicMs(): number;
}

type Read = ProcessFacts & { container: string };

export async function capturePod(request: CaptureRequest, context: CaptureContext): Promise<CaptureAnswer> {
  const { cgroupRoot } = context;
  const why = whyNoCgroups(cgroupRoot);
  if (why !== '') return { refused: 'no-cgroups', reason: why };
  const uid = normalPodUid(request.podUid);
  const dir = uid === null ? undefined : podDirs(cgroupRoot).get(uid);
  if (dir === undefined) return { refused: 'no-such-pod', reason: `no cgroup of pod ${request.podUid} on this node` };
  const endMs = context.monotonicMs() + BUDGET_MS;
  const all = processesIn(dir);
  const { processes, unread } = await readAll(all, dir, request, context, endMs);
  if (processes.length === 0) return { refused: 'no-such-pod', reason: 'nothing runs in the pod any more' };
  const { sockets, unreadSockets } = await readSockets(processes, context, endMs);
  const capture = compose({
    takenAtMicros: context.nowMicros(),
    bootMicros: context.bootMicros(),
    arguments: request.arguments,
    first: request.first,
    processes,
    unread,
    sockets,
    unreadSockets,
  });
  return { capture };
}

async function readAll(
  all: ReadonlyMap<number, string>,
  podDir: string,
  request: CaptureRequest,
  context: CaptureContext,
  endMs: number,
): Promise<{ processes: Read[]; unread: number }> {
  const first = request.first.filter((pid) => all.has(pid));
  const order = [...new Set([...first, ...all.keys()])];
  const containers = context.podOf(request.podUid)?.containers ?? [];
  const processes: Read[] = [];
  let looked = 0;
  for (const pid of order.slice(0, MAX_READ)) {
    if (looked % TURN === TURN - 1) await new Promise(setImmediate);
    if (context.monotonicMs() > endMs) break;
    looked += 1;
    const cgroup = all.get(pid) as string;
    const facts = readProcess(pid, request.arguments !== 'none');
    if (facts) processes.push({ ...facts, container: containerOf(cgroup, podDir, containers) });
  }
  // A pid that went may have been given to a process of the host while it was read.
  const still = processesIn(podDir);
  return { processes: processes.filter(({ pid }) => still.has(pid)), unread: order.length - looked };
}

/** The first directory below the pod's is the container's; its own ones, if it makes some, lie deeper. */
function containerOf(cgroup: string, podDir: string, containers: PodIdentity['containers']): string {
  const name = path.relative(podDir, cgroup).split('/')[0] ?? '';
  const bare = (id: string) => id.slice(id.lastIndexOf('/') + 1);
  return containers.find(({ id }) => isContainerDir(name, bare(id)))?.name ?? name;
}

async function readSockets(
  processes: readonly Read[],
  context: CaptureContext,
  endMs: number,
): Promise<{ sockets: NetSocket[]; unreadSockets: number }> {
  const namespaces = new Map<string, number>();
  for (const { netns, pid } of processes) if (netns !== '' && !namespaces.has(netns)) namespaces.set(netns, pid);
  const held = new Set(processes.flatMap(({ sockets }) => sockets));
  const found = new Map<string, NetSocket>();
  for (const [netns, pid] of [...namespaces].slice(0, MAX_NAMESPACES)) {
    await new Promise(setImmediate);
    if (context.monotonicMs() > endMs) break;
    for (const file of NET_FILES) {
      const text = readSome(`/proc/${pid}/net/${file}`, MAX_FILE_BYTES)?.toString('utf8') ?? '';
      for (const socket of parseSockets(file, text)) {
        if (netns === context.hostNetns && !held.has(socket.inode)) continue;
        const { protocol, local, remote } = socket;
        found.set(socket.inode === 0 ? `${netns} ${protocol} ${local} ${remote}` : String(socket.inode), socket);
      }
    }
  }
  const known = new Set([...found.values()].map(({ inode }) => inode));
  // Held, but in no list that was read: unnamed unix sockets, other families, namespaces beyond the bound.
  return { sockets: [...found.values()], unreadSockets: [...held].filter((inode) => !known.has(inode)).length };
}

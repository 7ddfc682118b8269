/**
 * Captures a pod: the processes of its cgroup and the sockets of their network namespaces. It needs
 * no LSM programs.
 *
 * Data path: capture request → server.ts → here → /proc. A capture takes at most BUDGET_MS and
 * yields to other work; what it could not read in time is counted as omitted.
 */
import { normalPodUid } from '@bailiff/bpf';
import { type CaptureAnswer, type CaptureRequest, MAX_CAPTURE_PROCESSES, type PodIdentity } from '@bailiff/schemas';
import { podCgroupOf, processesIn } from '../identity/pod-cgroups.ts';
import { cgroupProblem, isContainerDir, podCgroupDirs } from '../operations/subjects/cgroups.ts';
import { compose } from './compose.ts';
import { type ProcessFacts, readProcess, readSome } from './proc.ts';
import { NET_FILES, type NetSocket, parseSockets } from './sockets.ts';

const BUDGET_MS = 1_000;
/**
 * Limit of read processes: more than a capture contains, because those of the evidence may be the
 * last.
 */
const MAX_READ = 2 * MAX_CAPTURE_PROCESSES;
/** Processes per turn of the event loop. */
const TURN = 16;
/** Limit of network namespaces of one pod, which can create others. */
const MAX_NAMESPACES = 4;
/** Limit of one file of sockets: about two thousand sockets. */
const MAX_FILE_BYTES = 256 * 1024;

export interface CaptureContext {
  cgroupRoot: string;
  /** The node's pod with this UID; undefined: unknown. */
  podOf(uid: string): PodIdentity | undefined;
  /** Name of the host's network namespace; its sockets are included only if the pod holds them. */
  hostNetns: string;
  nowMicros(): number;
  bootMicros(): number;
  monotonicMs(): number;
}

type Read = ProcessFacts & { container: string };

export async function capturePod(request: CaptureRequest, context: CaptureContext): Promise<CaptureAnswer> {
  const { cgroupRoot } = context;
  const why = cgroupProblem(cgroupRoot);
  if (why !== '') return { refused: 'no-cgroups', reason: why };
  const uid = normalPodUid(request.podUid);
  const dir = uid === null ? undefined : podCgroupDirs(cgroupRoot).get(uid);
  if (uid === null || dir === undefined)
    return { refused: 'no-such-pod', reason: `no cgroup of pod ${request.podUid} on this node` };
  const endMs = context.monotonicMs() + BUDGET_MS;
  const all = processesIn(dir);
  const { processes, unread } = await readAll(all, uid, request, context, endMs);
  if (processes.length === 0) return { refused: 'no-such-pod', reason: 'no process runs in the pod any more' };
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

/**
 * The processes of the evidence, which may be in no list that is bounded, then their ancestors, then the others. A
 * process counts if it is in the pod after it was read: its pid may be that of another one meanwhile.
 */
async function readAll(
  all: ReadonlySet<number>,
  podUid: string,
  request: CaptureRequest,
  context: CaptureContext,
  endMs: number,
): Promise<{ processes: Read[]; unread: number }> {
  const order = new Set(request.first);
  const containers = context.podOf(request.podUid)?.containers ?? [];
  const processes: Read[] = [];
  let looked = 0;
  const read = async (pid: number): Promise<Read | undefined> => {
    if (looked % TURN === TURN - 1) await new Promise(setImmediate);
    looked += 1;
    const facts = readProcess(pid, request.arguments !== 'none');
    const cgroup = podCgroupOf(pid);
    if (!facts || cgroup === null || normalPodUid(cgroup.podUid) !== podUid) return undefined;
    const process = { ...facts, container: containerOf(cgroup.below, containers) };
    processes.push(process);
    return process;
  };
  const isEnd = (): boolean => looked >= MAX_READ || context.monotonicMs() > endMs;
  // What is added meanwhile is iterated too.
  for (const pid of order) {
    if (isEnd()) break;
    const process = await read(pid);
    if (process) order.add(process.parentPid);
  }
  const others = [...all].filter((pid) => !order.has(pid));
  for (const pid of others) {
    if (isEnd()) break;
    await read(pid);
  }
  return { processes, unread: order.size + others.length - looked };
}

/** A cgroup that a container creates in its own is deeper. */
function containerOf(name: string, containers: PodIdentity['containers']): string {
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
  // Held, but in no read list: unnamed unix sockets, other families, namespaces beyond the limit.
  return { sockets: [...found.values()], unreadSockets: [...held].filter((inode) => !known.has(inode)).length };
}

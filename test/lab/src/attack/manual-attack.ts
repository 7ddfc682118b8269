/**
 * `lab attack`: sends forged packets from inside a pod of a running lab. All input comes from the
 * lab's state file and the namespaces. The sender is a process of the pod, so it is judged and
 * deleted with the pod. A witness at the victim's interface counts the landed packets.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { linkLocalOfMac } from '@bailiff/bpf';
import { cgroup2Mount } from '../cgroup.ts';
import { LabError } from '../errors.ts';
import { ensureLabtool, labtoolArgs } from '../native-tool.ts';
import { exec } from '../process/exec.ts';
import { startLines } from '../process/lines.ts';
import type { LabInfo, LabPodInfo } from '../state/state.ts';
import { packFrames } from './frames.ts';
import { type CountReport, parseReport, type SendReport } from './json-lines.ts';
import { type ForgedFrame, forgedFrame, type ManualVector, type Scene, tailOf } from './manual-frames.ts';

/** A witness is stopped after this time. */
const WITNESS_TIMEOUT_MS = 15_000;

export interface ManualAttack {
  pod: string;
  vectors: readonly ManualVector[];
  count: number;
  rate: number;
}

export interface AttackOutcome {
  attacker: LabPodInfo;
  victim: LabPodInfo;
  vectors: readonly ManualVector[];
  /** Description of each vector's frame. */
  descriptions: string[];
  sent: number;
  landed: number;
  /** The pod was stopped before all frames were sent. */
  cutOff: boolean;
}

export const fullName = ({ namespace, name }: Pick<LabPodInfo, 'namespace' | 'name'>) => `${namespace}/${name}`;

/**
 * Resolves a pod by name, namespace/name, UID, or the end of a name. Pure. @throws LabError
 * LAB_NOT_FOUND | LAB_AMBIGUOUS
 */
export function resolvePod<P extends Pick<LabPodInfo, 'namespace' | 'name' | 'uid'>>(
  pods: readonly P[],
  text: string,
): P {
  const exact = pods.filter((pod) => [pod.name, fullName(pod), pod.uid].includes(text));
  const found = exact.length > 0 ? exact : pods.filter((pod) => pod.name.endsWith(`-${text}`));
  const [pod, ...others] = found;
  const known = (some: readonly P[]) => some.slice(0, 12).map(fullName).join(', ') || 'none';
  if (!pod) throw new LabError('LAB_NOT_FOUND', `no pod "${text}" runs in the lab; there are ${known(pods)}`);
  if (others.length > 0) throw new LabError('LAB_AMBIGUOUS', `"${text}" means ${known(found)}: name one of them`);
  return pod;
}

/**
 * Chooses the victim and the claimed pod, on the attacker's node if possible. Pure. @throws
 * LabError LAB_NOT_FOUND
 */
export function chooseTargets(
  pods: readonly LabPodInfo[],
  attacker: LabPodInfo,
): { victim: LabPodInfo; claimed: LabPodInfo | null } {
  const others = pods.filter((pod) => pod.uid !== attacker.uid);
  const near = others.filter((pod) => pod.node === attacker.node);
  const [victim, claimed] = [...near, ...others.filter((pod) => !near.includes(pod))];
  if (!victim)
    throw new LabError('LAB_NOT_FOUND', 'an attack needs a second pod to send to: bring the lab up with more --pods');
  return { victim, claimed: claimed ?? null };
}

interface IpLink {
  ifname: string;
  address: string;
  addr_info: { local?: string }[];
}

async function gatewayOf(netns: string, family: '-4' | '-6'): Promise<string> {
  const routes = JSON.parse(await exec('ip', ['-n', netns, family, '-j', 'route', 'show', 'default'])) as {
    gateway?: string;
  }[];
  const gateway = routes.find((route) => route.gateway)?.gateway;
  if (!gateway) throw new LabError('LAB_NOT_FOUND', `${netns} has no default route (${family})`);
  return gateway;
}

/**
 * MAC of the gateway, and whether pods of one node share a segment. With ptp the gateway is the
 * host side of the pod's veth.
 */
async function gatewayLink(
  info: LabInfo,
  pod: LabPodInfo,
  gateway4: string,
): Promise<{ mac: string; shared: boolean }> {
  const netns = info.nodes.find(({ name }) => name === pod.node)?.netns ?? '';
  const links = JSON.parse(await exec('ip', ['-n', netns, '-j', 'addr', 'show'])) as IpLink[];
  const holders = links.filter((link) => link.addr_info.some(({ local }) => local === gateway4));
  const own = holders.find(({ ifname }) => ifname === pod.hostInterface);
  const mac = (own ?? holders[0])?.address;
  if (!mac) throw new LabError('LAB_NOT_FOUND', `no interface of ${pod.node} has the gateway's address ${gateway4}`);
  return { mac, shared: !own };
}

const addressOf = (pod: LabPodInfo, v6: boolean): string => {
  const address = pod.ips.find((ip) => ip.includes(':') === v6);
  if (!address) throw new LabError('LAB_NOT_FOUND', `${fullName(pod)} has no ${v6 ? 'IPv6' : 'IPv4'} address`);
  return address;
};

async function sceneOf(
  info: LabInfo,
  attacker: LabPodInfo,
  victim: LabPodInfo,
  claimed: LabPodInfo | null,
): Promise<Scene> {
  const [gateway4, gateway6] = await Promise.all([gatewayOf(attacker.netns, '-4'), gatewayOf(attacker.netns, '-6')]);
  const gateway = await gatewayLink(info, attacker, gateway4);
  return {
    mac: attacker.mac,
    ip4: addressOf(attacker, false),
    ip6: addressOf(attacker, true),
    linkLocal: linkLocalOfMac(attacker.mac),
    toMac: gateway.shared && victim.node === attacker.node ? victim.mac : gateway.mac,
    victim4: addressOf(victim, false),
    victim6: addressOf(victim, true),
    gateway4,
    gateway6,
    claimed4: claimed ? addressOf(claimed, false) : gateway4,
    claimed6: claimed ? addressOf(claimed, true) : gateway6,
    claimed: claimed ? claimed.name : 'the gateway',
  };
}

/** Cgroup directory of the pod's own process. */
async function cgroupOf(pod: LabPodInfo): Promise<string> {
  const [pid] = (await exec('ip', ['netns', 'pids', pod.netns])).trim().split('\n');
  const own = pid ? /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] : undefined;
  if (!own) throw new LabError('LAB_NOT_FOUND', `nothing runs in ${fullName(pod)}`);
  return path.join(cgroup2Mount(), own);
}

/** Counts until stopped. */
async function startWitness(labtool: string, netns: string, markers: readonly Buffer[]) {
  let landed = 0;
  let ready: () => void = () => undefined;
  const bound = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const command = ['count', 'eth0', ...markers.map((marker) => marker.toString('hex'))];
  const witness = await startLines(labtool, labtoolArgs({ netns }, command), {
    onLine: (line) => {
      landed = parseReport<CountReport>(line).counts.reduce((sum, count) => sum + count, 0);
      ready();
    },
  });
  await Promise.race([bound, witness.ended]);
  if (witness.hasEnded()) throw new LabError('LAB_PROCESS_ENDED', `witness: ${witness.stderrTail()}`);
  return {
    finish: async () => {
      witness.closeInput();
      const timer = setTimeout(() => witness.child.kill('SIGKILL'), WITNESS_TIMEOUT_MS);
      await witness.ended;
      clearTimeout(timer);
      return landed;
    },
  };
}

/** Sends the frames of all vectors in turn. @throws LabError */
export async function runManualAttack(info: LabInfo, request: ManualAttack): Promise<AttackOutcome> {
  const attacker = resolvePod(info.pods, request.pod);
  const { victim, claimed } = chooseTargets(info.pods, attacker);
  const scene = await sceneOf(info, attacker, victim, claimed);
  const made = request.vectors.map((vector): ForgedFrame => forgedFrame(vector, scene, randomBytes(32)));
  const frames = made.map(({ frame }) => frame);
  const [labtool, cgroup] = await Promise.all([ensureLabtool(), cgroupOf(attacker)]);
  const witness = await startWitness(labtool, victim.netns, frames.map(tailOf));
  let sent = 0;
  let done = false;
  const command = ['send', 'eth0', String(request.rate), String(request.count)];
  const sender = await startLines(labtool, labtoolArgs({ netns: attacker.netns, cgroup }, command), {
    onLine: (line) => {
      const report = parseReport<SendReport>(line);
      sent = report.sent ?? sent;
      done ||= report.event === 'done';
    },
  });
  sender.closeInput(packFrames(frames));
  await sender.ended;
  const landed = await witness.finish();
  if (!done && sent === 0 && sender.stderrTail() !== '') throw new LabError('LAB_PROCESS_ENDED', sender.stderrTail());
  const descriptions = made.map(({ description }) => description);
  return { attacker, victim, vectors: request.vectors, descriptions, sent, landed, cutOff: sent < request.count };
}

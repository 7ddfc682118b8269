/**
 * Named network namespaces. Made and removed through iproute2 so that `ip netns exec` works on them; entered by
 * `nsenter --net=`, which unlike `ip netns exec` leaves bpffs and cgroup2 visible. Removal is idempotent.
 */
import { readdir } from 'node:fs/promises';
import { NETNS_DIR, netnsPath } from '../names.ts';
import { exec } from '../process/exec.ts';

/**
 * New namespaces judge sources loosely, as nodes with several paths and most CNI plugins do: strict reverse-path filtering
 * would hide some forgeries from the control run and credit the kernel's drop to Bailiff.
 */
const SYSCTLS: Record<string, string> = {
  'ipv4/conf/all/rp_filter': '0',
  'ipv4/conf/default/rp_filter': '0',
};
/**
 * A node forwards both families. It skips duplicate address detection for its own addresses (nobody else can have them), so
 * that gateways carry IPv6 at once instead of a second later; pods keep theirs.
 */
const ROUTER_SYSCTLS: Record<string, string> = {
  ...SYSCTLS,
  'ipv6/conf/default/accept_dad': '0',
  'ipv6/conf/default/dad_transmits': '0',
  'ipv4/ip_forward': '1',
  'ipv6/conf/all/forwarding': '1',
};

/** Sets sysctls below /proc/sys/net of a namespace. Keys and values are constants of this file. */
async function setSysctls(netns: string, values: Record<string, string>): Promise<void> {
  const lines = Object.entries(values).map(([key, value]) => `echo ${value} > /proc/sys/net/${key}`);
  await exec('nsenter', [`--net=${netnsPath(netns)}`, 'sh', '-e'], { input: `${lines.join('\n')}\n` });
}

/** Makes a namespace with loopback up. @param router forwards both families */
export async function createNetns(netns: string, router = false): Promise<void> {
  await exec('ip', ['netns', 'add', netns]);
  await setSysctls(netns, router ? ROUTER_SYSCTLS : SYSCTLS);
  await exec('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
}

/** Runs a batch of `ip` commands, one a line, inside a namespace. */
export async function ipBatch(netns: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await exec('ip', ['-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Names of existing namespaces that begin with a prefix. */
export async function listNetns(prefix: string): Promise<string[]> {
  const names = await readdir(NETNS_DIR).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => name.startsWith(prefix)).sort();
}

/** Removes the name; the namespace itself ends with its last process. Nothing happens when it is gone already. */
export async function deleteNetns(netns: string): Promise<void> {
  const existing = await listNetns(netns);
  if (existing.includes(netns)) await exec('ip', ['netns', 'delete', netns]);
}

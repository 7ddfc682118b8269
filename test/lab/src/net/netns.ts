/**
 * Named network namespaces. Created and removed with iproute2, so that `ip netns exec` works.
 * Entered with `nsenter --net=`, which keeps bpffs and cgroup2 visible. Removal is idempotent.
 */
import { readdir } from 'node:fs/promises';
import { NETNS_DIR, netnsPath } from '../names.ts';
import { exec } from '../process/exec.ts';

/**
 * Loose reverse-path filtering, as on multihomed nodes and with most CNI plugins. Strict filtering
 * would hide forgeries from the control run and attribute the kernel's drops to Bailiff.
 */
const SYSCTLS: Record<string, string> = {
  'ipv4/conf/all/rp_filter': '0',
  'ipv4/conf/default/rp_filter': '0',
};
/**
 * A node forwards both families. It skips duplicate address detection for its own addresses, which
 * are unique here, so that gateways carry IPv6 immediately. Pods keep it.
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

/** Creates a namespace with loopback up. @param router forwards both families */
export async function createNetns(netns: string, router = false): Promise<void> {
  await exec('ip', ['netns', 'add', netns]);
  await setSysctls(netns, router ? ROUTER_SYSCTLS : SYSCTLS);
  await exec('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
}

/** Runs a batch of `ip` commands, one per line, inside a namespace. */
export async function ipBatch(netns: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await exec('ip', ['-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Names of existing namespaces with a prefix. */
export async function listNetns(prefix: string): Promise<string[]> {
  const names = await readdir(NETNS_DIR).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => name.startsWith(prefix)).sort();
}

/**
 * Removes the name; the namespace itself ends with its last process. No-op if it does not exist.
 */
export async function deleteNetns(netns: string): Promise<void> {
  const existing = await listNetns(netns);
  if (existing.includes(netns)) await exec('ip', ['netns', 'delete', netns]);
}

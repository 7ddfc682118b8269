/**
 * Runs real CNI plugins by the CNI 1.0 protocol (environment and stdin) in a node's network
 * namespace, as a runtime does. ADD caches its result and DEL removes it. DEL of an absent
 * attachment succeeds.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { LabError } from '../errors.ts';
import { netnsPath } from '../names.ts';
import { exec } from '../process/exec.ts';
import { type Attachment, type CniResult, cniArgs, removeCacheRecord, writeCacheRecord } from './cache.ts';

/** Plugin directories of distributions and of upstream. */
const BIN_DIRS = ['/usr/lib/cni', '/opt/cni/bin'];
/** The ptp plugin itself waits up to 10 s for duplicate address detection. */
const PLUGIN_TIMEOUT_MS = 60_000;

export interface CniHost {
  nodeNetns: string;
  resultsDir: string;
  binDir: string;
}

/** Directory of the plugins. @throws LabError LAB_MISSING_PROGRAM naming the package */
export function cniBinDir(plugins: readonly string[], dirs: readonly string[] = BIN_DIRS): string {
  const dir = dirs.find((each) => plugins.every((plugin) => existsSync(path.join(each, plugin))));
  if (dir) return dir;
  const advice = 'install the Debian package containernetworking-plugins';
  throw new LabError('LAB_MISSING_PROGRAM', `no CNI plugins ${plugins.join(', ')} in ${dirs.join(', ')}: ${advice}`);
}

async function invoke(
  command: 'ADD' | 'DEL',
  host: CniHost,
  attachment: Attachment,
  podNetnsName: string,
): Promise<CniResult | null> {
  let previous: CniResult | null = null;
  const plugins = command === 'ADD' ? attachment.conf.plugins : attachment.conf.plugins.toReversed();
  for (const plugin of plugins) {
    const { cniVersion, name } = attachment.conf;
    const stdin = JSON.stringify({ cniVersion, name, ...plugin, ...(previous ? { prevResult: previous } : {}) });
    const args = [`--net=${netnsPath(host.nodeNetns)}`, path.join(host.binDir, plugin.type)];
    const result = await exec('nsenter', args, {
      input: stdin,
      timeoutMs: PLUGIN_TIMEOUT_MS,
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: attachment.containerId,
        CNI_NETNS: netnsPath(podNetnsName),
        CNI_IFNAME: attachment.ifName,
        CNI_PATH: host.binDir,
        CNI_ARGS: cniArgs(attachment)
          .map(([key, value]) => `${key}=${value}`)
          .join(';'),
      },
    }).catch((cause: LabError) => {
      throw new LabError('LAB_CNI', `CNI ${command} ${plugin.type} for ${attachment.podName}: ${cause.message}`, {
        cause,
      });
    });
    if (command === 'ADD') previous = JSON.parse(result) as CniResult;
  }
  return previous;
}

/** @throws LabError LAB_CNI with the plugin's own message */
export async function cniAdd(host: CniHost, attachment: Attachment, podNetnsName: string): Promise<CniResult> {
  const result = await invoke('ADD', host, attachment, podNetnsName);
  if (!result) throw new LabError('LAB_CNI', `the network ${attachment.conf.name} has no plugins`);
  await writeCacheRecord(host.resultsDir, attachment, result);
  return result;
}

/** @throws LabError LAB_CNI */
export async function cniDel(host: CniHost, attachment: Attachment, podNetnsName: string): Promise<void> {
  await invoke('DEL', host, attachment, podNetnsName);
  await removeCacheRecord(host.resultsDir, attachment);
}

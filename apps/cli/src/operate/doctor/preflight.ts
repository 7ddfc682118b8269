/**
 * `bailiff doctor --preflight`: what a collector needs of this node beside its kernel. The chart
 * runs it on each node, with the mounts and rights of the collector.
 */
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { EXIT } from '@bailiff/service';
import { primaryOf } from '@bailiff/vocabulary';
import { type Finding, fail, ok, warn } from './finding.ts';

/** Where the collector will look. */
export interface NodePaths {
  cgroupRoot: string;
  stateDir: string;
  /** Only with the CNI plugin. */
  cniConfDir?: string | undefined;
  cniBinDir?: string | undefined;
}

/** Why a directory cannot be written, as an errno name; null if it can. */
export type Refusal = string | null;

export function stateFinding(dir: string, refusal: Refusal): Finding {
  if (refusal === null) return ok('state', `${dir} is writable`);
  const remedy = 'the directory needs a writable file system on the node, such as /var';
  return fail('state', `${dir} is not writable: ${refusal}`, remedy, EXIT.badConfiguration);
}

/** Names under which kubelets create the cgroups of pods: by cgroupfs and by systemd. */
const POD_CGROUPS: ReadonlySet<string> = new Set(['kubepods', 'kubepods.slice']);

export function podCgroupFinding(root: string, entries: readonly string[]): Finding {
  const found = entries.find((name) => POD_CGROUPS.has(name));
  if (found) return ok('pod cgroups', path.join(root, found));
  return warn(
    'pod cgroups',
    `no kubepods in ${root}: pods are identified by CNI records only, and there are no runtime policies`,
    'set collector.cgroupRoot (BAILIFF_COLLECTOR_CGROUP_ROOT) to the tree of the kubelet: on kind, /host/cgroup/kubelet.slice',
  );
}

/** @param label content of /proc/self/attr/current; empty without SELinux */
export function selinuxFinding(label: string): Finding | null {
  const [, , type = ''] = label.replace(/\0/g, '').trim().split(':');
  if (type === '') return null;
  if (!/^container(_\w+)?_t$/.test(type)) return ok('SELinux', type);
  return warn(
    'SELinux',
    `confined as ${type}, which may not use pins, records and cgroups of the node`,
    'set collector.seLinuxOptions={type: spc_t}',
  );
}

export function cniConfFinding(dir: string, entries: readonly string[], refusal: Refusal): Finding {
  const primary = primaryOf(entries);
  if (refusal !== null) {
    const remedy = 'set cni.confDir to the directory that the runtime uses, or cni.enabled=false';
    return fail('CNI configuration', `${dir} is not writable: ${refusal}`, remedy, EXIT.badConfiguration);
  }
  if (primary) return ok('CNI configuration', path.join(dir, primary));
  const known = 'k3s: /var/lib/rancher/k3s/agent/etc/cni/net.d; OpenShift: /etc/kubernetes/cni/net.d';
  return fail(
    'CNI configuration',
    `no configuration in ${dir}: the runtime uses another directory, or the network plugin is not installed`,
    `set cni.confDir (${known}), or install the network plugin first`,
    EXIT.badConfiguration,
  );
}

export function cniBinFinding(dir: string, refusal: Refusal): Finding {
  if (refusal === null) return ok('CNI plugins', `${dir} is writable`);
  const remedy = 'set cni.binDir to a directory that the runtime searches and that is writable, or cni.enabled=false';
  return fail('CNI plugins', `${dir} is not writable: ${refusal}`, remedy, EXIT.badConfiguration);
}

/** A missing directory is judged by its nearest parent, where it would be created. */
function refusalOf(dir: string): Refusal {
  try {
    accessSync(dir, constants.W_OK);
    return null;
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' && dir !== path.dirname(dir) ? refusalOf(path.dirname(dir)) : code;
  }
}

/** Empty if the directory cannot be read: `refusalOf` or the rule has the reason. */
function entriesOf(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function selinuxLabel(): string {
  try {
    return readFileSync('/proc/self/attr/current', 'utf8');
  } catch {
    // Without a security module, the read fails with EINVAL.
    return '';
  }
}

export function nodeFindings({ cgroupRoot, stateDir, cniConfDir, cniBinDir }: NodePaths): Finding[] {
  const selinux = selinuxFinding(selinuxLabel());
  return [
    podCgroupFinding(cgroupRoot, entriesOf(cgroupRoot)),
    stateFinding(stateDir, refusalOf(stateDir)),
    ...(cniConfDir ? [cniConfFinding(cniConfDir, entriesOf(cniConfDir), refusalOf(cniConfDir))] : []),
    ...(cniBinDir ? [cniBinFinding(cniBinDir, refusalOf(cniBinDir))] : []),
    ...(selinux ? [selinux] : []),
  ];
}

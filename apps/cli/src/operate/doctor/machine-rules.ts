/** Evaluates a node from /proc and kernel probes. Pure. */
import type { Probe } from '@bailiff/bpf';
import { plural } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { type Finding, fail, ok, skip, warn } from './finding.ts';

/** Capability bits (capabilities(7)). CAP_SYS_ADMIN includes all but CAP_NET_ADMIN. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_PERFMON: 38, CAP_BPF: 39 } as const;

/** From /proc/<pid>/status. */
export function capabilitiesIn(status: string): Set<string> {
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const held = Object.entries(CAPABILITIES).filter(([, bit]) => (bits >> BigInt(bit)) & 1n);
  return new Set(held.map(([name]) => name));
}

/** Without any of them a collector does not start. */
const COLLECTOR_NEEDS = ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'];

export function privilegeFinding(held: ReadonlySet<string>): Finding {
  const has = (name: string) => held.has(name) || (name !== 'CAP_NET_ADMIN' && held.has('CAP_SYS_ADMIN'));
  const missing = COLLECTOR_NEEDS.filter((name) => !has(name)).join(', ');
  if (missing === '') return ok('privileges', COLLECTOR_NEEDS.join(', '));
  const remedy = `run it as root, or with ${missing} (a pod: securityContext.capabilities.add)`;
  return fail('privileges', `${missing} missing`, remedy, EXIT.missingPrivilege);
}

export interface Mount {
  path: string;
  type: string;
}

/** From /proc/self/mounts. */
export function mountsIn(text: string): Mount[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields.length >= 3)
    .map(([, path = '', type = '']) => ({ path, type }));
}

/**
 * @param attached ifindex of each attachment pinned under `dir`; an existing directory guards
 * nothing by itself
 */
export function pinFinding(dir: string, attached: readonly number[] | 'hidden'): Finding {
  if (attached === 'hidden') return skip('guarded', `${dir} is not readable`, 'run it as root');
  const interfaces = new Set(attached);
  if (interfaces.size === 0)
    return skip('guarded', `no attachment is pinned under ${dir}: no collector guards this machine`);
  return ok('guarded', `${plural(interfaces.size, 'interface')}, by pins under ${dir}; see \`collector status\``);
}

/** The mount is missing, not the kernel feature. A collector can use another mount. */
function bpffsElsewhere(mounts: readonly Mount[]): Finding {
  const [other] = mounts.filter(({ type }) => type === 'bpf');
  const mountIt = 'as root: mount -t bpf bpf /sys/fs/bpf; permanently, in /etc/fstab: bpf /sys/fs/bpf bpf defaults 0 0';
  if (other) {
    return warn(
      'bpffs',
      `not mounted at /sys/fs/bpf; start the collector with --bpf-dir, such as ${other.path}`,
      mountIt,
    );
  }
  const detail = 'not mounted at /sys/fs/bpf: the collector does not start, because it cannot pin';
  return fail('bpffs', detail, mountIt, EXIT.kernelLacksFeature);
}

export function mountFindings(mounts: readonly Mount[], cgroupRoot = CGROUP_ROOT): Finding[] {
  const bpffs = mounts.find(({ path, type }) => type === 'bpf' && path === '/sys/fs/bpf');
  return [bpffs ? ok('bpffs', bpffs.path) : bpffsElsewhere(mounts), cgroupFinding(mounts, cgroupRoot)];
}

/** Default of the collector's cgroupRoot. */
export const CGROUP_ROOT = '/sys/fs/cgroup';

/**
 * On a hybrid layout cgroup v2 is mounted elsewhere, and its pods' cgroups have no controllers:
 * only a cgroup v2 at the collector's root counts.
 */
function cgroupFinding(mounts: readonly Mount[], root: string): Finding {
  const unified = 'boot with systemd.unified_cgroup_hierarchy=1';
  const found = mounts.filter(({ type }) => type === 'cgroup2').map(({ path }) => path);
  const [other] = found;
  if (found.includes(root)) return ok('cgroup v2', root);
  const effect = 'pods are identified by CNI records only, and there are no runtime policies';
  if (other === undefined) return warn('cgroup v2', `not mounted: ${effect}`, unified);
  return warn(
    'cgroup v2',
    `mounted at ${other}, not at ${root}, where the collector looks: ${effect}`,
    `${unified}. If the kubelet uses the tree at ${other}, set BAILIFF_COLLECTOR_CGROUP_ROOT=${other} instead`,
  );
}

const isDenied = (errnoName: string | null) => errnoName === 'EPERM' || errnoName === 'EACCES';

/** Without privileges, a probe shows missing rights instead of kernel features. */
export const unprobed = (): Finding =>
  skip('kernel features', 'probing the kernel needs the privileges above', 'run it as root');

/** Kernel features, found by using them. */
export function probeFindings(probes: readonly Probe[]): Finding[] {
  const good = probes.filter(({ available }) => available).map(({ feature }) => feature);
  const findings: Finding[] = good.length > 0 ? [ok('kernel features', good.join(', '))] : [];
  for (const { feature, available, errnoName, hint } of probes) {
    if (available) continue;
    const why = errnoName ?? 'not available';
    if (feature === 'tcx') {
      findings.push(warn('tcx', `${why}: clsact is used instead`, 'use a kernel of 6.6 or later'));
    } else if (feature === 'bpf-lsm') {
      findings.push(
        warn('bpf-lsm', `${why}: runtime policies cannot be enforced here; network enforcement works`, hint ?? ''),
      );
    } else {
      const denied = isDenied(errnoName);
      const remedy = hint ?? 'use a kernel of 5.12 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF';
      findings.push(fail(feature, why, remedy, denied ? EXIT.missingPrivilege : EXIT.kernelLacksFeature));
    }
  }
  return findings;
}

/** Checks of the machine: kernel, privileges, mounts, CNI records. Reads and probes only. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import path from 'node:path';
import { linksDir, parsePinName, probeFeatures } from '@bailiff/bpf';
import { plural } from '@bailiff/response';
import { findCheckout } from '../../shared/checkout.ts';
import { type Finding, type Group, ok, skip, warn } from './finding.ts';
import {
  capabilitiesIn,
  mountFindings,
  mountsIn,
  pinFinding,
  privilegeFinding,
  probeFindings,
  unprobed,
} from './machine-rules.ts';
import { type NodePaths, nodeFindings } from './preflight.ts';

const PINS = '/sys/fs/bpf/bailiff';

const ADDON = 'BAILIFF_NATIVE';

/**
 * Runs a function that loads the addon. In a checkout, the addon is in the build directory; an
 * image sets the variable. The variable is set only for the call, so that it reaches no other code
 * or process.
 */
function withAddon<T>(use: () => T): T {
  const checkout = process.env[ADDON] ? null : findCheckout(import.meta.dirname);
  const built = checkout && path.join(checkout, 'libs/bpf/build/Release/bailiff_bpf.node');
  if (!built || !existsSync(built)) return use();
  process.env[ADDON] = built;
  try {
    return use();
  } finally {
    delete process.env[ADDON];
  }
}

function kernelFindings(): Finding[] {
  try {
    return probeFindings(withAddon(probeFeatures));
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'NATIVE_MISSING') throw error;
    return [
      skip(
        'kernel features',
        'the native addon is not installed, so the kernel cannot be probed',
        (error as Error).message,
      ),
    ];
  }
}

/** @param cniResultsDirs the runtime's folder; those of Multus may be missing */
function recordFindings(cniResultsDirs: readonly string[]): Finding[] {
  const found = cniResultsDirs
    .filter((dir) => existsSync(dir))
    .map((dir) => `${plural(readdirSync(dir).length, 'record')} in ${dir}`);
  const [runtimes = ''] = cniResultsDirs;
  const finding = existsSync(runtimes)
    ? ok('CNI results', found.join(', '))
    : warn(
        'CNI results',
        `no ${runtimes}: interfaces are matched to pods by cgroup and network namespace only`,
        'on a node, check the directory of the container runtime (--cni-results-dir); other machines have none',
      );
  return [finding, pinFinding(PINS, pinnedInterfaces())];
}

/** ifindex of each pinned attachment. */
function pinnedInterfaces(): readonly number[] | 'hidden' {
  const dir = linksDir(PINS);
  try {
    return readdirSync(dir).flatMap((name) => parsePinName(dir, name)?.ifindex ?? []);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    if (code === 'EACCES') return 'hidden';
    throw error;
  }
}

/** @param node paths of a node, for a preflight */
export function machineGroup(cniResultsDirs: readonly string[], node?: NodePaths): Group {
  const title = `${node ? `Node ${hostname()}` : 'This machine'} (Linux ${release()})`;
  if (process.platform !== 'linux') {
    return {
      title: 'This machine',
      findings: [skip('kernel', `${process.platform} is not supported`, 'run it on a node')],
    };
  }
  const privileges = privilegeFinding(capabilitiesIn(readFileSync('/proc/self/status', 'utf8')));
  const findings: Finding[] = [
    privileges,
    ...(privileges.state === 'ok' ? kernelFindings() : [unprobed()]),
    existsSync('/sys/kernel/btf/vmlinux')
      ? ok('BTF', '/sys/kernel/btf/vmlinux')
      : warn(
          'BTF',
          'the kernel has no type information: no vector checksum-offload, no runtime policies',
          'use a kernel with CONFIG_DEBUG_INFO_BTF=y',
        ),
    ...mountFindings(mountsIn(readFileSync('/proc/self/mounts', 'utf8')), node?.cgroupRoot),
    ...recordFindings(cniResultsDirs),
    ...(node ? nodeFindings(node) : []),
  ];
  return { title, findings };
}

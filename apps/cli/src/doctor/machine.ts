/** The machine under `bailiff doctor`: kernel, privileges, mounts, where CNI keeps its records. It reads and probes, and changes nothing. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { EXIT } from '@bailiff/service';
import { findCheckout } from '../lab/command.ts';
import { plural } from '../shared/text/plural.ts';
import { type Finding, fail, type Group, ok, skip, warn } from './finding.ts';
import {
  capabilitiesIn,
  mountFindings,
  mountsIn,
  pinFinding,
  privilegeFinding,
  probeFindings,
  unprobed,
} from './machine-rules.ts';

const PINS = '/sys/fs/bpf/bailiff';

const ADDON = 'BAILIFF_NATIVE';

/**
 * Calls it where the addon, loaded at its first use, is found: in a checkout the bundle finds it where it is built; an image sets the
 * variable. What else runs in this process, or is started by it, is told nothing.
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

async function kernelFindings(): Promise<Finding[]> {
  const { probeFeatures } = await import('@bailiff/bpf');
  try {
    return probeFindings(withAddon(probeFeatures));
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'NATIVE_MISSING') throw error;
    return [skip('kernel features', 'the native addon is not here, so nothing can be tried', (error as Error).message)];
  }
}

async function recordFindings(cniResultsDir: string): Promise<Finding[]> {
  const found = existsSync(cniResultsDir)
    ? ok('CNI results', `${plural(readdirSync(cniResultsDir).length, 'record')} in ${cniResultsDir}`)
    : warn(
        'CNI results',
        `no ${cniResultsDir}: interfaces are matched to pods by cgroup and network namespace only`,
        'on a node: is it where the runtime keeps them (--cni-results-dir)? Elsewhere there is none',
      );
  return [found, pinFinding(PINS, await pinnedInterfaces())];
}

/** ifindex of each attachment that is pinned. */
async function pinnedInterfaces(): Promise<readonly number[] | 'hidden'> {
  const { linksDir, parsePinName } = await import('@bailiff/bpf');
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

export async function machineGroup(cniResultsDir: string): Promise<Group> {
  const title = `This machine (Linux ${release()})`;
  if (process.platform !== 'linux') {
    return { title: 'This machine', findings: [skip('kernel', `${process.platform} is no node`, 'run it on a node')] };
  }
  const privileges = privilegeFinding(capabilitiesIn(readFileSync('/proc/self/status', 'utf8')));
  const findings: Finding[] = [
    privileges,
    ...(privileges.state === 'ok' ? await kernelFindings() : [unprobed()]),
    existsSync('/sys/kernel/btf/vmlinux')
      ? ok('BTF', '/sys/kernel/btf/vmlinux')
      : fail(
          'BTF',
          'the kernel does not describe its types',
          'a kernel with CONFIG_DEBUG_INFO_BTF=y',
          EXIT.kernelLacksFeature,
        ),
    ...mountFindings(mountsIn(readFileSync('/proc/self/mounts', 'utf8'))),
    ...(await recordFindings(cniResultsDir)),
  ];
  return { title, findings };
}

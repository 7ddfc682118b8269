/**
 * `collector detach --all` removes every link, program and map, and leaves a marker that keeps
 * collectors from attaching them again. `collector attach` removes the marker. Neither needs the
 * bus, a configuration or a running collector.
 *
 * A directory without pins is an error and gets no marker: a wrong directory must not look like a
 * detached node.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { type DetachReport, detachAll, detachRuntime, isBpffs } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { readBootId } from '../process/boot.ts';
import { DEFAULT_BPF_DIR, DEFAULT_STATE_DIR, fail, readFlags } from './command-line.ts';
import { DetachMarker, MARKER } from './detach-marker.ts';
import { isPrivilege, pinProblem } from './pin-problem.ts';

/**
 * Whether the directory contains pins. Throws errors of the file system: a missing privilege is not
 * "no pins".
 */
export function hasPins(bpfDir: string): boolean {
  const list = (dir: string): string[] => {
    try {
      return readdirSync(dir);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  };
  list(bpfDir);
  return ['links', 'programs', 'maps', 'runtime/links', 'runtime/maps'].some(
    (name) => list(path.join(bpfDir, name)).length > 0,
  );
}

/**
 * `collector detach --all [--bpf-dir D] [--state-dir D]`: the node is unguarded until `collector
 * attach`. Exit codes: 0; 1: something could not be removed; 4: missing privilege; 6: not a bpffs;
 * 7: no pins in the directory.
 */
export function detachCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector detach --all [--bpf-dir DIR] [--state-dir DIR]',
    about:
      'Detaches every program of this node and removes all pins. A collector attaches nothing until `collector attach`.',
    flags: { all: { type: 'boolean' }, 'bpf-dir': { type: 'string' }, 'state-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  const { values } = read;
  if (!values.all)
    return fail(EXIT.badFlags, 'detach removes every link, program and map of this node: confirm with --all');
  const bpfDir = values['bpf-dir'] ?? DEFAULT_BPF_DIR;
  try {
    return detach(bpfDir, values['state-dir'] ?? DEFAULT_STATE_DIR);
  } catch (error) {
    const problem = pinProblem(error, bpfDir);
    if (!problem) throw error;
    return fail(problem.exit, problem.message);
  }
}

function detach(bpfDir: string, stateDir: string): number {
  const marker = new DetachMarker(stateDir, bpfDir);
  if (!hasPins(bpfDir)) {
    const already = marker.reason();
    if (already !== '') {
      process.stdout.write(`nothing is pinned under ${bpfDir}: ${already}\n`);
      return EXIT.ok;
    }
    const message = `nothing was removed: nothing is pinned under ${bpfDir}. Does the collector use another --bpf-dir?`;
    return fail(EXIT.dependencyUnreachable, message);
  }
  if (!isBpffs(bpfDir))
    return fail(EXIT.badConfiguration, `nothing was removed: ${bpfDir} is not on a bpffs (--bpf-dir)`);
  // The marker comes first, so that a running collector does not attach programs again.
  const unmarked = marker.leave();
  const denied = unmarked.find(({ error }) => isPrivilege(error));
  if (denied) throw denied.error;
  for (const { place, error } of unmarked) fail(EXIT.ok, `no marker at ${place}: ${error.message}`);
  if (unmarked.length > 1) fail(EXIT.ok, 'without a marker, a running collector will attach again');
  else if (!existsSync(path.join(stateDir, readBootId())))
    fail(EXIT.ok, `no collector has state in ${stateDir}: the node is detached only until it reboots (--state-dir)`);
  const runtimeLinks = detachRuntime(bpfDir);
  const { links, ...rest } = detachAll(bpfDir, [MARKER]);
  return printReport({ links: links + runtimeLinks, ...rest });
}

function printReport({ links, programs, maps, failures }: DetachReport): number {
  process.stdout.write(`removed ${links} links, ${programs} programs, ${maps} maps\n`);
  for (const { path: file, error } of failures) fail(EXIT.bug, `${file}: ${(error as Error).message}`);
  if (failures.some(({ error }) => isPrivilege(error))) return fail(EXIT.missingPrivilege, 'run this as root');
  return failures.length > 0 ? EXIT.bug : EXIT.ok;
}

/**
 * `collector attach [--bpf-dir D] [--state-dir D]`: reverts `detach --all`. A running collector
 * attaches within a second. Exit codes: 0; 4: missing privilege.
 */
export function attachCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector attach [--bpf-dir DIR] [--state-dir DIR]',
    about: 'Reverts `collector detach --all`: a collector may attach again; a running one does so within a second.',
    flags: { 'bpf-dir': { type: 'string' }, 'state-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  const bpfDir = read.values['bpf-dir'] ?? DEFAULT_BPF_DIR;
  const stateDir = read.values['state-dir'] ?? DEFAULT_STATE_DIR;
  try {
    const cleared = new DetachMarker(stateDir, bpfDir).clear();
    const places = `${stateDir} and ${bpfDir}`;
    process.stdout.write(
      cleared.length > 0 ? 'the collector may attach again\n' : `nothing is detached by ${places}\n`,
    );
    return EXIT.ok;
  } catch (error) {
    const problem = pinProblem(error, bpfDir);
    if (!problem) throw error;
    return fail(problem.exit, problem.message);
  }
}

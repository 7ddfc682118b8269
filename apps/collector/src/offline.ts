/**
 * The commands that work when nothing else does: `status` reads pins and files, `detach --all` removes every link, program and map and
 * leaves a marker that keeps a collector from putting them back, `attach` takes the marker away. None of them needs the bus, a
 * configuration or a running collector.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { boottimeNs, detachAll, openPinnedMaps, type PinnedMaps, verifyAttachments } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { BindingStore, type StoredInterface } from './binding-store.ts';
import { readBootId } from './boot.ts';
import { DetachMarker } from './detach-marker.ts';
import { pinProblem } from './pin-problem.ts';

const DEFAULT_BPF_DIR = '/sys/fs/bpf/bailiff';
const DEFAULT_STATE_DIR = '/var/lib/bailiff';

function fail(code: number, message: string): number {
  process.stderr.write(`collector: ${message}\n`);
  return code;
}

interface Row {
  ifindex: number;
  generation: number;
  interfaceName: string;
  pod: string;
  state: string;
  place: string;
  addresses: string[];
  mac: string;
  droppedPackets: number;
  auditedPackets: number;
  quarantined: boolean;
  auditOnly: boolean;
}

function rowsOf(pinned: PinnedMaps, bpfDir: string, stored: readonly StoredInterface[]): Row[] {
  const { maps } = pinned;
  const places = new Map(
    verifyAttachments(bpfDir).map((p) => [`${p.ifindex}/${p.generation}/${p.direction}`, p.place]),
  );
  const grants = maps.addresses.entries();
  const now = boottimeNs();
  return maps.ifaces.entries().map(([ifindex, record]) => {
    const file = stored.find((s) => s.ifindex === ifindex && s.generation === record.generation);
    const cells = maps.counters.read({ ifindex, generation: record.generation }) ?? [];
    const sum = (action: string) => cells.filter((c) => c.action === action).reduce((n, c) => n + Number(c.packets), 0);
    const more = grants.filter((g) => g.ifindex === ifindex && g.generation === record.generation).map((g) => g.cidr);
    return {
      ifindex,
      generation: record.generation,
      interfaceName: file?.interfaceName ?? '?',
      pod: file?.pod ? `${file.pod.namespace}/${file.pod.name}` : '-',
      state: record.state,
      place: places.get(`${ifindex}/${record.generation}/in`) ?? 'missing',
      addresses: [record.ipv4, record.ipv6, ...more].filter((a): a is string => a !== null),
      mac: record.mac ?? '',
      droppedPackets: sum('drop'),
      auditedPackets: sum('audit'),
      quarantined: record.quarantineUntilNs > now,
      auditOnly: record.auditUntilNs > now,
    };
  });
}

/** `collector status [--json] [--bpf-dir D] [--state-dir D]`. Exit 0, 4 without the right, 7 when nothing that can be read is pinned there. */
export function statusCommand(argv: string[]): number {
  let flags: { json?: boolean; 'bpf-dir'?: string; 'state-dir'?: string };
  try {
    flags = parseArgs({
      args: argv,
      options: { json: { type: 'boolean' }, 'bpf-dir': { type: 'string' }, 'state-dir': { type: 'string' } },
    }).values;
  } catch (error) {
    return fail(
      EXIT.badFlags,
      `${(error as Error).message}\nusage: collector status [--json] [--bpf-dir DIR] [--state-dir DIR]`,
    );
  }
  const bpfDir = flags['bpf-dir'] ?? DEFAULT_BPF_DIR;
  const stateDir = flags['state-dir'] ?? DEFAULT_STATE_DIR;
  try {
    return showStatus(bpfDir, stateDir, flags.json ?? false);
  } catch (error) {
    const problem = pinProblem(error, bpfDir);
    if (!problem) throw error;
    return fail(problem.exit, problem.message);
  }
}

function showStatus(bpfDir: string, stateDir: string, json: boolean): number {
  const detached = new DetachMarker(stateDir).reason();
  using pinned = openPinnedMaps(bpfDir);
  if (!pinned) {
    const why = detached || 'no collector has guarded this node since it booted, or --bpf-dir is another';
    return fail(EXIT.dependencyUnreachable, `nothing is pinned under ${bpfDir}: ${why}`);
  }
  const stored = existsSync(stateDir) ? new BindingStore(stateDir, readBootId(), { readOnly: true }).load().stored : [];
  const rows = rowsOf(pinned, bpfDir, stored);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ bpfDir, detached, interfaces: rows, pins: readdirSync(path.join(bpfDir, 'links')) }, null, 2)}\n`,
    );
    return EXIT.ok;
  }
  if (detached !== '') process.stderr.write(`collector: ${detached}\n`);
  const header = ['INTERFACE', 'POD', 'STATE', 'PLACE', 'DROPPED', 'AUDITED', 'ADDRESSES'];
  const table = rows.map((r) => [
    r.interfaceName,
    r.pod,
    `${r.state}${r.quarantined ? ',quarantined' : ''}${r.auditOnly ? ',disarmed' : ''}`,
    r.place,
    String(r.droppedPackets),
    String(r.auditedPackets),
    r.addresses.join(','),
  ]);
  const widths = header.map((h, i) => Math.max(h.length, ...table.map((row) => (row[i] as string).length)));
  for (const row of [header, ...table])
    process.stdout.write(
      `${row
        .map((c, i) => c.padEnd(widths[i] as number))
        .join('  ')
        .trimEnd()}\n`,
    );
  return EXIT.ok;
}

/**
 * `collector detach --all [--bpf-dir D] [--state-dir D]`: this node is unguarded afterwards, until `collector attach`. Exit 0; 1 when
 * something could not be removed.
 */
export function detachCommand(argv: string[]): number {
  let flags: { all?: boolean; 'bpf-dir'?: string; 'state-dir'?: string };
  try {
    flags = parseArgs({
      args: argv,
      options: { all: { type: 'boolean' }, 'bpf-dir': { type: 'string' }, 'state-dir': { type: 'string' } },
    }).values;
  } catch (error) {
    return fail(
      EXIT.badFlags,
      `${(error as Error).message}\nusage: collector detach --all [--bpf-dir DIR] [--state-dir DIR]`,
    );
  }
  if (!flags.all) return fail(EXIT.badFlags, 'detach removes every link, program and map of this node: say --all');
  const stateDir = flags['state-dir'] ?? DEFAULT_STATE_DIR;
  try {
    // First, so that a collector that runs does not put back what goes.
    new DetachMarker(stateDir).leave(new Date());
  } catch (error) {
    const reason = (error as Error).message;
    process.stderr.write(
      `collector: no marker was left, a collector that runs will attach again: ${reason} (--state-dir)\n`,
    );
  }
  const report = detachAll(flags['bpf-dir'] ?? DEFAULT_BPF_DIR);
  process.stdout.write(`removed ${report.links} links, ${report.programs} programs, ${report.maps} maps\n`);
  for (const { path: file, error } of report.failures)
    process.stderr.write(`collector: ${file}: ${(error as Error).message}\n`);
  return report.failures.length > 0 ? EXIT.bug : EXIT.ok;
}

/** `collector attach [--state-dir D]`: takes back `detach --all`. A collector that runs notices at its next status. Exit 0. */
export function attachCommand(argv: string[]): number {
  let flags: { 'state-dir'?: string };
  try {
    flags = parseArgs({ args: argv, options: { 'state-dir': { type: 'string' } } }).values;
  } catch (error) {
    return fail(EXIT.badFlags, `${(error as Error).message}\nusage: collector attach [--state-dir DIR]`);
  }
  const was = new DetachMarker(flags['state-dir'] ?? DEFAULT_STATE_DIR).clear();
  process.stdout.write(was ? 'the collector may attach again\n' : 'nothing was detached here\n');
  return EXIT.ok;
}

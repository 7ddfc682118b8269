/**
 * `collector status`: shows what the kernel guards on this node. It reads only pins and files, so
 * it works without bus, configuration and running collector.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { boottimeNs, openPinnedMaps, type PinnedMaps, verifyAttachments } from '@bailiff/bpf';
import { EXIT, escapeUnsafe } from '@bailiff/service';
import { accountsDir } from '../operations/counting/account.ts';
import { type CellName, isBeforeGuard } from '../packets/counting/cells.ts';
import { BindingStore, type StoredInterface } from '../packets/subjects/binding-store.ts';
import { readBootId } from '../process/boot.ts';
import { DEFAULT_BPF_DIR, DEFAULT_STATE_DIR, fail, readFlags } from './command-line.ts';
import { hasPins } from './detach-commands.ts';
import { DetachMarker } from './detach-marker.ts';
import { pinProblem } from './pin-problem.ts';
import { runtimeReport, runtimeTable } from './runtime-report.ts';

interface Row {
  ifindex: number;
  generation: number;
  interfaceName: string;
  pod: string;
  state: string;
  place: string;
  /** Whether frames that would skip the guard are dropped at the pod's end. */
  podEnd: boolean;
  addresses: string[];
  mac: string;
  droppedPackets: number;
  /** Packets of a known pod that broke a rule and passed in audit mode. */
  auditedPackets: number;
  /** Packets that passed before the interface was guarded and bound. */
  passedBeforeGuard: number;
  quarantined: boolean;
  /** Its pod has ended. */
  orphaned: boolean;
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
    const sum = (which: (name: CellName) => boolean) => cells.filter(which).reduce((n, c) => n + Number(c.packets), 0);
    const reported = file?.packetsBeforeGuard ?? -1;
    const more = grants.filter((g) => g.ifindex === ifindex && g.generation === record.generation).map((g) => g.cidr);
    return {
      ifindex,
      generation: record.generation,
      interfaceName: file?.interfaceName ?? '?',
      pod: file?.pod ? `${file.pod.namespace}/${file.pod.name}` : '-',
      state: record.state,
      place: places.get(`${ifindex}/${record.generation}/in`) ?? 'missing',
      podEnd: places.get(`${ifindex}/${record.generation}/pod-end`) === 'head',
      addresses: [record.ipv4, record.ipv6, ...more].filter((a): a is string => a !== null),
      mac: record.mac ?? '',
      droppedPackets: sum((cell) => cell.action === 'drop'),
      auditedPackets: sum((cell) => cell.action === 'audit' && !isBeforeGuard(cell)),
      passedBeforeGuard: reported >= 0 ? reported : sum(isBeforeGuard),
      quarantined: record.quarantineUntilNs > now,
      orphaned: record.orphaned ?? false,
      auditOnly: record.auditUntilNs > now,
    };
  });
}

/**
 * `collector status [--json] [--bpf-dir D] [--state-dir D]`. Exit codes: 0; 4: missing privilege;
 * 7: no readable pins in the directory.
 */
export function statusCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector status [--json] [--bpf-dir DIR] [--state-dir DIR]',
    about: [
      'Shows what the kernel guards on this node and what it counted, from pins and files only.',
      'DROPPED and AUDITED are violations of a pod; BEFORE GUARD are packets that passed before its guard.',
      'A terminal shows the columns that fit; a pipe and --json show all.',
    ].join('\n'),
    flags: { json: { type: 'boolean' }, 'bpf-dir': { type: 'string' }, 'state-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  const { values } = read;
  const bpfDir = values['bpf-dir'] ?? DEFAULT_BPF_DIR;
  const stateDir = values['state-dir'] ?? DEFAULT_STATE_DIR;
  try {
    return showStatus(bpfDir, stateDir, values.json ?? false);
  } catch (error) {
    const problem = pinProblem(error, bpfDir);
    if (!problem) throw error;
    return fail(problem.exit, problem.message);
  }
}

function showStatus(bpfDir: string, stateDir: string, json: boolean): number {
  const detached = new DetachMarker(stateDir, bpfDir).reason();
  using pinned = hasPins(bpfDir) ? openPinnedMaps(bpfDir) : null;
  if (!pinned) {
    const why = detached || 'no collector has guarded this node since it booted, or --bpf-dir is another';
    return fail(EXIT.dependencyUnreachable, `nothing is pinned under ${bpfDir}: ${why}`);
  }
  const stored = existsSync(stateDir) ? new BindingStore(stateDir, readBootId(), { readOnly: true }).load().stored : [];
  const rows = rowsOf(pinned, bpfDir, stored);
  const runtime = runtimeReport(bpfDir, accountsDir(stateDir, readBootId()));
  if (json) {
    process.stdout.write(
      escapeUnsafe(
        `${JSON.stringify({ bpfDir, detached, interfaces: rows, pins: readdirSync(path.join(bpfDir, 'links')), runtime }, null, 2)}\n`,
        '\n',
      ),
    );
    return EXIT.ok;
  }
  if (detached !== '') process.stderr.write(`collector: ${detached}\n`);
  const header = ['INTERFACE', 'POD', 'STATE', 'PLACE', 'DROPPED', 'AUDITED', 'BEFORE GUARD', 'ADDRESSES'];
  const table = rows.map((r) => [
    r.interfaceName,
    r.pod,
    `${r.state}${r.orphaned ? ',orphaned' : ''}${r.quarantined ? ',quarantined' : ''}${r.auditOnly ? ',disarmed' : ''}`,
    r.place,
    String(r.droppedPackets),
    String(r.auditedPackets),
    String(r.passedBeforeGuard),
    r.addresses.join(','),
  ]);
  writeTable([header, ...table]);
  if (runtime) {
    process.stdout.write('\n');
    writeTable(runtimeTable(runtime));
  }
  return EXIT.ok;
}

/** Columns that every terminal shows: interface, pod and state. */
const MIN_COLUMNS = 3;

/** A terminal omits columns from the right until the others fit. */
function writeTable(whole: readonly (readonly string[])[]): void {
  const all = (whole[0] ?? []).map((_, i) => Math.max(...whole.map((row) => (row[i] as string).length)));
  const room = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  let shown = all.length;
  while (shown > MIN_COLUMNS && all.slice(0, shown).reduce((sum, width) => sum + width + 2, -2) > room) shown -= 1;
  const [widths, rows] = [all.slice(0, shown), whole.map((row) => row.slice(0, shown))];
  for (const row of rows)
    process.stdout.write(
      `${row
        .map((c, i) => escapeUnsafe(c.padEnd(widths[i] as number)))
        .join('  ')
        .trimEnd()}\n`,
    );
}

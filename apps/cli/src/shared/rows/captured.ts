/**
 * A pod capture as text: the process tree with arguments, and the sockets. Pure. All of it comes
 * from the pod; the tables escape it.
 */

import { clockTime } from '@bailiff/insight';
import type { PodCapture } from '@bailiff/schemas';
import { plain } from '../text/paint.ts';
import { type Cell, type Column, type RenderOptions, table } from '../text/table.ts';

/** Rows per table; `--json` has all. */
const MAX_SHOWN = 24;
const INDENT = '  ';

type Process = PodCapture['processes'][number];

export const PROCESS_COLUMNS: readonly Column[] = [
  { title: 'PID', align: 'right' },
  { title: 'UID', align: 'right' },
  { title: 'STARTED (UTC)' },
  { title: 'CONTAINER' },
  { title: 'PROCESS', min: 20 },
  { title: 'EXECUTABLE', min: 10, spare: true },
];

export const SOCKET_COLUMNS: readonly Column[] = [
  { title: 'SOCKET' },
  { title: 'LOCAL', min: 12, cut: 'within' },
  { title: 'PEER', min: 8 },
  { title: 'STATE' },
  { title: 'HELD BY', min: 6 },
];

/**
 * Orders processes below their parents, siblings in the given order. Without a listed parent, a
 * process is a root.
 */
export function asTree(processes: readonly Process[]): { process: Process; depth: number }[] {
  const known = new Set(processes.map(({ pid }) => pid));
  const rows: { process: Process; depth: number }[] = [];
  const placed = new Set<number>();
  const place = (process: Process, depth: number): void => {
    if (placed.has(process.pid)) return;
    placed.add(process.pid);
    rows.push({ process, depth });
    for (const child of processes) if (child.parentPid === process.pid && child !== process) place(child, depth + 1);
  };
  for (const process of processes) if (!known.has(process.parentPid)) place(process, 0);
  // Forged parent ids may form a cycle without a root.
  for (const process of processes) place(process, 0);
  return rows;
}

function commandLine({ args, argsCut, comm }: Process): string {
  return args.length === 0 ? `[${comm}]` : args.join(' ') + (argsCut ? ' …' : '');
}

export function processCells({ process, depth }: { process: Process; depth: number }, nowMs: number): Cell[] {
  return [
    String(process.pid),
    String(process.uid),
    clockTime(process.startedAt, nowMs),
    process.container,
    `${depth === 0 ? '' : `${'  '.repeat(depth - 1)}└ `}${commandLine(process)}`,
    process.executable,
  ];
}

export const socketCells = ({ protocol, local, remote, state, pids }: PodCapture['sockets'][number]): Cell[] => [
  protocol,
  local,
  remote,
  state,
  pids.length === 0 ? '-' : pids.join(' '),
];

export function capturedLines(capture: PodCapture, { width, nowMs, paint = plain }: RenderOptions): string[] {
  const { processes, sockets, takenAt } = capture;
  const omissions = (shown: number, all: number, omitted: number) => {
    const parts = [
      ...(all > shown ? [`${all - shown} more in --json`] : []),
      ...(omitted > 0 ? [`${omitted} not recorded`] : []),
    ];
    return parts.length > 0 ? [paint(`${INDENT}${parts.join(', ')}`, 'dim')] : [];
  };
  const rows = asTree(processes).slice(0, MAX_SHOWN);
  const heading = `CAPTURED ${clockTime(takenAt, nowMs)}`;
  return [
    paint(heading, 'bold') + paint(`  arguments ${capture.arguments}`, 'dim'),
    ...table(
      PROCESS_COLUMNS,
      rows.map((row) => processCells(row, nowMs)),
      { width, paint, indent: INDENT },
    ),
    ...omissions(rows.length, processes.length, capture.processesOmitted),
    ...(sockets.length === 0 ? [] : ['']),
    ...(sockets.length === 0
      ? []
      : table(SOCKET_COLUMNS, sockets.slice(0, MAX_SHOWN).map(socketCells), { width, paint, indent: INDENT })),
    ...omissions(Math.min(sockets.length, MAX_SHOWN), sockets.length, capture.socketsOmitted),
  ];
}

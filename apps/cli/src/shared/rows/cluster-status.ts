/** The state of the cluster as text. Pure. */

import { clockTime, SHOWN_STREAMS } from '@bailiff/insight';
import {
  type ActiveDisarm,
  type Area,
  age,
  alike,
  type ClusterFacts,
  type ClusterReport,
  cniLines,
  type NodeHealth,
  type NodeReport,
  type Problem,
  plural,
  podName,
  proposed,
  quoted,
  reportedName,
  runtimeText,
  shortList,
} from '@bailiff/response';
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';
import { wrapAfter } from '../text/clean.ts';
import type { Style } from '../text/paint.ts';
import { type Cell, type Column, type TableOptions, table } from '../text/table.ts';

export interface StreamState {
  name: string;
  /** Null if the stream does not exist. */
  messages: number | null;
  bytes: number;
  newestMs: number | null;
}

export function streamsOf({ streams }: ClusterFacts): StreamState[] {
  return SHOWN_STREAMS.map((name) => {
    const info = streams.get(name);
    if (!info) return { name, messages: null, bytes: 0, newestMs: null };
    const { messages, bytes, last_ts: newest } = info.state;
    return { name, messages, bytes, newestMs: messages > 0 ? Date.parse(newest) : null };
  });
}

const STYLES: Record<NodeHealth, Style> = {
  removed: 'dim',
  ok: 'green',
  'not-enforced': 'yellow',
  disarmed: 'yellow',
  partial: 'yellow',
  refused: 'red',
  uncovered: 'red',
  unsent: 'red',
  outdated: 'red',
  silent: 'red',
  missing: 'red',
  unreadable: 'red',
};

export const NODE_COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'STATE' },
  { title: 'GUARDED', align: 'right' },
  { title: 'HOOK' },
  { title: 'MAPS', align: 'right' },
  { title: 'LOST', align: 'right' },
  { title: 'UNACKED', align: 'right' },
  { title: 'REPORTED', align: 'right' },
  { title: 'VERSION', min: 6, spare: true },
];

export function nodeCells(report: NodeReport, nowMs: number): Cell[] {
  const { node, health, status, ageMs, guarded, guardable, fullestMap, lost } = report;
  if (!status) return [node, { text: health, style: STYLES[health] }, '-', '-', '-', '-', '-', 'never', ''];
  const disarmedMs = status.disarmedUntil === null ? 0 : Date.parse(status.disarmedUntil) - nowMs;
  const state = health === 'disarmed' ? `disarmed ${age(disarmedMs)}` : health.replace('-', ' ');
  return [
    node,
    { text: state, style: STYLES[health] },
    `${guarded}/${guardable}`,
    status.hook,
    fullestMap ? `${Math.ceil(fullestMap.percent)}%` : '-',
    String(lost),
    String(status.bus.unackedFrames),
    age(ageMs ?? 0),
    reportedName(status.collectorVersion),
  ];
}

export function nodeTable(report: Pick<ClusterReport, 'nodes'>, nowMs: number, options: TableOptions): string[] {
  return table(
    NODE_COLUMNS,
    report.nodes.map((node) => nodeCells(node, nowMs)),
    options,
  );
}

/** `--json` lists all. */
const MAX_PROBLEMS_SHOWN = 24;

/** Nodes named per problem; the node table lists all. */
export const MAX_NODES_NAMED = 3;

/** Without a bus nothing else works, and one service serves all nodes. */
const AREA_ORDER: Readonly<Partial<Record<Area, number>>> = {
  streams: -1,
  nodes: 1,
  'runtime policies': 1,
  'CNI plugin': 1,
};
const orderOf = ({ severity, area }: Pick<Problem, 'severity' | 'area'>): number =>
  (severity === 'shout' ? 0 : 10) + (AREA_ORDER[area] ?? 0);

/** Equal problems as one, `shout` first, and causes before what follows from them. */
const orderedProblems = (problems: readonly Problem[]) => alike(problems).sort((a, b) => orderOf(a) - orderOf(b));

/** A node decides how many problems it reports: further ones are shown in the room that others leave. */
const MAX_OF_NODE = 4;
/** A cluster may have hundreds of scopes in audit: they hide nothing that a node reports. */
const MAX_OF_SCOPES = 8;

/** The first `most` problems in their order, with a share for each node and one for all scopes, and the number of the others. */
export function shownProblems(problems: readonly Problem[], most: number) {
  const ordered = orderedProblems(problems);
  const counts = new Map<string, number>();
  let scopes = 0;
  const isWithinShare = ({ nodes, area }: (typeof ordered)[0]): boolean => {
    if (area === 'enforcement') return ++scopes <= MAX_OF_SCOPES;
    const isWithin = nodes.some((node) => (counts.get(node) ?? 0) < MAX_OF_NODE);
    for (const node of nodes) counts.set(node, (counts.get(node) ?? 0) + 1);
    return isWithin;
  };
  const first = new Set(ordered.filter(isWithinShare));
  const further = ordered.filter((one) => !first.has(one));
  const shown = new Set([...first, ...further].slice(0, most));
  return { shown: ordered.filter((one) => shown.has(one)), left: ordered.length - shown.size };
}

/** One line per problem. A remedy is printed once, below the last problem that needs it. */
export function problemLines(problems: readonly Problem[], { width, paint = (text) => text }: TableOptions): string[] {
  const { shown, left } = shownProblems(problems, MAX_PROBLEMS_SHOWN);
  const lines = shown.flatMap(({ severity, nodes, text, remedy }, index) => {
    const sign = severity === 'shout' ? paint('✗', 'red', 'bold') : paint('!', 'yellow');
    const isLast = remedy !== '' && shown[index + 1]?.remedy !== remedy;
    return [
      ...wrapAfter(`${sign} `, `${shortList(nodes, MAX_NODES_NAMED)}: ${text}`, width, 2),
      ...(isLast ? wrapAfter('  ', `→ ${remedy}`, width, 4) : []),
    ];
  });
  return left > 0 ? [...lines, `  … and ${left} more: --json has all`] : lines;
}

export function disarmLines(
  disarms: readonly ActiveDisarm[],
  nowMs: number,
  { paint = (text) => text }: TableOptions,
): string[] {
  return disarms.map(({ scope, untilMs, by, reason }) => {
    const who = by ? ` by ${by}` : '';
    return `${paint('!', 'yellow')} ${paint(`DISARMED: ${scope}`, 'yellow', 'bold')} for ${age(untilMs - nowMs)}${who}${reason ? `: ${reason}` : ''}`;
  });
}

/** `on the bus: VIOLATIONS 3 (newest 4m ago), VERDICTS 2 …` */
export function streamLine(streams: readonly StreamState[], nowMs: number): string {
  const texts = streams.map(({ name, messages, newestMs }) => {
    if (messages === null) return `${name} is missing`;
    return newestMs === null ? `${name} 0` : `${name} ${messages} (newest ${age(nowMs - newestMs)} ago)`;
  });
  return `on the bus: ${texts.join(', ')}`;
}

/** A cluster may remove many nodes within the month for which the bus keeps a status. */
export function withoutRemoved({ nodes }: Pick<ClusterReport, 'nodes'>): Pick<ClusterReport, 'nodes'> {
  return { nodes: nodes.filter(({ health }) => health !== 'removed') };
}

export function summaryLine({ nodes: all }: Pick<ClusterReport, 'nodes'>): string {
  const { nodes } = withoutRemoved({ nodes: all });
  const removed = all.length - nodes.length;
  const sum = (of: (node: NodeReport) => number) => nodes.reduce((total, node) => total + of(node), 0);
  const reporting = nodes.filter(({ health }) => !['silent', 'missing', 'unreadable'].includes(health)).length;
  const lenient = sum(({ notEnforced }) => notEnforced);
  const unguarded = sum(({ packetsBeforeGuard }) => packetsBeforeGuard);
  const passed =
    unguarded > 0 ? `; their pods sent ${plural(unguarded, 'packet')} before their guards were attached` : '';
  const summary = `${reporting} of ${plural(nodes.length, 'node')} ${nodes.length === 1 ? 'reports' : 'report'}`;
  return `${summary}, ${sum((n) => n.guarded)} of ${plural(
    sum((n) => n.guardable),
    'interface',
  )} guarded${lenient > 0 ? `, ${lenient} of them not fully enforced` : ''}${passed}${
    removed > 0 ? `; ${plural(removed, 'removed node is', 'removed nodes are')} not shown` : ''
  }`;
}

const INTERFACE_COLUMNS: readonly Column[] = [
  { title: 'POD' },
  { title: 'INTERFACE' },
  { title: 'COVERAGE' },
  { title: 'STATE' },
  { title: 'NOTE', min: 12 },
  { title: 'ADDRESSES', min: 14, spare: true },
  { title: 'BEFORE GUARD', align: 'right', spare: true },
  { title: 'MAC', spare: true },
];
const COVERAGE: Record<string, Style> = {
  guarded: 'green',
  partial: 'yellow',
  'not-covered': 'red',
  'not-applicable': 'dim',
};

function interfaceCells(iface: InterfaceStatus, nowMs: number): Cell[] {
  const until = iface.quarantinedUntil;
  const note = [
    until ? `quarantined until ${clockTime(Date.parse(until) * 1000, nowMs)}` : '',
    quoted(iface.reason),
    iface.notCompared ? 'frames not compared' : '',
    iface.pastGuardFrames ? `receives past the guard: ${iface.pastGuardFrames}` : '',
  ];
  return [
    reportedName(podName({ namespace: iface.podNamespace, name: iface.podName })),
    reportedName(iface.interfaceName || '-'),
    { text: iface.coverage, style: COVERAGE[iface.coverage] ?? 'dim' },
    iface.coverage === 'not-applicable' ? '-' : iface.state,
    note.filter(Boolean).join('; '),
    iface.addresses.join(' '),
    String(iface.packetsBeforeGuard),
    iface.mac,
  ];
}

/** Available kernel features in one line, and each missing feature with its remedy. */
function featureLines({ features }: NodeStatus, { width, paint = (text) => text }: TableOptions): string[] {
  const has = features.filter(({ available }) => available).map(({ name }) => reportedName(name));
  const indented = (sign: string, text: string) => wrapAfter(`  ${sign} `, text, width, 4);
  const lacks = features.filter(({ available }) => !available);
  return [
    ...(has.length > 0 ? indented(paint('✓', 'green'), has.join(', ')) : []),
    ...lacks.flatMap(({ name, reason, remedy }) =>
      indented(paint('!', 'yellow'), [reportedName(name), quoted(reason), proposed(remedy)].filter(Boolean).join(': ')),
    ),
  ];
}

/** Interfaces that did not fit into the status. */
function omittedLine({ interfacesOmitted }: NodeStatus): string[] {
  const counts = Object.entries(interfacesOmitted ?? {}).filter(([, count]) => count > 0);
  if (counts.length === 0) return [];
  const texts = counts.map(([coverage, count]) => `${count} ${coverage}`).join(', ');
  return [`  omitted from its status: ${texts} (see them on the node: collector status)`];
}

/** All details of one node. */
export function nodeDetails(status: NodeStatus, nowMs: number, options: TableOptions): string[] {
  const { paint = (text) => text, width } = options;
  const within = { ...options, indent: '  ' };
  const heading = (text: string) => ['', paint(text, 'bold')];
  const isOfPod = (iface: InterfaceStatus) => iface.podName !== '' || iface.coverage !== 'not-applicable';
  const rows = status.interfaces.filter(isOfPod).map((iface) => interfaceCells(iface, nowMs));
  const others = status.interfaces
    .filter((iface) => !isOfPod(iface))
    .map(({ interfaceName }) => reportedName(interfaceName));
  const maps = status.maps.map(({ name, used, capacity }): Cell[] => [
    reportedName(name),
    String(used),
    String(capacity),
  ]);
  const { bus, losses } = status;
  return [
    ...heading('Interfaces'),
    ...table(INTERFACE_COLUMNS, rows, within),
    ...(others.length > 0 ? wrapAfter('  ', `without a pod: ${others.join(' ')}`, width, 2) : []),
    ...omittedLine(status),
    ...heading('Kernel'),
    ...featureLines(status, options),
    ...heading('Runtime policies'),
    ...wrapAfter('  ', runtimeText(status.runtime), width, 2),
    ...heading('CNI plugin'),
    ...cniLines(status).flatMap((text) => wrapAfter('  ', text, width, 2)),
    ...heading('Maps'),
    ...table(
      [{ title: 'MAP' }, { title: 'USED', align: 'right' }, { title: 'CAPACITY', align: 'right' }],
      maps,
      within,
    ),
    ...heading('Collector'),
    `  version ${reportedName(status.collectorVersion)}, up ${age(nowMs - Date.parse(status.startedAt))}, boot ${reportedName(status.bootId)}`,
    `  bus: ${plural(bus.publishedFrames, 'frame')} published, ${bus.resentFrames} resent, ${bus.unackedFrames} unacknowledged`,
    `  lost: ${plural(losses.ringFull, 'sample')}, ${plural(losses.noCounter, 'count')}, ${plural(losses.noIface, 'packet')} without an interface`,
    `  pods: snapshot revision ${status.snapshotRevision}`,
  ];
}

/** The state of the cluster as text and as JSON. Pure. */
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';
import { podName } from '../shared/selectors.ts';
import { wrap } from '../shared/text/clean.ts';
import type { Style } from '../shared/text/paint.ts';
import { named, plural } from '../shared/text/plural.ts';
import { type Cell, type Column, type TableOptions, table } from '../shared/text/table.ts';
import { age, clockTime } from '../shared/text/time.ts';
import type { StreamFill } from './fill.ts';
import type { ActiveDisarm, NodeHealth, NodeReport, Problem, StatusReport } from './report.ts';
import { runtimeText } from './runtime.ts';

export interface StreamState {
  name: string;
  /** Null: there is no such stream. */
  messages: number | null;
  bytes: number;
  newestMs: number | null;
  fill?: StreamFill;
}

const STYLES: Record<NodeHealth, Style> = {
  ok: 'green',
  disarmed: 'yellow',
  partial: 'yellow',
  refused: 'red',
  uncovered: 'red',
  silent: 'red',
  missing: 'red',
  unreadable: 'red',
};

const NODE_COLUMNS: readonly Column[] = [
  { title: 'NODE', min: 14, cut: 'within' },
  { title: 'STATE' },
  { title: 'GUARDED', align: 'right' },
  { title: 'HOOK' },
  { title: 'MAPS', align: 'right' },
  { title: 'LOST', align: 'right' },
  { title: 'UNACKED', align: 'right' },
  { title: 'HEARD', align: 'right' },
  { title: 'VERSION', min: 6, spare: true },
];

function nodeCells(report: NodeReport, nowMs: number): Cell[] {
  const { node, health, status, ageMs, guarded, guardable, fullestMap, lost } = report;
  if (!status) return [node, { text: health, style: STYLES[health] }, '-', '-', '-', '-', '-', 'never', ''];
  const disarmedMs = status.disarmedUntil === null ? 0 : Date.parse(status.disarmedUntil) - nowMs;
  const state = health === 'disarmed' ? `disarmed ${age(disarmedMs)}` : health;
  return [
    node,
    { text: state, style: STYLES[health] },
    `${guarded}/${guardable}`,
    status.hook,
    fullestMap ? `${Math.ceil(fullestMap.percent)}%` : '-',
    String(lost),
    String(status.bus.unackedFrames),
    age(ageMs ?? 0),
    status.collectorVersion,
  ];
}

export function nodeTable(report: StatusReport, nowMs: number, options: TableOptions): string[] {
  return table(
    NODE_COLUMNS,
    report.nodes.map((node) => nodeCells(node, nowMs)),
    options,
  );
}

/** Of a cluster where everything is wrong the first of it is enough; `--json` has all. */
const MAX_PROBLEMS_SHOWN = 24;

/** Of the nodes that have one problem; the table above has each. */
const MAX_NODES_NAMED = 3;

/** What several nodes have in the same words, once: a cluster without some feature is a line, not one a node. */
function alike(problems: readonly Problem[]): Problem[] {
  const groups = new Map<string, { problem: Problem; nodes: string[] }>();
  for (const problem of problems) {
    const key = JSON.stringify([problem.severity, problem.text, problem.remedy]);
    const group = groups.get(key);
    if (group) group.nodes.push(problem.node);
    else groups.set(key, { problem, nodes: [problem.node] });
  }
  return [...groups.values()].map(({ problem, nodes }) => ({ ...problem, node: named(nodes, MAX_NODES_NAMED) }));
}

/** Each problem on a line of its own, shouts first; what to do stands below the last of those that need the same. */
export function problemLines(problems: readonly Problem[], { width, paint = (text) => text }: TableOptions): string[] {
  const ordered = alike(problems).sort((a, b) => Number(b.severity === 'shout') - Number(a.severity === 'shout'));
  const shown = ordered.slice(0, MAX_PROBLEMS_SHOWN);
  const lines = shown.flatMap(({ severity, node, text, remedy }, index) => {
    const [first = '', ...more] = wrap(`${node}: ${text}`, width > 0 ? width - 2 : 0);
    const sign = severity === 'shout' ? paint('✗', 'red', 'bold') : paint('!', 'yellow');
    const told = remedy !== '' && shown[index + 1]?.remedy !== remedy;
    const [arrow = '', ...rest] = told ? wrap(`→ ${remedy}`, width > 0 ? width - 4 : 0) : [];
    return [
      `${sign} ${first}`,
      ...more.map((line) => `  ${line}`),
      ...(arrow === '' ? [] : [`  ${arrow}`]),
      ...rest.map((line) => `    ${line}`),
    ];
  });
  const left = ordered.length - shown.length;
  return left > 0 ? [...lines, `  … and ${left} more: --json has all`] : lines;
}

export function disarmLines(
  disarms: readonly ActiveDisarm[],
  nowMs: number,
  { paint = (text) => text }: TableOptions,
): string[] {
  return disarms.map(({ scope, untilMs, by, reason }) => {
    const who = by ? ` by ${by}` : '';
    return `${paint('!', 'yellow')} ${paint(`DISARMED: ${scope}`, 'yellow', 'bold')} for another ${age(untilMs - nowMs)}${who}${reason ? `: ${reason}` : ''}`;
  });
}

/** `on the bus: VIOLATIONS 3 (newest 4m ago), VERDICTS 2 …` */
export function streamLine(streams: readonly StreamState[], nowMs: number): string {
  const told = streams.map(({ name, messages, newestMs }) => {
    if (messages === null) return `${name} is missing`;
    return newestMs === null ? `${name} 0` : `${name} ${messages} (newest ${age(nowMs - newestMs)} ago)`;
  });
  return `on the bus: ${told.join(', ')}`;
}

export function summaryLine({ nodes }: StatusReport): string {
  const sum = (of: (node: NodeReport) => number) => nodes.reduce((total, node) => total + of(node), 0);
  const heard = nodes.filter(({ health }) => !['silent', 'missing', 'unreadable'].includes(health)).length;
  const before = sum(({ packetsBeforeGuard }) => packetsBeforeGuard);
  const passed =
    before > 0 ? `; their pods sent ${plural(before, 'packet')} before the guards were attached, unjudged` : '';
  const reporting = `${heard} of ${plural(nodes.length, 'node')} ${nodes.length === 1 ? 'reports' : 'report'}`;
  return `${reporting}, ${sum((n) => n.guarded)} of ${plural(
    sum((n) => n.guardable),
    'interface',
  )} guarded${passed}`;
}

const INTERFACE_COLUMNS: readonly Column[] = [
  { title: 'POD', min: 14, cut: 'within' },
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
  const note = [until ? `quarantined until ${clockTime(Date.parse(until) * 1000, nowMs)}` : '', iface.reason];
  return [
    podName({ namespace: iface.podNamespace, name: iface.podName }),
    iface.interfaceName || '-',
    { text: iface.coverage, style: COVERAGE[iface.coverage] ?? 'dim' },
    iface.coverage === 'not-applicable' ? '-' : iface.state,
    note.filter(Boolean).join('; '),
    iface.addresses.join(' '),
    String(iface.packetsBeforeGuard),
    iface.mac,
  ];
}

/** What the kernel has, in one line; what it lacks, each with what to do. */
function featureLines({ features }: NodeStatus, { width, paint = (text) => text }: TableOptions): string[] {
  const has = features.filter(({ available }) => available).map(({ name }) => name);
  const room = width > 0 ? width - 4 : 0;
  const indented = (sign: string, text: string) =>
    wrap(text, room).map((line, index) => (index === 0 ? `  ${sign} ${line}` : `    ${line}`));
  const lacks = features.filter(({ available }) => !available);
  return [
    ...(has.length > 0 ? indented(paint('✓', 'green'), has.join(', ')) : []),
    ...lacks.flatMap(({ name, reason, remedy }) =>
      indented(paint('!', 'yellow'), [name, reason, remedy].filter(Boolean).join(': ')),
    ),
  ];
}

/** What a status has no room for, which only the node itself can list. */
function omittedLine({ interfacesOmitted }: NodeStatus): string[] {
  const counts = Object.entries(interfacesOmitted ?? {}).filter(([, count]) => count > 0);
  if (counts.length === 0) return [];
  const told = counts.map(([coverage, count]) => `${count} ${coverage}`).join(', ');
  return [`  and more than its status has room for: ${told} (on the node: collector status)`];
}

/** Everything that one node says. */
export function nodeDetails(status: NodeStatus, nowMs: number, options: TableOptions): string[] {
  const { paint = (text) => text, width } = options;
  const within = { ...options, indent: '  ' };
  const heading = (text: string) => ['', paint(text, 'bold')];
  const isOfPod = (iface: InterfaceStatus) => iface.podName !== '' || iface.coverage !== 'not-applicable';
  const rows = status.interfaces.filter(isOfPod).map((iface) => interfaceCells(iface, nowMs));
  const others = status.interfaces.filter((iface) => !isOfPod(iface)).map(({ interfaceName }) => interfaceName);
  const maps = status.maps.map(({ name, used, capacity }): Cell[] => [name, String(used), String(capacity)]);
  const { bus, losses } = status;
  return [
    ...heading('Interfaces'),
    ...table(INTERFACE_COLUMNS, rows, within),
    ...(others.length > 0
      ? wrap(`no pod's: ${others.join(' ')}`, width > 0 ? width - 2 : 0).map((line) => `  ${line}`)
      : []),
    ...omittedLine(status),
    ...heading('Kernel'),
    ...featureLines(status, options),
    ...heading('Runtime policies'),
    ...wrap(runtimeText(status.runtime), width > 0 ? width - 2 : 0).map((line) => `  ${line}`),
    ...heading('Maps'),
    ...table([{ title: 'MAP' }, { title: 'USED', align: 'right' }, { title: 'ROOM', align: 'right' }], maps, within),
    ...heading('Collector'),
    `  version ${status.collectorVersion}, up ${age(nowMs - Date.parse(status.startedAt))}, boot ${status.bootId}`,
    `  bus: ${plural(bus.publishedFrames, 'frame')} published, ${bus.resentFrames} sent again, ${bus.unackedFrames} not acknowledged`,
    `  lost: ${plural(losses.ringFull, 'sample')}, ${plural(losses.noCounter, 'count')}, ${plural(losses.noIface, 'packet')} without an interface`,
    `  pods: list of revision ${status.snapshotRevision}`,
  ];
}

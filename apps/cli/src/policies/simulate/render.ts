/** The result of `policy simulate` as text and JSON. Pure, but for the output. */
import { clockTime, isoMicros, operationText, type RefusedCounts } from '@bailiff/insight';
import { plural, podName, shortList } from '@bailiff/response';
import type { FilePolicy } from '../../shared/policy/files.ts';
import { shortName } from '../../shared/policy/names.ts';
import type { Session } from '../../shared/session.ts';
import type { Cell, Column } from '../../shared/text/table.ts';
import type { PodCoverage } from './coverage.ts';
import type { Judged, Row } from './judge.ts';

export interface Simulation extends Judged {
  since: string;
  alone: boolean;
  files: readonly FilePolicy[];
  /** Policies in force that hold too. */
  beside: number;
  coverage: readonly PodCoverage[];
  /** The oldest message that was read. */
  oldestMicros: number | null;
  omitted: number;
  inexact: boolean;
  cut: boolean;
  refusals: RefusedCounts;
  /** What was not read, not decided yet, or not sent by nodes. */
  incomplete: readonly string[];
}

export const SIMULATION_COLUMNS: readonly Column[] = [
  { title: 'POD' },
  { title: 'PROGRAM', min: 12, cut: 'within' },
  { title: 'OPERATION', min: 16, cut: 'within' },
  { title: 'TIMES', align: 'right' },
  { title: 'RULE' },
  { title: 'LAST (UTC)' },
  { title: 'NODE', spare: true },
];
/** --json has all. */
const MAX_ROWS = 50;
const MAX_PODS = 8;

const sumOf = (rows: readonly Row[], field: 'passed' | 'denied') => rows.reduce((sum, row) => sum + row[field], 0);
const byTimes = (a: Row, b: Row) => b.passed - a.passed || b.lastAtMicros - a.lastAtMicros;

/** Rows by their judgement, of operations that passed when they were recorded; most operations first. Pure. */
export function split(rows: readonly Row[]): Record<Row['judgement']['outcome'], Row[]> {
  const of = (outcome: Row['judgement']['outcome']) =>
    rows.filter(({ judgement, passed }) => judgement.outcome === outcome && passed > 0).sort(byTimes);
  return { denied: of('denied'), pass: of('pass'), undecided: of('undecided') };
}

const whatOf = ({ operation, countedBy }: Row) => (operation ? operationText(operation) : `(counted by ${countedBy})`);
const ruleOf = ({ judgement }: Row) => (judgement.outcome === 'undecided' ? judgement.because : (judgement.by ?? ''));

export function simulationCells(row: Row, nowMs: number): Cell[] {
  const { pod, program, passed, lastAtMicros, nodeName } = row;
  return [
    podName(pod),
    program || '?',
    whatOf(row),
    String(passed),
    ruleOf(row),
    clockTime(lastAtMicros, nowMs),
    nodeName,
  ];
}

/** `shop/web-0: file, first 10:00, last 10:10; nothing of network`. Between the two, there may be gaps. */
function coverageText({ pod, classes }: PodCoverage, nowMs: number): string {
  const known = classes.flatMap(({ name, recorded }) =>
    recorded
      ? [`${name}, first ${clockTime(recorded.firstAtMicros, nowMs)}, last ${clockTime(recorded.lastAtMicros, nowMs)}`]
      : [],
  );
  const missing = classes.filter(({ recorded }) => recorded === null).map(({ name }) => name);
  const parts = [...known, ...(missing.length > 0 ? [`nothing of ${missing.join(', ')}`] : [])];
  return `${podName(pod)}: ${parts.join('; ')}`;
}

/** What the record lacks, one sentence each. Pure. */
function gapsOf(found: Simulation, nowMs: number): string[] {
  const {
    coverage,
    incomplete: unread,
    inexact,
    omitted,
    oldestMicros,
    otherPods,
    asSiblings,
    refusals,
    files,
  } = found;
  const incomplete = coverage.filter(({ classes }) => classes.some(({ recorded }) => recorded === null));
  const [first] = incomplete;
  const off = files.filter(({ policy }) => !policy.enabled).map((file) => shortName(file));
  return [
    ...(off.length > 0 ? [`${off.join(', ')} has \`enabled: false\` and denies nothing`] : []),
    oldestMicros === null
      ? 'the bus has no violations of this time'
      : `the oldest violation that was read is of ${clockTime(oldestMicros, nowMs)}`,
    'allowed operations are recorded only where a rule in audit or a posture in audit counts them:',
    ...(coverage.length === 0 ? ['  no listed pod is selected'] : []),
    ...coverage.slice(0, MAX_PODS).map((one) => `  ${coverageText(one, nowMs)}`),
    ...(coverage.length > MAX_PODS ? [`  … and ${coverage.length - MAX_PODS} more pods: --json has them`] : []),
    ...(first ? [`to record more: bailiff policy learn --pod ${podName(first.pod)} --for 10m --record`] : []),
    ...(asSiblings > 0
      ? [`${plural(asSiblings, 'pod')} no longer listed: judged like another pod of the same owner`]
      : []),
    ...(otherPods > 0 ? [`${plural(otherPods, 'operation')} of pods that the policies do not select`] : []),
    ...(inexact ? ['there are too many counters: some operations may be counted twice'] : []),
    ...(omitted > 0 ? [`${plural(omitted, 'operation')} beyond the limit of distinct ones: not decided`] : []),
    ...refusals.refusedLines(),
    ...unread,
  ];
}

function list({ out }: Session, rows: readonly Row[], what: string): void {
  out.rows(SIMULATION_COLUMNS, rows, simulationCells, { most: MAX_ROWS, noun: ` ${what}` });
  out.line();
}

/**
 * `Enforcing shop/web, with 2 other policies, would have denied 4 operations of 1 pod since 7d`. A record without the
 * operations that the policies decide about shows nothing. Pure.
 */
export function simulationHeadline(found: Simulation): string {
  const { denied, pass, undecided } = split(found.rows);
  const names = shortList(
    found.files.map((file) => shortName(file)),
    MAX_PODS,
  );
  const beside = found.alone ? 'alone' : `with ${plural(found.beside, 'other policy', 'other policies')}`;
  if (denied.length > 0) {
    const pods = new Set(denied.map(({ pod }) => pod.uid)).size;
    const much = `${plural(sumOf(denied, 'passed'), 'operation')} of ${plural(pods, 'pod')}`;
    return `Enforcing ${names}, ${beside}, would have denied ${much} since ${found.since}`;
  }
  const classes = found.coverage.flatMap((one) => one.classes);
  const known = classes.filter(({ recorded }) => recorded !== null).length;
  if (known + pass.length + undecided.length === 0)
    return `It is not known what enforcing ${names}, ${beside}, would have denied since ${found.since}: no allowed operation is recorded`;
  const isDecided = undecided.length === 0 && found.omitted === 0 && found.incomplete.length === 0;
  const isRecorded = known === classes.length;
  const nothing = isDecided ? `nothing${isRecorded ? '' : ' of what is recorded'}` : 'nothing of what can be decided';
  return `Enforcing ${names}, ${beside}, would have denied ${nothing} since ${found.since}`;
}

/** Pure. */
export const undecidedText = (undecided: readonly Row[]): string =>
  `${plural(sumOf(undecided, 'passed'), 'operation')} at most cannot be decided`;

/** What else is recorded, and what is not. Pure. */
export function simulationNotes(found: Simulation, nowMs: number): string[] {
  const before = sumOf(found.rows, 'denied');
  return [
    `${plural(sumOf(split(found.rows).pass, 'passed'), 'recorded operation')} would pass`,
    ...(before > 0 ? [`${plural(before, 'operation')} had been denied already`] : []),
    ...gapsOf(found, nowMs),
  ];
}

export function report(session: Session, found: Simulation): void {
  const { out, io } = session;
  const { denied, undecided } = split(found.rows);
  out.line(`${simulationHeadline(found)}${denied.length === 0 ? '.' : ':'}`);
  if (denied.length > 0) {
    out.line();
    list(session, denied, 'denied');
  }
  if (undecided.length > 0) {
    out.lines([`${undecidedText(undecided)}:`, '']);
    list(session, undecided, 'undecided');
  }
  for (const line of simulationNotes(found, io.nowMs())) out.note(line);
}

function rowJson({ pod, nodeName, container, program, operation, countedBy, judgement, passed, denied, ...seen }: Row) {
  const { firstAtMicros, lastAtMicros } = seen;
  return {
    pod,
    nodeName,
    container,
    program,
    operation: operation?.operation ?? null,
    subject: operation?.subject ?? '',
    address: operation?.address ?? '',
    port: operation?.port ?? 0,
    protocol: operation?.protocol ?? 0,
    countedBy,
    ...(judgement.outcome === 'undecided' ? { because: judgement.because } : { by: judgement.by }),
    operations: passed,
    deniedBefore: denied,
    firstAt: isoMicros(firstAtMicros),
    lastAt: isoMicros(lastAtMicros),
  };
}

export function reportJson(found: Simulation) {
  const { denied, pass, undecided } = split(found.rows);
  const { since, alone, files, oldestMicros, omitted, otherPods, asSiblings, cut, inexact, refusals, incomplete } =
    found;
  return {
    policies: files.map(({ key, file }) => ({ key, file })),
    alone,
    since,
    operations: {
      denied: sumOf(denied, 'passed'),
      pass: sumOf(pass, 'passed'),
      undecided: sumOf(undecided, 'passed'),
      deniedBefore: sumOf(found.rows, 'denied'),
    },
    denied: denied.map(rowJson),
    undecided: undecided.map(rowJson),
    record: {
      oldestAt: oldestMicros === null ? null : isoMicros(oldestMicros),
      pods: found.coverage.map(({ pod, classes }) => ({
        pod,
        classes: classes.map(({ name, recorded }) => ({
          class: name,
          allowedFrom: recorded && isoMicros(recorded.firstAtMicros),
          allowedTo: recorded && isoMicros(recorded.lastAtMicros),
        })),
      })),
      operationsOfOtherPods: otherPods,
      podsJudgedLikeSiblings: asSiblings,
      operationsOmitted: omitted,
      refused: refusals.list,
      inexact,
      cut,
      incomplete,
    },
  };
}

/**
 * A backtest report as text: range, reproduction of the published verdicts, differences, simulated
 * responses. Pure.
 *
 * Times are absolute, so that two runs give the same bytes. Tables escape names of nodes and pods.
 */
import type { Pair, TrialVerdict } from '@bailiff/correlation';
import { isoMicros, shortId } from '@bailiff/insight';
import { plural, span } from '@bailiff/response';
import { levelCell } from '../rows/verdict-cells.ts';
import { wrap, wrapAfter } from '../text/clean.ts';
import { type Paint, plain } from '../text/paint.ts';
import { type Cell, type Column, table } from '../text/table.ts';
import { type Report, subjectOf, tallyResponses } from './report.ts';
import type { SimulatedResponse } from './simulated-responses.ts';

export interface RenderOptions {
  /** 0 = no limit. */
  width: number;
  paint?: Paint;
  /** Rows per table; Infinity = all. */
  rows: number;
}

const INDENT = '  ';
/** `2026-11-24 10:00:00.123` */
const timeOf = (micros: number) => isoMicros(micros).slice(0, 23).replace('T', ' ');
const whole = (count: number) => count.toLocaleString('en-US');

const VERDICT_COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'LEVEL' },
  { title: 'ABOUT', min: 14, cut: 'within' },
  { title: 'RULE' },
  { title: 'SEEN/NEEDED', align: 'right' },
  { title: 'ID', spare: true },
  { title: 'NODE', spare: true },
];

const verdictCells = (verdict: TrialVerdict): Cell[] => [
  timeOf(verdict.triggeredAt),
  levelCell(verdict.level),
  subjectOf(verdict),
  verdict.rule,
  `${verdict.observed}/${verdict.threshold}`,
  shortId(verdict.verdictId),
  verdict.nodeName,
];

const MOVED_COLUMNS: readonly Column[] = [
  { title: 'WAS (UTC)' },
  { title: 'WOULD BE' },
  { title: 'LEVEL' },
  { title: 'ABOUT', min: 14, cut: 'within' },
  { title: 'RULE' },
  { title: 'SEEN/NEEDED', align: 'right', spare: true },
  { title: 'ID', spare: true },
];

function movedCells({ before, after }: Pair): Cell[] {
  const ms = (after.triggeredAt - before.triggeredAt) / 1000;
  const when = ms === 0 ? 'then' : ms < 0 ? `${span(-ms)} earlier` : `${span(ms)} later`;
  const level = before.level === after.level ? levelCell(after.level) : `${before.level} → ${after.level}`;
  const seen = `${after.observed}/${after.threshold}`;
  return [timeOf(before.triggeredAt), when, level, subjectOf(after), after.rule, seen, shortId(after.verdictId)];
}

const RESPONSE_COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'POD' },
  { title: 'ACTION' },
  { title: 'OUTCOME' },
  { title: 'BY POLICY', min: 8 },
  { title: 'FOR RULE', min: 8, spare: true },
  { title: 'WHY', min: 14, spare: true },
];

function outcomeCell({ outcome, code, dryRun }: Pick<SimulatedResponse, 'outcome' | 'code' | 'dryRun'>): Cell {
  if (outcome === 'act' && dryRun) return { text: 'dry run', style: 'cyan' };
  if (outcome === 'act') return { text: 'done', style: 'red' };
  return outcome === 'ask' ? { text: 'needs approval', style: 'yellow' } : { text: `refused: ${code}`, style: 'cyan' };
}

const responseCells = (response: SimulatedResponse): Cell[] => [
  timeOf(response.atMicros),
  subjectOf(response.verdict),
  response.action,
  outcomeCell(response),
  response.policy,
  response.verdict.rule,
  response.reason,
];

/** Where a report is written: a terminal, or the console. */
export interface ReportWriter {
  text(sentence: string): void;
  note(sentence: string): void;
  heading(text: string): void;
  table(columns: readonly Column[], rows: readonly Cell[][]): void;
}

class Writer implements ReportWriter {
  readonly #options: RenderOptions;
  readonly paint: Paint;
  readonly lines: string[] = [];
  constructor(options: RenderOptions) {
    this.#options = options;
    this.paint = options.paint ?? plain;
  }
  text(sentence: string): void {
    const { width } = this.#options;
    this.lines.push(...wrap(sentence, Math.max(0, width)));
  }
  note(sentence: string): void {
    this.lines.push(...wrapAfter(INDENT, sentence, this.#options.width, INDENT.length));
  }
  heading(text: string): void {
    this.lines.push('', this.paint(text, 'bold'));
  }
  table(columns: readonly Column[], rows: readonly Cell[][]): void {
    const { width, rows: most } = this.#options;
    this.lines.push(...table(columns, rows.slice(0, most), { width, paint: this.paint, indent: INDENT }));
    if (rows.length > most) this.note(`… and ${whole(rows.length - most)} more (--all)`);
  }
}

function rangeLines(writer: ReportWriter, { range, trialNames }: Report): void {
  const { frames, unreadable, firstSequence, lastSequence, firstMicros, lastMicros, violations } = range;
  if (frames === 0 && unreadable === 0) {
    writer.text('No violations in this range.');
    if (range.warmFromMicros !== null) warmNote(writer, range.warmFromMicros, range.warmUpMicros);
    return;
  }
  const where = `VIOLATIONS #${firstSequence} to #${lastSequence}, ${timeOf(firstMicros)} to ${timeOf(lastMicros)} UTC`;
  writer.text(`${where}: ${plural(frames, 'frame')}, ${whole(violations)} violation${violations === 1 ? '' : 's'}.`);
  if (trialNames) {
    const { rules, policies, modes } = trialNames;
    const names = [...rules, ...policies.map((name) => `response policy ${name}`), ...modes];
    writer.text(`Trial rules: ${names.join(', ')}; the other rules are the ones in force at each time.`);
  } else writer.text('Rules: those in force at each time.');
  if (range.configFromMicros !== null) {
    writer.note(
      `CONFIG_LOG begins at ${timeOf(range.configFromMicros)} UTC: it was made again. The configuration from before is not known. ` +
        'Earlier frames are judged by what the log had a minute later, so verdicts may differ from those of that time.',
    );
  }
  if (range.warmFromMicros !== null) warmNote(writer, range.warmFromMicros, range.warmUpMicros);
  if (range.unreadable > 0)
    writer.note(`${plural(range.unreadable, 'message')} could not be decoded. The correlator skips such messages too.`);
  if (range.ofUnlistedPods > 0) {
    writer.note(
      `${plural(range.ofUnlistedPods, 'violation')} of pods that no current snapshot lists, such as deleted pods. ` +
        'A backtest counts them by pod and node, but not by owner or namespace.',
    );
  }
}

function warmNote(writer: ReportWriter, fromMicros: number, warmUp: number): void {
  writer.note(
    `Starts at ${timeOf(fromMicros)} UTC: earlier frames lack their warm-up of ${span(warmUp / 1000)}, which the stream no longer has. ` +
      '--cold includes them.',
  );
}

function checkLines(writer: ReportWriter, { check, trialNames, capped }: Report): void {
  const { published, reproduced, exact, ownerless, unlisted, comparison } = check;
  const { moved, appeared, vanished } = comparison;
  const off = moved.length + appeared.length + vanished.length;
  writer.heading('LIVE RULES AGAINST PUBLISHED VERDICTS');
  writer.note(
    `${whole(reproduced)} of ${plural(published, 'published verdict')} reproduced, ${whole(exact)} of them byte for byte` +
      (off === 0 ? '; the live rules produce no other verdict.' : '.'),
  );
  if (ownerless > 0) {
    writer.note(`${whole(ownerless)} reproduced without the owner, because no current snapshot lists the pod.`);
  }
  if (capped.live > 0) cappedNote(writer, capped.live);
  if (off === 0) return;
  writer.note(
    `${whole(moved.length)} at another time or level, ${whole(vanished.length)} not reproduced, ${whole(appeared.length)} not published.`,
  );
  if (unlisted > 0) {
    writer.note(
      `${whole(unlisted)} of them may differ only because pods are no longer listed (see above): their rules group by owner or namespace.`,
    );
  }
  if (trialNames) {
    writer.note(
      'Below, live and trial rules are compared with each other. `bailiff backtest --live` lists the differences from the published verdicts.',
    );
    return;
  }
  if (moved.length > 0) section(writer, 'AT ANOTHER TIME OR LEVEL', MOVED_COLUMNS, moved.map(movedCells));
  if (vanished.length > 0) section(writer, 'NOT REPRODUCED', VERDICT_COLUMNS, vanished.map(verdictCells));
  if (appeared.length > 0) section(writer, 'NOT PUBLISHED', VERDICT_COLUMNS, appeared.map(verdictCells));
}

function cappedNote(writer: ReportWriter, count: number): void {
  writer.note(`The cap per minute suppressed ${plural(count, 'verdict')}.`);
}

function section(writer: ReportWriter, heading: string, columns: readonly Column[], rows: readonly Cell[][]): void {
  writer.heading(`${heading} (${whole(rows.length)})`);
  writer.table(columns, rows);
}

function verdictLines(writer: ReportWriter, { verdicts, capped }: Report): void {
  if (!verdicts) return;
  const { live, trial, comparison } = verdicts;
  const { same, moved, appeared, vanished } = comparison;
  writer.heading('VERDICTS');
  writer.note(
    `${whole(live)} under the live rules, ${whole(trial)} under the trial rules: ${whole(same.length)} the same, ` +
      `${whole(appeared.length)} appear, ${whole(vanished.length)} vanish, ${whole(moved.length)} move.`,
  );
  if (capped.trial > 0) cappedNote(writer, capped.trial);
  if (appeared.length > 0) section(writer, 'WOULD APPEAR', VERDICT_COLUMNS, appeared.map(verdictCells));
  if (vanished.length > 0) section(writer, 'WOULD VANISH', VERDICT_COLUMNS, vanished.map(verdictCells));
  if (moved.length > 0) section(writer, 'WOULD MOVE', MOVED_COLUMNS, moved.map(movedCells));
}

const PACKET_COLUMNS: readonly Column[] = [
  { title: 'VECTOR' },
  { title: 'RECORDED IN' },
  { title: 'IN THE TRIAL' },
  { title: 'PACKETS', align: 'right' },
  { title: 'PODS', align: 'right' },
  { title: 'EFFECT' },
];
const EFFECTS = { enforce: 'would be dropped', audit: 'would be counted, and pass', off: 'would pass uncounted' };

function packetLines(writer: ReportWriter, { packets, trialNames }: Report): void {
  if (!trialNames || trialNames.modes.length === 0) return;
  const { changed, inexact, hasMorePods } = packets;
  writer.heading('PACKETS UNDER THE TRIAL MODES');
  if (changed.length === 0) writer.note('No recorded packet would have another fate.');
  else {
    writer.table(
      PACKET_COLUMNS,
      changed.map(({ vector, from, to, packets: count, pods }): Cell[] => [
        vector,
        from,
        to,
        whole(count),
        whole(pods),
        EFFECTS[to],
      ]),
    );
  }
  writer.note(
    'Compared with the modes in force now. Packets of a vector that was off are not recorded. A sender whose packets are dropped may send others.',
  );
  if (inexact) writer.note('There are too many counters: some packets may be counted twice.');
  if (hasMorePods) writer.note('There are too many pods: some are not counted as pods.');
}

const TALLY_COLUMNS: readonly Column[] = [
  { title: 'ACTION' },
  { title: 'OUTCOME' },
  { title: 'TIMES', align: 'right' },
  { title: 'PODS', align: 'right' },
];

function responseLines(writer: ReportWriter, { responses, trialNames }: Report): void {
  const { list, comparison } = responses;
  writer.heading(trialNames ? 'RESPONSES UNDER THE TRIAL RULES' : 'RESPONSES');
  if (list.length === 0) writer.note('None: no response policy matches.');
  else {
    const tally = tallyResponses(list).map((row): Cell[] => [
      row.action,
      outcomeCell(row as Pick<SimulatedResponse, 'outcome' | 'code' | 'dryRun'>),
      whole(row.count),
      whole(row.pods),
    ]);
    writer.table(TALLY_COLUMNS, tally);
    if (list.some(({ dryRun }) => dryRun))
      writer.note('A dry run changes nothing. Guards and budgets are simulated as if it acted.');
    writer.note(
      'Assumptions: pods and replicas are those of the current snapshots, and all are ready; budgets start empty; nothing is disarmed.',
    );
  }
  if (!comparison) {
    if (list.length > 0) section(writer, 'RESPONSES, ONE BY ONE', RESPONSE_COLUMNS, list.map(responseCells));
    return;
  }
  const { appeared, vanished } = comparison;
  if (appeared.length > 0) section(writer, 'RESPONSES THAT APPEAR', RESPONSE_COLUMNS, appeared.map(responseCells));
  if (vanished.length > 0) section(writer, 'RESPONSES THAT VANISH', RESPONSE_COLUMNS, vanished.map(responseCells));
}

export function writeReport(report: Report, writer: ReportWriter): void {
  rangeLines(writer, report);
  if (report.range.frames === 0 && report.range.unreadable === 0) return;
  checkLines(writer, report);
  packetLines(writer, report);
  verdictLines(writer, report);
  responseLines(writer, report);
}

export function renderReport(report: Report, options: RenderOptions): string[] {
  const writer = new Writer(options);
  writeReport(report, writer);
  return writer.lines;
}

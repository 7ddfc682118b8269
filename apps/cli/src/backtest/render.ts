/**
 * A backtest's report as text for a person: what was judged, how far to trust it, what would differ, who would have been answered. Pure.
 *
 * Times are those of the stream in full, not "today": two runs give the same bytes whenever they are made. Names come from nodes and pods; tables clean them.
 */
import type { Pair, TrialVerdict } from '@bailiff/correlation';
import { levelCell, shortId } from '../shared/rows/verdict-rows.ts';
import { wrap } from '../shared/text/clean.ts';
import { type Paint, plain } from '../shared/text/paint.ts';
import { plural } from '../shared/text/plural.ts';
import { type Cell, type Column, table } from '../shared/text/table.ts';
import { isoMicros, span } from '../shared/text/time.ts';
import { type Report, tallyAnswers, whomOf } from './report.ts';
import type { Answer } from './simulated-responses.ts';

export interface RenderOptions {
  /** 0 = no limit. */
  width: number;
  paint?: Paint;
  /** Rows of each table; Infinity = all. */
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
  { title: 'RULE', min: 10 },
  { title: 'SEEN/NEEDED', align: 'right' },
  { title: 'ID', spare: true },
  { title: 'NODE', min: 8, spare: true },
];

const verdictCells = (verdict: TrialVerdict): Cell[] => [
  timeOf(verdict.triggeredAt),
  levelCell(verdict.level),
  whomOf(verdict),
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
  { title: 'RULE', min: 10 },
  { title: 'SEEN/NEEDED', align: 'right', spare: true },
  { title: 'ID', spare: true },
];

function movedCells({ before, after }: Pair): Cell[] {
  const ms = (after.triggeredAt - before.triggeredAt) / 1000;
  const when = ms === 0 ? 'then' : ms < 0 ? `${span(-ms)} earlier` : `${span(ms)} later`;
  const level = before.level === after.level ? levelCell(after.level) : `${before.level} → ${after.level}`;
  const seen = `${after.observed}/${after.threshold}`;
  return [timeOf(before.triggeredAt), when, level, whomOf(after), after.rule, seen, shortId(after.verdictId)];
}

const ANSWER_COLUMNS: readonly Column[] = [
  { title: 'TIME (UTC)' },
  { title: 'WHOM', min: 14, cut: 'within' },
  { title: 'ACTION' },
  { title: 'OUTCOME' },
  { title: 'BY POLICY', min: 8 },
  { title: 'FOR RULE', min: 8, spare: true },
  { title: 'WHY', min: 14, spare: true },
];

function outcomeCell({ outcome, code }: Pick<Answer, 'outcome' | 'code'>): Cell {
  if (outcome === 'act') return { text: 'done', style: 'red' };
  return outcome === 'ask' ? { text: 'asks a person', style: 'yellow' } : { text: `refused: ${code}`, style: 'cyan' };
}

const answerCells = (answer: Answer): Cell[] => [
  timeOf(answer.atMicros),
  whomOf(answer.verdict),
  answer.action,
  outcomeCell(answer),
  answer.policy,
  answer.verdict.rule,
  answer.reason,
];

class Writer {
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
    const { width } = this.#options;
    this.lines.push(...wrap(sentence, width > 0 ? width - INDENT.length : 0).map((line) => INDENT + line));
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

function stretchLines(writer: Writer, { stretch, onTrial }: Report): void {
  const { frames, firstSequence, lastSequence, firstMicros, lastMicros, violations } = stretch;
  if (frames === 0) {
    writer.text('No violations in that stretch: nothing to judge.');
    if (stretch.warmFromMicros !== null) warmNote(writer, stretch.warmFromMicros, stretch.warmUpMicros);
    return;
  }
  const where = `VIOLATIONS #${firstSequence} to #${lastSequence}, ${timeOf(firstMicros)} to ${timeOf(lastMicros)} UTC`;
  writer.text(`${where}: ${plural(frames, 'frame')}, ${whole(violations)} violation${violations === 1 ? '' : 's'}.`);
  if (onTrial) {
    const names = [...onTrial.rules, ...onTrial.policies.map((name) => `response policy ${name}`)];
    writer.text(`On trial: ${names.join(', ')}; everything else as it was at each moment.`);
  } else writer.text('Rules: as they were live at each moment.');
  if (stretch.warmFromMicros !== null) warmNote(writer, stretch.warmFromMicros, stretch.warmUpMicros);
  if (stretch.unreadable > 0) writer.note(`${plural(stretch.unreadable, 'message')} could not be read, as then.`);
  if (stretch.unvouched > 0) {
    writer.note(
      `${plural(stretch.unvouched, 'violation')} of pods that are not listed any more, as when they were deleted since: here they count for pod ` +
        'and node alone, and a rule by owner or namespace, which saw them live, does not see them.',
    );
  }
}

function warmNote(writer: Writer, fromMicros: number, warmUp: number): void {
  const why = `what is said of a frame hangs on the ${span(warmUp / 1000)} before it, and the stream no longer has more`;
  writer.note(`Judged from ${timeOf(fromMicros)} on only: ${why} (--cold judges all the same).`);
}

function checkLines(writer: Writer, { check, onTrial, capped }: Report): void {
  const { issued, reproduced, exact, ownerless, unlisted, comparison } = check;
  const { moved, appeared, vanished } = comparison;
  const off = moved.length + appeared.length + vanished.length;
  writer.heading('LIVE RULES AGAINST WHAT WAS ISSUED');
  writer.note(
    `${whole(reproduced)} of ${plural(issued, 'issued verdict')} said again, ${whole(exact)} of them to the last byte` +
      (off === 0 ? '; no others.' : '.'),
  );
  if (ownerless > 0) {
    writer.note(
      `${whole(ownerless)} without the owner, because the pod is not listed any more and its owner cannot be looked up.`,
    );
  }
  if (capped.live > 0) writer.note(`${plural(capped.live, 'crossing')} held back by the cap of verdicts a minute.`);
  if (off === 0) return;
  writer.note(
    `${whole(moved.length)} at another time or level, ${whole(vanished.length)} not said, ${whole(appeared.length)} said and not issued.`,
  );
  if (unlisted > 0) {
    writer.note(
      `${whole(unlisted)} of them ${unlisted === 1 ? 'is of a rule' : 'are of rules'} by owner or namespace, and pods that they were about may not be ` +
        'listed any more (see above): that is no sign that the live rules judged otherwise.',
    );
  }
  if (onTrial) {
    writer.note('What follows compares two folds; see `bailiff backtest --live` for the difference.');
    return;
  }
  if (moved.length > 0) section(writer, 'SAID AT ANOTHER TIME OR LEVEL', MOVED_COLUMNS, moved.map(movedCells));
  if (vanished.length > 0) section(writer, 'ISSUED AND NOT SAID', VERDICT_COLUMNS, vanished.map(verdictCells));
  if (appeared.length > 0) section(writer, 'SAID AND NOT ISSUED', VERDICT_COLUMNS, appeared.map(verdictCells));
}

function section(writer: Writer, heading: string, columns: readonly Column[], rows: readonly Cell[][]): void {
  writer.heading(`${heading} (${whole(rows.length)})`);
  writer.table(columns, rows);
}

function verdictLines(writer: Writer, { verdicts, capped }: Report): void {
  if (!verdicts) return;
  const { live, trial, comparison } = verdicts;
  const { same, moved, appeared, vanished } = comparison;
  writer.heading('VERDICTS');
  writer.note(
    `${whole(live)} under the live rules, ${whole(trial)} under those on trial: ${whole(same.length)} the same, ` +
      `${whole(appeared.length)} appear, ${whole(vanished.length)} vanish, ${whole(moved.length)} move.`,
  );
  if (capped.trial > 0) writer.note(`${plural(capped.trial, 'crossing')} held back by the cap of verdicts a minute.`);
  if (appeared.length > 0) section(writer, 'WOULD APPEAR', VERDICT_COLUMNS, appeared.map(verdictCells));
  if (vanished.length > 0) section(writer, 'WOULD VANISH', VERDICT_COLUMNS, vanished.map(verdictCells));
  if (moved.length > 0) section(writer, 'WOULD MOVE', MOVED_COLUMNS, moved.map(movedCells));
}

const TALLY_COLUMNS: readonly Column[] = [
  { title: 'ACTION' },
  { title: 'OUTCOME' },
  { title: 'TIMES', align: 'right' },
  { title: 'PODS', align: 'right' },
];

function answerLines(writer: Writer, { answers, onTrial }: Report): void {
  const { list, comparison } = answers;
  writer.heading(onTrial ? 'ANSWERS UNDER THE RULES ON TRIAL' : 'ANSWERS');
  if (list.length === 0) writer.note('None: no response policy asks for one.');
  else {
    const tally = tallyAnswers(list).map((row): Cell[] => [
      row.action,
      outcomeCell(row as Pick<Answer, 'outcome' | 'code'>),
      whole(row.count),
      whole(row.pods),
    ]);
    writer.table(TALLY_COLUMNS, tally);
    if (list.some(({ dryRun }) => dryRun)) writer.note('Policies that were a dry run are taken as if they were not.');
    writer.note(
      'Assumed: pods and replica counts as listed now, all ready; budgets empty at the start; nothing disarmed.',
    );
  }
  if (!comparison) {
    if (list.length > 0) section(writer, 'ANSWERED OR REFUSED', ANSWER_COLUMNS, list.map(answerCells));
    return;
  }
  const { appeared, vanished } = comparison;
  if (appeared.length > 0) section(writer, 'ANSWERS THAT APPEAR', ANSWER_COLUMNS, appeared.map(answerCells));
  if (vanished.length > 0) section(writer, 'ANSWERS THAT VANISH', ANSWER_COLUMNS, vanished.map(answerCells));
}

export function renderReport(report: Report, options: RenderOptions): string[] {
  const writer = new Writer(options);
  stretchLines(writer, report);
  if (report.stretch.frames === 0) return writer.lines;
  checkLines(writer, report);
  verdictLines(writer, report);
  answerLines(writer, report);
  return writer.lines;
}

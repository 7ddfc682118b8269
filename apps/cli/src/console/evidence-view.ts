/**
 * Evidence of a verdict as a file, with the result of its verification: what `bailiff evidence export`
 * writes and prints. Bound: MAX_BYTES, because file and checks are in memory.
 */
import { signedConfigBy } from '@bailiff/bus';
import type { EvidenceView } from '@bailiff/console';
import { BundleWriter, type SensitiveClass, verifyBundle } from '@bailiff/evidence';
import { type Reader, shortId } from '@bailiff/insight';
import { Turns } from '@bailiff/service/turns';
import { parseIdPrefix } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import { exportRecords, planExport } from '../shared/evidence/export.ts';
import {
  aboutLines,
  conclusion,
  exitCodeOf,
  OUTCOME_STYLES,
  responseLine,
  SOME_FAILED,
} from '../shared/evidence/render.ts';
import { verdictById } from '../shared/one-of.ts';
import { rowOf, tableOf } from './tables.ts';

const MAX_BYTES = 16 * 1024 ** 2;
/** As `--redact argument,address`: a message that no schema reads may contain both. */
const REDACTED: readonly SensitiveClass[] = ['argument', 'address', 'unreadable'];
const COLUMNS = [{ title: 'CHECK' }, { title: 'RESULT' }, { title: 'DETAIL', min: 12 }];

export interface EvidenceOptions {
  id: string;
  isRedacted: boolean;
  /** Program and person. */
  exporter: string;
}

/** @throws CliError CLI_NOT_FOUND, CLI_STATE if it is too large; BusError */
export async function readEvidence(
  reader: Reader,
  { id, isRedacted, exporter }: EvidenceOptions,
): Promise<EvidenceView> {
  const row = await verdictById(reader, parseIdPrefix(id, 'verdict'));
  const { verdictId } = row.verdict;
  const plan = await planExport(reader, row, { signers: '', exporter });
  const turns = new Turns();
  const lines: string[] = [];
  let bytes = 0;
  const writer = new BundleWriter(plan.header, (line) => {
    bytes += Buffer.byteLength(line) + 1;
    if (bytes > MAX_BYTES) {
      throw new CliError('CLI_STATE', 'the evidence is larger than what a page exports', {
        remedy: `bailiff evidence export ${shortId(verdictId)}`,
      });
    }
    lines.push(line);
  });
  const drained = async () => turns.due();
  const classes = isRedacted ? REDACTED : [];
  await exportRecords(reader, row, plan, writer, { classes, log: null, drained, onFrame: () => {} });
  writer.end({ positions: plan.positions, log: null }, null);
  const report = await verifyBundle(inTurns(lines, turns), {
    key: null,
    logKeys: [],
    witnessKeys: [],
    knownHead: null,
    signed: signedConfigBy(''),
  });
  const name = `${shortId(verdictId)}.evidence`;
  const checks = report.checks.map((check) =>
    rowOf(COLUMNS, check.name, [
      check.name,
      { text: check.outcome, style: OUTCOME_STYLES[check.outcome] },
      check.detail,
    ]),
  );
  const nowMs = reader.nowMs();
  return {
    name,
    file: lines.map((line) => `${line}\n`).join(''),
    headline: conclusion(report.checks),
    tone: exitCodeOf(report.checks) === SOME_FAILED ? 'bad' : 'plain',
    about: aboutLines(report),
    sections: [
      { title: 'Checks of the file', lines: [], table: tableOf(COLUMNS, checks, checks.length) },
      {
        title: 'What the responder then did',
        lines: report.responses.map((response) => responseLine(response, nowMs)),
        table: null,
      },
      { title: 'What these checks cannot find out', lines: report.limits.map((limit) => `- ${limit}`), table: null },
    ].filter(({ lines: text, table }) => text.length > 0 || table !== null),
    command: `bailiff evidence verify ${name}`,
  };
}

async function* inTurns(lines: readonly string[], turns: Turns): AsyncGenerator<string> {
  for (const line of lines) {
    yield line;
    await turns.due();
  }
}

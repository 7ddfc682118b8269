/** `bailiff backtest`: what other rules would have made of the violations that the bus holds. */
import { DEFAULT_VERDICTS_PER_MINUTE } from '@bailiff/correlation';
import type { Command } from 'commander';
import { parseWhen, wholeNumber } from '../shared/arguments.ts';
import { readDocument } from '../shared/document.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { Progress } from '../shared/progress.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';
import { type BacktestRequest, runBacktest } from './backtest.ts';
import { reportJson } from './json.ts';
import { renderReport } from './render.ts';
import { type Report, reportOf } from './report.ts';
import { type OnTrial, parseRulesFile } from './trial-rules.ts';

interface Options {
  rules?: string;
  live?: boolean;
  only?: boolean;
  since?: string;
  until?: string;
  cold?: boolean;
  verdictsPerMinute?: string;
  all?: boolean;
  json?: boolean;
}

const DEFAULT_SINCE = '7d';
/** Rows of each table unless --all. */
const ROWS = 20;

const EXAMPLES = `
Examples:
  bailiff backtest --rules stricter.yaml --since 7d    what these rules would have made of the last seven days
  bailiff backtest --live --since 1d                   do the rules that were live give the verdicts that were issued?
  bailiff backtest --rules r.yaml --json | jq .verdicts.appeared

A file holds rules by name (a whole rule each, as \`bailiff config get\` shows it); a rule takes the place of the live one of its
name for the whole stretch, with enabled: false it is gone, and all others are as they were at each moment. Response policies
may stand beside them: {correlation: {name: …}, response: {name: …}}.
Nothing is written. Times relative to now move between two runs; say --since and --until as times to compare the same stretch.

Exit codes, beside those of every command: 0 nothing differs, 10 verdicts or answers differ,
11 the live rules do not give the verdicts that were issued (--live).
`;

async function onTrialOf(options: Options, io: CliIo): Promise<OnTrial | null> {
  if ((options.rules === undefined) === (options.live !== true)) {
    throw new CliError('CLI_USAGE', 'say which rules: --rules <file> or --live', {
      remedy:
        '--rules tries the rules of a file; --live those that were in force, against the verdicts that were issued',
    });
  }
  if (options.rules === undefined) {
    if (options.only) throw new CliError('CLI_USAGE', '--only goes with --rules');
    return null;
  }
  const where = options.rules === '-' ? 'stdin' : options.rules;
  return parseRulesFile(await readDocument(options.rules, io), where);
}

async function judge(session: Session, request: Omit<BacktestRequest, 'onProgress'>): Promise<Report> {
  const { io, decoder, out } = session;
  const progress = new Progress(io, 'frames');
  try {
    const onProgress = (frames: number, pending: number) => progress.at(frames, frames + pending);
    const result = await runBacktest(session, { ...request, onProgress });
    const { onTrial } = request;
    decoder.reportUndecodable(out);
    return reportOf(
      result,
      onTrial && { rules: Object.keys(onTrial.rules).sort(), policies: [...onTrial.policies.keys()].sort() },
    );
  } finally {
    progress.end();
  }
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('backtest')
    .description('the recorded violations judged again under other rules: verdicts and answers that would differ')
    .option('--rules <file>', 'rules on trial, YAML or JSON; - reads stdin')
    .option('--live', 'no rules on trial: do the live ones give the verdicts that were issued?')
    .option('--only', 'nothing but the rules of the file')
    .option('--since <when>', 'from when: 10m, 2h, 7d (ago), an ISO time, or "all"', DEFAULT_SINCE)
    .option('--until <when>', 'to when (default: the end)')
    .option('--cold', 'judge from the beginning of the stream, although what was before it is missing')
    .option('--verdicts-per-minute <n>', 'cap of the correlator', String(DEFAULT_VERDICTS_PER_MINUTE))
    .option('--all', `every row, not only the first ${ROWS} of each table`)
    .option('--json', 'one JSON document with everything')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const options = optionsOf<Options>(command);
    const onTrial = await onTrialOf(options, io);
    const request = {
      onTrial,
      only: options.only ?? false,
      cold: options.cold ?? false,
      sinceMicros: parseWhen(options.since ?? DEFAULT_SINCE, io.nowMs(), '--since') * 1000,
      untilMicros:
        options.until === undefined
          ? Number.POSITIVE_INFINITY
          : parseWhen(options.until, io.nowMs(), '--until') * 1000 + 999,
      verdictsPerMinute: wholeNumber(options.verdictsPerMinute ?? '', '--verdicts-per-minute', 1, 1_000_000),
    };
    io.exitCode = await withSession(io, command, async (session) => {
      const report = await judge(session, request);
      const { out } = session;
      if (options.json) out.json(reportJson(report));
      else out.lines(renderReport(report, { ...out.table, rows: options.all ? Number.POSITIVE_INFINITY : ROWS }));
      return report.exitCode;
    });
  });
}

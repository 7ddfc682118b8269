/**
 * `bailiff backtest`: verdicts and responses that other rules would have produced for the stored
 * violations.
 */
import { type Comparison, DEFAULT_VERDICTS_PER_MINUTE, type Pair, type TrialVerdict } from '@bailiff/correlation';
import { isoMicros, readBusTime } from '@bailiff/insight';
import type { Command } from 'commander';
import { parseRange, wholeNumber } from '../shared/arguments.ts';
import { type BacktestRequest, runBacktest } from '../shared/backtest/backtest.ts';
import { renderReport } from '../shared/backtest/render.ts';
import { type Report, reportOf, tallyResponses } from '../shared/backtest/report.ts';
import type { SimulatedResponse } from '../shared/backtest/simulated-responses.ts';
import { namesOf, parseRulesFile, type TrialRules } from '../shared/backtest/trial-rules.ts';
import { CliError } from '../shared/errors.ts';
import { readDocument } from '../shared/files.ts';
import type { CliIo } from '../shared/io.ts';
import { SIGNERS_HELP } from '../shared/key-file.ts';
import { Progress } from '../shared/progress.ts';
import { onBus, type Session } from '../shared/session.ts';

interface Options {
  rules?: string;
  live?: boolean;
  only?: boolean;
  since?: string;
  until?: string;
  cold?: boolean;
  verdictsPerMinute?: string;
  configSigners?: string;
  all?: boolean;
  json?: boolean;
}

const DEFAULT_SINCE = '7d';
/** Rows per table without --all. */
const ROWS = 20;

const EXAMPLES = `
Examples:
  bailiff backtest --rules stricter.yaml --since 7d    verdicts of these rules for the last seven days
  bailiff backtest --live --since 1d                   check that the live rules reproduce the published verdicts
  bailiff backtest --rules r.yaml --json | jq .verdicts.appeared

The file contains complete rules by name, as \`bailiff config get\` prints them. A trial rule replaces the live rule of the
same name for the whole range, or disables it with enabled: false. All other rules are as they were at each time.
Response policies can be included: {correlation: {name: …}, response: {name: …}}, and modes of packets by their key:
{spoof.cluster._.default: {modes: {tunnel-other: enforce}}}.
Nothing is written. Relative times change between two runs: pass absolute times to compare the same range.

Additional exit codes: 0 no difference, 10 verdicts, responses or packets differ,
11 the live rules do not reproduce the published verdicts (--live).
`;

async function readTrialRules(options: Options, io: CliIo): Promise<TrialRules | null> {
  if ((options.rules === undefined) === (options.live !== true)) {
    throw new CliError('CLI_USAGE', 'pass either --rules <file> or --live', {
      remedy: '--rules tries the rules of a file; --live compares the live rules with the published verdicts',
    });
  }
  if (options.rules === undefined) {
    if (options.only) throw new CliError('CLI_USAGE', '--only needs --rules');
    return null;
  }
  const where = options.rules === '-' ? 'stdin' : options.rules;
  return parseRulesFile(await readDocument(options.rules, io), where);
}

async function run(session: Session, request: Omit<BacktestRequest, 'onProgress'>): Promise<Report> {
  const { io, decoder, out } = session;
  const progress = new Progress(io, 'frames');
  try {
    const onProgress = (frames: number, pending: number) => progress.at(frames, frames + pending);
    const result = await runBacktest(session, { ...request, onProgress });
    const { trialRules } = request;
    decoder.reportUndecodable(out);
    return reportOf(result, trialRules && namesOf(trialRules));
  } finally {
    progress.end();
  }
}

function verdictJson(verdict: TrialVerdict): Record<string, unknown> {
  const { digest: _digest, triggeredAt, ...rest } = verdict as TrialVerdict & { digest?: string };
  return { triggeredAt: isoMicros(triggeredAt), ...rest };
}

function pairJson({ before, after }: Pair): Record<string, unknown> {
  return {
    before: verdictJson(before),
    after: verdictJson(after),
    laterByMicros: after.triggeredAt - before.triggeredAt,
  };
}

function comparisonJson({ same, moved, appeared, vanished }: Comparison): Record<string, unknown> {
  return {
    same: same.length,
    moved: moved.map(pairJson),
    appeared: appeared.map(verdictJson),
    vanished: vanished.map(verdictJson),
  };
}

function responseJson({ verdict, atMicros, ...response }: SimulatedResponse): Record<string, unknown> {
  const { verdictId, rule, level, pod, nodeName } = verdict;
  return { at: isoMicros(atMicros), ...response, verdictId, rule, level, pod, nodeName };
}

/** Keys are public: they keep their names when the fields of the report change. */
export function reportJson(report: Report) {
  const { check, verdicts, capped, exitCode } = report;
  const { firstMicros, lastMicros, warmFromMicros, configFromMicros, ofUnlistedPods, ...counts } = report.range;
  const { list, comparison } = report.responses;
  return {
    stretch: {
      ...counts,
      unvouched: ofUnlistedPods,
      first: counts.firstSequence === 0 ? null : isoMicros(firstMicros),
      last: counts.firstSequence === 0 ? null : isoMicros(lastMicros),
      warmFrom: warmFromMicros === null ? null : isoMicros(warmFromMicros),
      configFrom: configFromMicros === null ? null : isoMicros(configFromMicros),
    },
    onTrial: report.trialNames,
    check: {
      issued: check.published,
      reproduced: check.reproduced,
      exact: check.exact,
      ...comparisonJson(check.comparison),
    },
    packets: report.packets.changed,
    verdicts: verdicts && { live: verdicts.live, trial: verdicts.trial, ...comparisonJson(verdicts.comparison) },
    answers: {
      tally: tallyResponses(list),
      list: list.map(responseJson),
      ...(comparison
        ? {
            both: comparison.both,
            appeared: comparison.appeared.map(responseJson),
            vanished: comparison.vanished.map(responseJson),
          }
        : {}),
    },
    capped,
    exitCode,
  };
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('backtest')
    .description('evaluate stored violations under other rules: verdicts and responses that would differ')
    .option('--rules <file>', 'trial rules, YAML or JSON; - for stdin')
    .option('--live', 'no trial rules: compare the live rules with the published verdicts')
    .option('--only', 'only the rules of the file, without the live ones')
    .option('--since <when>', 'start: 10m, 2h, 7d (ago), an ISO time, or "all"', DEFAULT_SINCE)
    .option('--until <when>', 'end (default: the end of the stream)')
    .option('--cold', 'start at the first message even without a warm-up')
    .option('--verdicts-per-minute <n>', 'verdict cap of the correlator', String(DEFAULT_VERDICTS_PER_MINUTE))
    .option('--config-signers <file>', SIGNERS_HELP)
    .option('--all', `all rows instead of the first ${ROWS} of each table`)
    .option('--json', 'one JSON document with everything')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, async (options: Options) => {
    const trialRules = await readTrialRules(options, io);
    const rangeAt = parseRange(options.since ?? DEFAULT_SINCE, options.until);
    const request = {
      trialRules,
      only: options.only ?? false,
      cold: options.cold ?? false,
      ...(options.configSigners === undefined ? {} : { configSigners: options.configSigners }),
      verdictsPerMinute: wholeNumber(options.verdictsPerMinute ?? '', '--verdicts-per-minute', 1, 1_000_000),
    };
    return async (session) => {
      const report = await run(session, { ...request, ...rangeAt(await readBusTime(session)) });
      const { out } = session;
      if (options.json) out.json(reportJson(report));
      else out.lines(renderReport(report, { ...out.table, rows: options.all ? Number.POSITIVE_INFINITY : ROWS }));
      return report.exitCode;
    };
  });
}

/** `bailiff timeline`: the events of a pod, or those around a verdict, in time order. */

import { writeFile } from 'node:fs/promises';
import { isoMicros, readBusTime, readTimeline, type TimelineRequest } from '@bailiff/insight';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../../shared/arguments.ts';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { isVerdictId, verdictById } from '../../shared/one-verdict.ts';
import { timelineHtml } from '../../shared/rows/timeline-html.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { renderTimeline } from './render.ts';

interface Options {
  namespace?: string;
  since?: string;
  until?: string;
  html?: string;
  json?: boolean;
}

const DEFAULT_SINCE = '1d';
/** Range around a verdict. */
const BEFORE_VERDICT_MS = 10 * 60_000;
const AFTER_VERDICT_MS = 60 * 60_000;

const EXAMPLES = `
Examples:
  bailiff timeline shop/web-0                         one day of a pod
  bailiff timeline 5f1d3c7a9b                         from ten minutes before a verdict to an hour after it
  bailiff timeline shop/web-0 --html web-0.html       one self-contained file for any browser

Lanes: lifecycle of the pod, configuration changes that can affect it, violations, verdicts, responses.
`;

async function requestOf(session: Session, what: string, options: Options): Promise<TimelineRequest> {
  const nowMs = await readBusTime(session);
  const when = (text: string | undefined, flag: string, otherwise: number) =>
    text === undefined ? otherwise : parseWhen(text, flag)(nowMs);
  if (options.namespace !== undefined || !isVerdictId(what)) {
    const sinceMs = when(options.since ?? DEFAULT_SINCE, '--since', 0);
    const pod = parsePod(what, 'pod', options.namespace);
    return { pod, sinceMs, untilMs: when(options.until, '--until', Number.POSITIVE_INFINITY), verdict: null };
  }
  const verdict = await verdictById(session, what);
  const { pod, windowStartAt, triggeredAt } = verdict.verdict;
  return {
    pod: pod && { text: `${pod.namespace}/${pod.name}`, namespace: pod.namespace, name: pod.name, uid: pod.uid },
    sinceMs: when(options.since, '--since', windowStartAt / 1000 - BEFORE_VERDICT_MS),
    untilMs: when(options.until, '--until', triggeredAt / 1000 + AFTER_VERDICT_MS),
    verdict,
  };
}

async function timeline(session: Session, what: string, options: Options): Promise<number> {
  const { out, io, decoder } = session;
  const found = await readTimeline(session, await requestOf(session, what, options));
  decoder.reportUndecodable(out);
  if (found.items.every(({ lane }) => lane === 'config')) {
    throw new CliError('CLI_NOT_FOUND', `no event of "${what}" in this range`, {
      remedy: 'check the name, or extend the range with --since',
    });
  }
  if (options.json) {
    out.json({ ...found, items: found.items.map((item) => jsonOf(item)) });
  } else if (options.html !== undefined) {
    const html = timelineHtml(found, `created ${isoMicros(io.nowMs() * 1000).slice(0, 19)} UTC`);
    if (options.html === '-') io.stdout.write(html);
    else {
      await writeFile(options.html, html);
      out.note(`wrote ${options.html}`);
    }
  } else out.lines(renderTimeline(found, { ...out.table, nowMs: io.nowMs() }));
  return 0;
}

function jsonOf({ atMicros, untilMicros, ...item }: Awaited<ReturnType<typeof readTimeline>>['items'][number]) {
  return { at: isoMicros(atMicros), until: isoMicros(untilMicros), ...item };
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('timeline')
    .description('lifecycle, configuration, violations, verdicts and responses of a pod, in time order')
    .argument('<pod|verdict>', 'namespace/name, name or uid of a pod; or a verdict id or its first characters')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--since <when>', `start: 10m, 2h, 7d (ago), an ISO time, or "all" (default for a pod: ${DEFAULT_SINCE})`)
    .option('--until <when>', 'end')
    .option('--html <file>', 'write one self-contained HTML file; - for stdout')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (options: Options, what: string) => {
    if (!isVerdictId(what) || options.namespace !== undefined) parsePod(what, 'pod', options.namespace);
    parseWhen(options.since ?? DEFAULT_SINCE, '--since');
    parseWhen(options.until ?? 'all', '--until');
    return (session) => timeline(session, what, options);
  });
}

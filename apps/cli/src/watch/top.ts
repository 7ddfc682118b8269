/** `bailiff top`: the pods, nodes or rules with the most violations or verdicts in a period. */
import { filters, readNewest } from '@bailiff/bus';
import { CounterHulls } from '@bailiff/correlation';
import { eventRows, isUndecided, NodeFrames, RefusedCounts, readBusTime } from '@bailiff/insight';
import { age, podName } from '@bailiff/response';
import type { Command } from 'commander';
import { oneOf, parseName, parseWhen, type When, wholeNumber } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import { onBus, type Session } from '../shared/session.ts';
import type { Column } from '../shared/text/table.ts';
import { missingReasons } from '../shared/unsent.ts';

const WHAT = ['pods', 'nodes', 'rules'] as const;
type What = (typeof WHAT)[number];

const HELP = `
Examples:
  bailiff top pods                   packets and operations that were denied or audited, by pod
  bailiff top nodes --since 1d
  bailiff top rules                  verdicts, by correlation rule

Refused claims of nodes do not count.
`;

/** Limit of names; additions under other names count as omitted. */
const MOST_NAMES = 20_000;

interface Ranked {
  name: string;
  count: number;
  newestMicros: number;
}

/** Counts by name, with a limit of names. */
export class Ranking {
  readonly #counts = new Map<string, Ranked>();
  readonly most: number;
  omitted = 0;

  constructor(most = MOST_NAMES) {
    this.most = most;
  }

  add(name: string, count: number, atMicros: number): void {
    const found = this.#counts.get(name);
    if (!found && this.#counts.size >= this.most) {
      this.omitted += 1;
      return;
    }
    const newestMicros = Math.max(found?.newestMicros ?? 0, atMicros);
    this.#counts.set(name, { name, count: (found?.count ?? 0) + count, newestMicros });
  }

  /** Highest counts first; equal counts by name. */
  top(limit: number): Ranked[] {
    return [...this.#counts.values()]
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, limit);
  }
}

interface Request {
  what: What;
  namespace: string | null;
  from: When;
  limit: number;
  json: boolean;
}

const MOST = 1_000;
/** Violations of interfaces whose pod is unknown. */
const NO_POD = '(no pod)';

interface Range {
  request: Request;
  sinceMs: number;
}

async function violationsBy(session: Session, { request, sinceMs }: Range, ranking: Ranking): Promise<boolean> {
  const { what, namespace } = request;
  const hulls = new CounterHulls();
  const frames = new NodeFrames(session, sinceMs);
  const undecided = new RefusedCounts();
  const { cut } = await readNewest(session.bus, 'VIOLATIONS', {
    sinceMs,
    filterSubjects: [filters.violations({})],
    signal: session.signal,
    onMessage: (message) =>
      frames.read(message, (frame) => {
        for (const row of eventRows(frame, message, namespace === null ? {} : { namespace }, hulls)) {
          if (row.kind === 'gap') continue;
          if (row.refused) {
            if (isUndecided(row.refused)) undecided.add(row.nodeName, row.refused, row.violation);
            continue;
          }
          const { pod, lastSeenAt } = row.violation;
          ranking.add(what === 'nodes' ? row.nodeName : pod ? podName(pod) : NO_POD, row.packets, lastSeenAt);
        }
        return undefined;
      }),
  });
  for (const line of undecided.lines()) session.out.note(line);
  return cut;
}

async function verdictsBy(session: Session, { request, sinceMs }: Range, ranking: Ranking): Promise<boolean> {
  const { bus, decoder, signal } = session;
  const { namespace } = request;
  const { cut } = await readNewest(bus, 'VERDICTS', {
    sinceMs,
    filterSubjects: [filters.verdicts(namespace === null ? {} : { namespace })],
    signal,
    onMessage: (message) =>
      decoder.read(message, 'Verdict', ({ rule, pod, triggeredAt }) => {
        if (namespace === null || pod?.namespace === namespace) ranking.add(rule, 1, triggeredAt);
      }),
  });
  return cut;
}

const COLUMNS: Readonly<Record<What, readonly Column[]>> = {
  pods: [{ title: 'POD' }, { title: 'PACKETS, OPERATIONS', align: 'right' }, { title: 'NEWEST', align: 'right' }],
  nodes: [{ title: 'NODE' }, { title: 'PACKETS, OPERATIONS', align: 'right' }, { title: 'NEWEST', align: 'right' }],
  rules: [{ title: 'RULE' }, { title: 'VERDICTS', align: 'right' }, { title: 'NEWEST', align: 'right' }],
};

async function top(session: Session, request: Request, since: string): Promise<void> {
  const { out, decoder } = session;
  const { what, limit, json, from } = request;
  const ranking = new Ranking();
  const nowMs = await readBusTime(session);
  const range = { request, sinceMs: from(nowMs) };
  const cut = await (what === 'rules' ? verdictsBy : violationsBy)(session, range, ranking);
  decoder.reportUndecodable(out);
  if (what !== 'rules') for (const reason of await missingReasons(session, range.sinceMs)) out.note(reason);
  if (cut)
    out.note(`the oldest ones since ${since} were not read, because there are too many: narrow the range with --since`);
  if (ranking.omitted > 0)
    out.note(`${ranking.omitted} more are not in the list, which has at most ${ranking.most} names`);
  const rows = ranking.top(limit);
  if (json) out.json({ since, items: rows.map(({ name, count, newestMicros }) => ({ name, count, newestMicros })) });
  else if (rows.length === 0) out.note(`nothing since ${since}`);
  else out.rows(COLUMNS[what], rows, (row) => cellsOf(row, nowMs));
}

const cellsOf = ({ name, count, newestMicros }: Ranked, nowMs: number) => [
  name,
  count.toLocaleString('en-US'),
  `${age(nowMs - newestMicros / 1000)} ago`,
];

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('top')
    .description('pods, nodes or rules with the most violations or verdicts')
    .argument('<what>', WHAT.join(', '))
    .option('--since <when>', 'how far back: 10m, 2h, 7d, an ISO time, or "all"', '1h')
    .option('--limit <n>', 'how many', '10')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('-A, --all-namespaces', 'of all namespaces, which is the default')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, (options: { since: string; limit: string; namespace?: string; json?: boolean }, what: string) => {
    const { since, namespace, json = false } = options;
    const request: Request = {
      what: oneOf(what, WHAT, 'top'),
      namespace: namespace === undefined ? null : parseName(namespace, '--namespace'),
      from: parseWhen(since, '--since'),
      limit: wholeNumber(options.limit, '--limit', 1, MOST),
      json,
    };
    return (session) => top(session, request, since);
  });
}

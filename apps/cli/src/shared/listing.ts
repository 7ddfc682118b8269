/**
 * The shared body of `events`, `verdicts` and `responses`: part of a stream as a table or as JSON
 * lines, and with --follow the messages that arrive later.
 *
 * Bounds: the newest `limit` rows are kept and shown, and a note counts the rest. JSON without
 * --limit is streamed in constant memory.
 */

import type { BusStatus, StreamMessage } from '@bailiff/bus';
import { type ReadResult, readNewest } from '@bailiff/bus';
import { readBusTime } from '@bailiff/insight';
import { age } from '@bailiff/response';
import type { Command } from 'commander';
import { parseRange, wholeNumber } from './arguments.ts';
import { CliError } from './errors.ts';
import type { Session } from './session.ts';
import { type Cell, type Column, headingOf, type Layout, layOut, renderRow } from './text/table.ts';

export interface Listing<Row> {
  stream: string;
  /** Plural name of the rows. */
  noun: string;
  filterSubjects?: readonly string[];
  /** Passes each row of a message to `take`. */
  read(message: StreamMessage, take: (row: Row) => void): void | Promise<void>;
  columns: readonly Column[];
  cells(row: Row, nowMs: number): Cell[];
  json(row: Row): unknown;
  /** Why some may not be on the bus: rows of one node do not tell of another one. */
  missing?(): Promise<string[]>;
}

export interface ListOptions {
  since?: string;
  until?: string;
  limit?: string;
  follow?: boolean;
  watch?: boolean;
  json?: boolean;
  output?: string;
  pod?: string;
  namespace?: string;
  node?: string;
  allNamespaces?: boolean;
}

export const DEFAULT_SINCE = '1h';
/** A few screens. */
export const DEFAULT_LIMIT = 100;
/** Rows before the first new one with --follow. */
export const FOLLOW_LIMIT = 10;
/** Most rows kept in memory, about 1 kB each. */
export const MAX_LIMIT = 50_000;

/** Options of all three commands. */
export function withListOptions(command: Command): Command {
  return command
    .option('--since <when>', `how far back: 10m, 2h, 7d, an ISO time, or "all" (default: ${DEFAULT_SINCE})`)
    .option('--until <when>', 'end of the range (default: now)')
    .option(
      '--limit <n>',
      `show the newest n rows (default: ${DEFAULT_LIMIT}; with --follow ${FOLLOW_LIMIT}; with --json all)`,
    )
    .option('-f, --follow', 'print new rows as they arrive, until Ctrl-C')
    .option('-w, --watch', 'as --follow')
    .option('-A, --all-namespaces', 'of all namespaces, which is the default')
    .option('--json', 'one JSON object per line, with all fields')
    .option('--pod <pod>', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--node <node>', 'one node');
}

/** The pod as an argument, which is shorter than --pod. @throws CliError CLI_USAGE */
export function withPod<O extends { pod?: string }>(options: O, pod: string | undefined): O {
  if (pod === undefined) return options;
  if (options.pod === undefined) return { ...options, pod };
  throw new CliError('CLI_USAGE', 'the pod is given twice: as an argument, and with --pod');
}

export interface ListRequest {
  /** As given on the command line. */
  since: string;
  rangeAt: ReturnType<typeof parseRange>;
  /** Null = all. */
  limit: number | null;
  follow: boolean;
  json: boolean;
}

/** Validates the options before connecting. @throws CliError CLI_USAGE */
export function parseListOptions(options: ListOptions): ListRequest {
  const { since = DEFAULT_SINCE, until, json = false } = options;
  const follow = options.follow || options.watch || false;
  if (until !== undefined && follow) throw new CliError('CLI_USAGE', '--until and --follow exclude each other');
  if (options.allNamespaces && options.namespace !== undefined) {
    throw new CliError('CLI_USAGE', '--all-namespaces and --namespace exclude each other');
  }
  return { since, rangeAt: parseRange(since, until), limit: limitOf({ ...options, follow }), follow, json };
}

/** @param listingOf its argument is the start of the range */
export async function runListing<Row>(
  session: Session,
  listingOf: (sinceMs: number) => Listing<Row>,
  request: ListRequest,
): Promise<void> {
  const { io, bus, out, decoder } = session;
  const { since, rangeAt, limit, follow } = request;
  io.endWithReader();
  const nowMs = await readBusTime(session);
  const { sinceMicros, untilMicros } = rangeAt(nowMs);
  const sinceMs = sinceMicros / 1000;
  const listing = listingOf(sinceMs);
  const printer = new Printer(session, listing, request.json, limit);
  const stopReporting = follow ? reportOutages(session) : () => undefined;
  let result: ReadResult;
  try {
    result = await readNewest(bus, listing.stream, {
      sinceMs,
      ...(Number.isFinite(untilMicros) ? { untilMicros } : {}),
      ...(listing.filterSubjects ? { filterSubjects: listing.filterSubjects } : {}),
      onMessage: (message) => printer.message(message),
      ...(follow ? { onFollow: () => printer.caughtUp() } : {}),
      signal: io.signal,
    });
    if (!follow) printer.caughtUp();
  } finally {
    stopReporting();
  }
  decoder.reportUndecodable(out);
  if (result.cut && !follow) {
    out.note(`older ${listing.noun} since ${since} were not read: there are too many. Narrow the range with --since`);
  }
  if (printer.dropped > 0) {
    const total = printer.dropped + (limit ?? 0);
    out.note(
      `showing the newest ${limit} of ${total} ${listing.noun}; --limit ${Math.min(total, MAX_LIMIT)} shows more, --json all`,
    );
  }
  if (follow) return;
  if (printer.rows === 0) out.note(noRowsText(listing.noun, since, result, nowMs));
  for (const reason of (await listing.missing?.()) ?? []) out.note(reason);
}

function limitOf(options: ListOptions): number | null {
  if (options.limit !== undefined) return wholeNumber(options.limit, '--limit', 1, MAX_LIMIT);
  // --output prints one document from memory, so the number of items has a limit.
  if (options.json) return options.output === undefined ? null : MAX_LIMIT;
  return options.follow ? FOLLOW_LIMIT : DEFAULT_LIMIT;
}

function noRowsText(noun: string, since: string, { newestMs }: ReadResult, nowMs: number): string {
  const within = since === 'all' ? '' : ` since ${since}`;
  if (newestMs === null) return `the bus has no ${noun}`;
  return `no matching ${noun}${within}; the newest of any kind is ${age(nowMs - newestMs)} old`;
}

/** Reports lost and restored connections. @returns a function that stops it */
function reportOutages({ bus, out }: Session): () => void {
  const listener = (status: BusStatus) => {
    if (status.type === 'disconnected') out.note('-- disconnected from the bus; reconnecting');
    else if (status.type === 'connected') out.note('-- reconnected to the bus; resuming');
  };
  bus.statusListeners.add(listener);
  return () => bus.statusListeners.delete(listener);
}

class Printer<Row> {
  readonly #session: Session;
  readonly #listing: Listing<Row>;
  readonly #json: boolean;
  readonly #limit: number | null;
  #kept: Row[] = [];
  #layout: Layout | null = null;
  #live = false;
  dropped = 0;
  rows = 0;

  constructor(session: Session, listing: Listing<Row>, json: boolean, limit: number | null) {
    this.#session = session;
    this.#listing = listing;
    this.#json = json;
    this.#limit = limit;
  }

  message(message: StreamMessage): void | Promise<void> {
    const before = this.rows;
    const done = this.#listing.read(message, (row) => this.#take(row));
    if (!this.#live && this.#limit !== null) return done;
    // Backpressure: rows printed at once must not pile up in memory before a slow reader.
    if (done instanceof Promise) return done.then(() => this.#session.io.stdout.drained());
    return this.rows > before ? this.#session.io.stdout.drained() : undefined;
  }

  #take(row: Row): void {
    this.rows += 1;
    if (this.#live || this.#limit === null) {
      this.#print(row);
      return;
    }
    this.#kept.push(row);
    // Drop in blocks: shifting a long array for every row would cost its length each time.
    if (this.#kept.length >= 2 * this.#limit) this.#cut();
  }

  #cut(): void {
    const over = this.#kept.length - (this.#limit as number);
    if (over <= 0) return;
    this.#kept.splice(0, over);
    this.dropped += over;
  }

  caughtUp(): void {
    if (this.#limit !== null) this.#cut();
    const rows = this.#kept;
    this.#kept = [];
    this.#live = true;
    if (!this.#json) this.#head(rows);
    for (const row of rows) this.#print(row);
    if (this.#json) this.#session.out.finish();
  }

  /** Chooses column widths from the first rows; later rows keep them. */
  #head(rows: readonly Row[]): void {
    const { io, out } = this.#session;
    const { columns, cells } = this.#listing;
    const shown = rows.map((row) => cells(row, io.nowMs()));
    this.#layout = layOut(columns, shown, out.table.width);
    if (rows.length > 0) out.line(headingOf(columns, this.#layout, out.table));
    else this.#layout = null;
  }

  #print(row: Row): void {
    const { io, out } = this.#session;
    const { columns, cells, json } = this.#listing;
    if (this.#json) {
      out.jsonLine(json(row));
      return;
    }
    if (!this.#layout) this.#head([row]);
    out.line(renderRow(columns, this.#layout as Layout, cells(row, io.nowMs()), out.table));
  }
}

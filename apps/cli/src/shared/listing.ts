/**
 * `events`, `verdicts` and `responses` in one: a stretch of a stream as a table or as JSON lines, and with --follow whatever comes after it.
 *
 * Bounds: the newest `limit` rows are kept and shown, and a note says how many were not; JSON without --limit is handed on as it comes, so
 * that a program gets everything in constant memory.
 */
import type { BusStatus, StreamMessage } from '@bailiff/bus';
import type { Command } from 'commander';
import { type ReadResult, readStream } from './bus/read-stream.ts';
import { wholeNumber } from './selectors.ts';
import type { Session } from './session.ts';
import { type Cell, type Column, headingOf, type Layout, layOut, renderRow } from './text/table.ts';
import { age, parseWhen } from './text/time.ts';

export interface Listing<Row> {
  stream: string;
  /** What the rows are called, many of them. */
  noun: string;
  filterSubjects?: readonly string[];
  /** Hands each row of a message to `take`. */
  read(message: StreamMessage, take: (row: Row) => void): void | Promise<void>;
  columns: readonly Column[];
  cells(row: Row, nowMs: number): Cell[];
  json(row: Row): unknown;
}

export interface ListOptions {
  since?: string;
  limit?: string;
  follow?: boolean;
  json?: boolean;
}

export const DEFAULT_SINCE = '1h';
/** A few screens; what a person reads. */
export const DEFAULT_LIMIT = 100;
/** With --follow, what gives the newest its context. */
export const FOLLOW_LIMIT = 10;
/** Rows kept in memory at most, about 1 kB each. */
export const MAX_LIMIT = 50_000;

/** The options that all three have. */
export function withListOptions(command: Command): Command {
  return command
    .option('--since <when>', `how far back: 10m, 2h, 7d, an ISO time, or "all" (default: ${DEFAULT_SINCE})`)
    .option(
      '--limit <n>',
      `newest rows shown (default: ${DEFAULT_LIMIT}; with --follow ${FOLLOW_LIMIT}; with --json all)`,
    )
    .option('-f, --follow', 'go on as more come, until Ctrl-C')
    .option('--json', 'one JSON object a line, with everything there is');
}

export interface ListRequest {
  /** As it was said. */
  since: string;
  sinceMs: number;
  /** Null = all. */
  limit: number | null;
  follow: boolean;
  json: boolean;
}

/** Checks the options before anything is asked of the bus. @throws CliError CLI_USAGE */
export function parseListOptions(options: ListOptions, nowMs: number): ListRequest {
  const since = options.since ?? DEFAULT_SINCE;
  const { follow = false, json = false } = options;
  return { since, sinceMs: parseWhen(since, nowMs, '--since'), limit: limitOf(options), follow, json };
}

export async function runListing<Row>(session: Session, listing: Listing<Row>, request: ListRequest): Promise<number> {
  const { io, bus, out, decoder } = session;
  const { since, sinceMs, limit, follow } = request;
  io.endWithReader();
  const printer = new Printer(session, listing, request.json, limit);
  const quit = follow ? tellOutages(session) : () => undefined;
  let result: ReadResult;
  try {
    result = await readStream(bus, listing.stream, {
      sinceMs,
      ...(listing.filterSubjects ? { filterSubjects: listing.filterSubjects } : {}),
      follow,
      onMessage: (message) => printer.message(message),
      onCaughtUp: () => printer.caughtUp(),
      signal: io.signal,
    });
  } finally {
    quit();
  }
  const complaint = decoder.complaint();
  if (complaint) out.note(complaint);
  if (result.cut && !follow) {
    out.note(`older ${listing.noun} since ${since} were not looked at: too many. Narrow it with --since`);
  }
  if (printer.dropped > 0) {
    const total = printer.dropped + (limit ?? 0);
    out.note(
      `the newest ${limit} of ${total} ${listing.noun}; more with --limit ${Math.min(total, MAX_LIMIT)}, all with --json`,
    );
  }
  if (printer.rows === 0 && !follow) out.note(nothing(listing.noun, since, result, io.nowMs()));
  return 0;
}

function limitOf(options: ListOptions): number | null {
  if (options.limit !== undefined) return wholeNumber(options.limit, '--limit', 1, MAX_LIMIT);
  if (options.json) return null;
  return options.follow ? FOLLOW_LIMIT : DEFAULT_LIMIT;
}

function nothing(noun: string, since: string, { newestMs }: ReadResult, nowMs: number): string {
  const within = since === 'all' ? '' : ` since ${since}`;
  if (newestMs === null) return `no ${noun} at all: the bus has none`;
  return `no such ${noun}${within}; the newest of any kind is ${age(nowMs - newestMs)} old`;
}

/** Says when the bus goes and comes back. @returns to stop that */
function tellOutages({ bus, out }: Session): () => void {
  const listener = (status: BusStatus) => {
    if (status.type === 'disconnected') out.note('-- the bus is away; waiting for it');
    else if (status.type === 'connected') out.note('-- the bus is back; going on where it stopped');
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
    // What is printed at once must not pile up in front of a slow reader.
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
    // Cut in blocks: taking one from the front of a long array each time costs its length.
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
  }

  /** Chooses the widths by what is there; later rows keep them. */
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

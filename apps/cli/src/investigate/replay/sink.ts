/**
 * Destinations of a replay: table, JSON or SIEM lines, Avro file, subjects. A sink applies
 * backpressure by the promise it returns. Tables escape names; JSON escapes what a terminal would
 * interpret.
 */

import { createHash } from 'node:crypto';
import { type Bus, CopyPublisher, cloudEventHeaders, ROOT, type SiemFormat, type StreamMessage } from '@bailiff/bus';
import { CounterHulls } from '@bailiff/correlation';
import {
  type EventFilter,
  type EventRow,
  eventJson,
  eventRows,
  isoMicros,
  matchesPod,
  type NodeFrame,
} from '@bailiff/insight';
import { CURRENT_SCHEMAS, encodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';
import { type Rendered, render, violationEvents } from '@bailiff/siem';
import { CliError } from '../../shared/errors.ts';
import { eventCells, eventColumns } from '../../shared/rows/event-cells.ts';
import type { Out } from '../../shared/session.ts';
import { type Cell, headingOf, type Layout, layOut, renderRow } from '../../shared/text/table.ts';

/** A frame with the part that matches the filter. */
export interface Replayed {
  message: StreamMessage;
  /** As stored: violation indexes refer to it. */
  judged: NodeFrame;
  /** Only matching violations; the same object if all match. */
  wanted: ViolationFrame;
  filter: EventFilter;
}

export interface Sink {
  /** Called for each frame in stream order. */
  take(replayed: Replayed): void | Promise<void>;
  /** Resolves when everything is delivered. */
  end(): void | Promise<void>;
  /** The sequence up to which everything is delivered. Without this method, `take` delivers. */
  arrived?(): number;
  /** Releases resources; after `end` or instead of it. */
  close(): void;
}

/** Marker and fingerprint before the body of a single-object message. */
const SINGLE_OBJECT_HEAD = 10;
const schemaText = CURRENT_SCHEMAS.map(({ text }) => text).find(
  (text) => (JSON.parse(text) as { name: string }).name === 'ViolationFrame',
) as string;
const sync = createHash('sha256').update(schemaText).digest().subarray(0, 16);

/** Zigzag and base 128, Avro's encoding of a long. For counts and lengths up to 2^31. */
function long(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value * 2; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 128);
  }
}

const text = (value: string): Buffer => Buffer.concat([long(Buffer.byteLength(value)), Buffer.from(value, 'utf8')]);

/** The file header. */
function avroFileHead(): Buffer {
  const metadata = [text('avro.codec'), text('null'), text('avro.schema'), text(schemaText)];
  return Buffer.concat([Buffer.from('Obj\u0001', 'latin1'), long(2), ...metadata, long(0), sync]);
}

/** A block of one frame. */
function avroFileBlock(frame: ViolationFrame): Buffer {
  const body = encodeViolationFrame(frame).subarray(SINGLE_OBJECT_HEAD);
  return Buffer.concat([long(1), long(body.length), body, sync]);
}

const nothing = (): void => undefined;

/** A sink that prints each frame at once. */
const printing = (out: Out, print: (replayed: Replayed) => void): Sink => ({
  take(replayed) {
    print(replayed);
    return out.io.stdout.drained();
  },
  end: nothing,
  close: nothing,
});

/** Rows of frames in the order of a replay, which add up to the truth. */
function rowReader(): (replayed: Replayed) => EventRow[] {
  const hulls = new CounterHulls();
  return ({ message, judged, filter }) => eventRows(judged, message, filter, hulls);
}

/** Rows that determine the column widths of an unpaced replay. */
const ROWS_FOR_LAYOUT = 200;

export function tableSink(out: Out, paced: boolean): Sink {
  const rowsOf = rowReader();
  const enough = paced ? 1 : ROWS_FOR_LAYOUT;
  let waiting: EventRow[] = [];
  let layout: Layout | null = null;
  let columns = eventColumns(undefined);
  const print = (rows: readonly EventRow[]) => {
    const cells: Cell[][] = rows.map((row) => eventCells(row, out.io.nowMs()));
    if (layout === null) {
      layout = layOut(columns, cells, out.table.width);
      out.line(headingOf(columns, layout, out.table));
    }
    for (const row of cells) out.line(renderRow(columns, layout, row, out.table));
  };
  const flush = () => {
    if (waiting.length > 0) print(waiting);
    waiting = [];
  };
  const sink = printing(out, (replayed) => {
    columns = layout === null ? eventColumns(replayed.filter.kind) : columns;
    const rows = rowsOf(replayed);
    if (layout !== null) print(rows);
    else {
      waiting.push(...rows);
      if (waiting.length >= enough) flush();
    }
  });
  return { ...sink, end: flush };
}

export function jsonSink(out: Out): Sink {
  const rowsOf = rowReader();
  return printing(out, (replayed) => {
    for (const row of rowsOf(replayed)) out.jsonLine(eventJson(row));
  });
}

/** @param fresh false when a resumed replay appends to a file with a header */
export function avroSink(out: Out, fresh: boolean): Sink {
  if (fresh) out.io.stdout.writeBytes(avroFileHead());
  return printing(out, ({ wanted }) => out.io.stdout.writeBytes(avroFileBlock(wanted)));
}

/** SIEM events, one per line. The formats are ASCII, so no escaping is needed. */
export function siemSink(out: Out, mapping: SiemMapping): Sink {
  return printing(out, (replayed) => {
    for (const { payload } of siemEvents(replayed, mapping)) out.line(payload.toString('utf8'));
  });
}

interface Copy {
  /** Subject of the original message. */
  subject: string;
  id: string;
  data: Uint8Array;
  contentType: string;
}
/** What is published for a frame. */
type Copies = (replayed: Replayed) => Copy[];

/** The frame; byte-identical if all of it matches. */
export const avroCopies: Copies = ({ message, judged, wanted }) => [
  {
    subject: message.subject,
    id: `replay-${message.sequence}`,
    data: wanted === judged.frame ? message.data : encodeViolationFrame(wanted),
    contentType: 'avro/binary',
  },
];

/** Each violation in the format of `bailiff events --json`. */
export function jsonCopies(): Copies {
  const rowsOf = rowReader();
  return (replayed) =>
    rowsOf(replayed).map((row, index) => ({
      subject: replayed.message.subject,
      id: `replay-${replayed.message.sequence}-${index}`,
      data: Buffer.from(JSON.stringify(eventJson(row))),
      contentType: 'application/json',
    }));
}

/** Each violation as an event of the siem-relay, on its subject. */
export const siemCopies =
  (mapping: SiemMapping): Copies =>
  (replayed) =>
    siemEvents(replayed, mapping).map(({ subject, msgId, payload, headers }) => ({
      subject,
      id: msgId,
      data: payload,
      contentType: headers['Content-Type'] ?? '',
    }));

/** Publishes copies, with the original's sequence and time in headers. */
export function busSink(bus: Bus, prefix: string, copiesOf: Copies): Sink {
  const publisher = new CopyPublisher(bus);
  let taken = 0;
  let arrived = 0;
  const publish = async ({ sequence, timestampMicros }: StreamMessage, copy: Copy) => {
    const { subject, id, data, contentType } = copy;
    const event = { id, type: 'dev.bailiff.replay.violations.v1', source: '/replay', timeMicros: timestampMicros };
    const held = publisher.publish(copySubject(prefix, subject), data, {
      ...cloudEventHeaders(event),
      'Content-Type': contentType,
      'Bailiff-Replay-Sequence': String(sequence),
      'Bailiff-Replay-Time': isoMicros(timestampMicros),
    });
    if (held === undefined) return;
    await held;
    arrived = sequence - 1;
  };
  return {
    async take(replayed) {
      taken = replayed.message.sequence;
      for (const copy of copiesOf(replayed)) await publish(replayed.message, copy);
    },
    async end() {
      await publisher.flush();
      arrived = taken;
    },
    arrived: () => arrived,
    close: () => publisher.close(),
  };
}

interface SiemMapping {
  format: SiemFormat;
  version: string;
  /** Start of the life of VIOLATIONS with a sequence in milliseconds since 1970, a part of each uid. */
  createdMs(sequence: number): number;
}

/**
 * Violations as SIEM events, with the mapping and the uids of the siem-relay, so that a SIEM can
 * deduplicate them. Only the product version is that of this command. Guard gaps become no events,
 * as in the siem-relay.
 */
function siemEvents({ message, judged, filter }: Replayed, mapping: SiemMapping): Rendered[] {
  const { format, version } = mapping;
  const { frame, node, refusedWhole } = judged;
  if (refusedWhole?.reason === 'foreign-node') return [];
  const place = {
    stream: 'VIOLATIONS',
    createdMs: mapping.createdMs(message.sequence),
    sequence: message.sequence,
    storedMicros: message.timestampMicros,
  };
  return violationEvents(frame, node, place)
    .filter(({ value }) => !filter.pod || matchesPod(filter.pod, value.pod))
    .map((event) => render(event, format, version));
}

/** Subjects outside of all streams. */
export const SCRATCH = `${ROOT}.replay`;
const MAX_PREFIX = 128;
const TOKEN = /^[A-Za-z0-9_-]+$/;

/**
 * Validates the target prefix of a replay. Pure. A copy must never be taken for an original, so
 * subjects of Bailiff's readers and of server responses are refused. Below `bailiff.`, only
 * `bailiff.v1.replay` is outside of all streams. @throws CliError CLI_USAGE
 */
export function checkTarget(prefix: string): string {
  const refuse = (why: string) =>
    new CliError('CLI_USAGE', `--to: "${prefix}" ${why}`, {
      remedy: `use ${SCRATCH}.case-7, or a prefix of your own`,
    });
  const tokens = prefix.split('.');
  if (prefix.length > MAX_PREFIX || !tokens.every((token) => TOKEN.test(token))) {
    throw refuse('is not a subject prefix: use tokens of letters, digits, "-" and "_", separated by dots');
  }
  if (tokens[0]?.startsWith('_INBOX')) throw refuse('is reserved for replies');
  const isScratch = prefix === SCRATCH || prefix.startsWith(`${SCRATCH}.`);
  if (tokens[0]?.toLowerCase() === 'bailiff' && !isScratch)
    throw refuse('is a live subject: its readers would take copies for originals');
  return prefix;
}

/** `bailiff.v1.violations.3.node-a.spoof` under a prefix: `<prefix>.violations.3.node-a.spoof`. */
function copySubject(prefix: string, subject: string): string {
  return `${prefix}${subject.slice(ROOT.length)}`;
}

/**
 * Where the frames of a replay go: a table, lines of JSON or of a SIEM's format, an Avro file, or subjects of the bus. A sink holds the reading back by the promise that it
 * answers. Names are cleaned by the table; JSON escapes what a terminal would obey.
 */
import { type Bus, CopyPublisher, cloudEventHeaders, type StreamMessage } from '@bailiff/bus';
import { encodeViolationFrame } from '@bailiff/schemas';
import { type EventRow, eventCells, eventColumns, eventJson, eventRows } from '../shared/rows/event-rows.ts';
import type { Out } from '../shared/session.ts';
import { type Cell, headingOf, type Layout, layOut, renderRow } from '../shared/text/table.ts';
import { isoMicros } from '../shared/text/time.ts';
import { avroFileBlock, avroFileHead } from './avro-file.ts';
import type { Replayed } from './replayed.ts';
import { type SiemMapping, siemEvents } from './siem-events.ts';
import { copySubject } from './target.ts';

export interface Sink {
  /** Called for each frame in the order of the stream. */
  take(replayed: Replayed): void | Promise<void>;
  /** All that was taken has arrived. */
  end(): void | Promise<void>;
  /** Sequence up to which all that was taken is known to have arrived; without it, what was taken has. */
  arrived?(): number;
  /** Lets go of what it holds; after end, or instead of it. */
  close(): void;
}

const nothing = (): void => undefined;
const rowsOf = ({ message, frame, filter }: Replayed): EventRow[] => eventRows(frame, message, filter);

/** Rows by which the widths of the columns are chosen, when nobody waits for the first. */
const ROWS_FOR_LAYOUT = 200;

export function tableSink(out: Out, paced: boolean): Sink {
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
  return {
    take(replayed) {
      columns = layout === null ? eventColumns(replayed.filter.kind) : columns;
      const rows = rowsOf(replayed);
      if (layout !== null) print(rows);
      else {
        waiting.push(...rows);
        if (waiting.length >= enough) flush();
      }
      return out.io.stdout.drained();
    },
    end: flush,
    close: nothing,
  };
}

export function jsonSink(out: Out): Sink {
  return {
    take(replayed) {
      for (const row of rowsOf(replayed)) out.jsonLine(eventJson(row));
      return out.io.stdout.drained();
    },
    end: nothing,
    close: nothing,
  };
}

/** @param fresh whether the file begins here: one that is gone on with has its head already */
export function avroSink(out: Out, fresh: boolean): Sink {
  if (fresh) out.io.stdout.writeBytes(avroFileHead());
  return {
    take({ wanted }) {
      out.io.stdout.writeBytes(avroFileBlock(wanted));
      return out.io.stdout.drained();
    },
    end: nothing,
    close: nothing,
  };
}

/** Events as a SIEM takes them, one a line. Their formats are ASCII, so they say nothing to a terminal. */
export function siemSink(out: Out, mapping: SiemMapping): Sink {
  return {
    take(replayed) {
      for (const { payload } of siemEvents(replayed, mapping)) out.line(payload.toString('utf8'));
      return out.io.stdout.drained();
    },
    end: nothing,
    close: nothing,
  };
}

interface Copy {
  /** Of the live message that it is a copy of. */
  subject: string;
  id: string;
  data: Uint8Array;
  contentType: string;
}
/** What is published of a frame. */
export type Copies = (replayed: Replayed) => Copy[];

/** The frame, byte for byte where all of it is wanted. */
export const avroCopies: Copies = ({ message, frame, wanted }) => [
  {
    subject: message.subject,
    id: `replay-${message.sequence}`,
    data: wanted === frame ? message.data : encodeViolationFrame(wanted),
    contentType: 'avro/binary',
  },
];

/** Each violation as `bailiff events` tells it. */
export const jsonCopies: Copies = (replayed) =>
  rowsOf(replayed).map((row, index) => ({
    subject: replayed.message.subject,
    id: `replay-${replayed.message.sequence}-${index}`,
    data: Buffer.from(JSON.stringify(eventJson(row))),
    contentType: 'application/json',
  }));

/** Each violation as an event of the siem-relay, on the subject that it has there. */
export const siemCopies =
  (mapping: SiemMapping): Copies =>
  (replayed) =>
    siemEvents(replayed, mapping).map(({ subject, msgId, payload, headers }) => ({
      subject,
      id: msgId,
      data: payload,
      contentType: headers['Content-Type'] ?? '',
    }));

/** Copies on the bus. The place and the time of the original are in headers. */
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

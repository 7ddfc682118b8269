/**
 * Frames of a stretch of VIOLATIONS, decoded once and handed on in the order of the stream: what is read fastest, because a backtest reads all of it. What
 * cannot be read is counted by reason and passed over, as the correlator does.
 */
import { parseSubject, type StreamMessage, schemaLookup } from '@bailiff/bus';
import type { FramePosition } from '@bailiff/correlation';
import { decodeJudgedFrame, decodeWithLookup, type JudgedFrame, JudgedRegistry, SchemaError } from '@bailiff/schemas';
import { readStretch } from '../shared/bus/stretch.ts';
import type { Session } from '../shared/session.ts';

/** Nodes whose subjects are remembered as read; above it all are read anew. */
const MAX_SUBJECTS = 16_384;

export interface FrameStretch {
  fromMicros: number;
  untilMicros: number;
  onFrame(place: FramePosition, frame: JudgedFrame, pending: number): void;
  /** A frame with a field above its limit, which is judged too: it counts against its node. */
  onInvalid(place: FramePosition, detail: string): void;
}

/** @returns how many messages could not be read. @throws BusError; the signal's reason */
export async function readFrames({ bus, io }: Session, stretch: FrameStretch): Promise<number> {
  const registry = new JudgedRegistry(schemaLookup(bus));
  const nodes = new Map<string, string>();
  let unreadable = 0;
  const nodeOf = (subject: string): string | null => {
    const known = nodes.get(subject);
    if (known !== undefined) return known;
    const parsed = parseSubject(subject);
    if (parsed?.what !== 'violations') return null;
    if (nodes.size >= MAX_SUBJECTS) nodes.clear();
    nodes.set(subject, parsed.node);
    return parsed.node;
  };
  const handOn = ({ sequence, timestampMicros, pending }: StreamMessage, node: string, frame: JudgedFrame) =>
    stretch.onFrame({ sequence, timestampMicros, node }, frame, pending);
  const passOver = ({ sequence, timestampMicros }: StreamMessage, node: string, { code, message }: SchemaError) => {
    unreadable += 1;
    if (code === 'FIELD_TOO_LONG') stretch.onInvalid({ sequence, timestampMicros, node }, message);
  };
  const lookUp = async (message: StreamMessage, node: string): Promise<void> => {
    try {
      const decoded = await decodeWithLookup(message.data, registry);
      if (decoded.name === 'ViolationFrame') handOn(message, node, decoded.value);
      else unreadable += 1;
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      passOver(message, node, error);
    }
  };
  await readStretch(bus, 'VIOLATIONS', {
    start: { timeMicros: stretch.fromMicros },
    untilMicros: stretch.untilMicros,
    onMessage: (message) => {
      const node = nodeOf(message.subject);
      if (node === null) {
        unreadable += 1;
        return undefined;
      }
      let frame: JudgedFrame;
      try {
        frame = decodeJudgedFrame(message.data, registry);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        if (error.code === 'UNKNOWN_FINGERPRINT') return lookUp(message, node);
        return passOver(message, node, error);
      }
      return handOn(message, node, frame);
    },
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  return unreadable;
}

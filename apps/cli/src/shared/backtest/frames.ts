/**
 * Reads and decodes the frames of a range of VIOLATIONS, in stream order and with the fast decoder,
 * because a backtest reads all of it. Undecodable frames are counted and skipped, as in the
 * correlator.
 */
import { readToEnd, type StreamMessage, schemaLookup, violationNode } from '@bailiff/bus';
import type { FramePosition } from '@bailiff/correlation';
import type { Reader } from '@bailiff/insight';
import {
  decodeProjectedFrame,
  decodeWithLookup,
  type ProjectedFrame,
  ProjectedFrameRegistry,
  SchemaError,
} from '@bailiff/schemas';

/** Cached subjects; beyond it the cache is cleared. */
const MAX_SUBJECTS = 16_384;

export interface FrameRange {
  fromMicros: number;
  untilMicros: number;
  /** Called for each message, before the others. */
  onMessage(place: FramePosition): void;
  onFrame(place: FramePosition, frame: ProjectedFrame, pending: number): void;
  /** Whether the node has a share left for a message of this size; otherwise it is skipped. */
  hasShare(place: FramePosition, bytes: number): boolean;
  /** A message of the node cannot be decoded. */
  onUndecodable(node: string): void;
  /** A frame with an oversized field: counted as undecodable, and also against its node. */
  onInvalid(place: FramePosition, detail: string): void;
}

/** @returns the number of undecodable and skipped messages. @throws BusError; the signal's reason */
export async function readFrames({ bus, signal }: Reader, range: FrameRange): Promise<number> {
  const registry = new ProjectedFrameRegistry(schemaLookup(bus));
  const nodes = new Map<string, string>();
  let undecodable = 0;
  const nodeOf = (subject: string): string | null => {
    const known = nodes.get(subject);
    if (known !== undefined) return known;
    const node = violationNode(subject);
    if (node === null) return null;
    if (nodes.size >= MAX_SUBJECTS) nodes.clear();
    nodes.set(subject, node);
    return node;
  };
  const passOn = ({ sequence, timestampMicros, pending }: StreamMessage, node: string, frame: ProjectedFrame) =>
    range.onFrame({ sequence, timestampMicros, node }, frame, pending);
  const skip = ({ sequence, timestampMicros }: StreamMessage, node: string, { code, message }: SchemaError) => {
    undecodable += 1;
    if (code === 'FIELD_TOO_LONG') range.onInvalid({ sequence, timestampMicros, node }, message);
    else range.onUndecodable(node);
  };
  const lookUp = async (message: StreamMessage, node: string): Promise<void> => {
    try {
      const decoded = await decodeWithLookup(message.data, registry, node);
      if (decoded.name === 'ViolationFrame') passOn(message, node, decoded.value);
      else skip(message, node, new SchemaError('WRONG_SCHEMA', `found a ${decoded.name}`));
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      skip(message, node, error);
    }
  };
  await readToEnd(bus, 'VIOLATIONS', {
    start: { timeMicros: range.fromMicros },
    untilMicros: range.untilMicros,
    onMessage: (message) => {
      const node = nodeOf(message.subject);
      const { sequence, timestampMicros } = message;
      const place = { sequence, timestampMicros, node: node ?? '' };
      range.onMessage(place);
      const isShared = range.hasShare(place, message.data.length);
      if (node === null || !isShared) {
        undecodable += 1;
        if (isShared) range.onUndecodable('');
        return undefined;
      }
      let frame: ProjectedFrame;
      try {
        frame = decodeProjectedFrame(message.data, registry);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        if (error.code === 'UNKNOWN_FINGERPRINT') return lookUp(message, node);
        return skip(message, node, error);
      }
      return passOn(message, node, frame);
    },
    signal,
  });
  return undecodable;
}

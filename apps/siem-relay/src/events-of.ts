/**
 * Decodes messages of the three source streams to events.
 *
 * source-reader.ts → here → render.ts. The violations of a frame belong to the node of its subject,
 * one event each, in order. Coverage gaps are not violations and produce no events. A permanently
 * unreadable message is UnreadableError; a schema that cannot be looked up now is BusError.
 */
import { type Bus, BusError, type StreamMessage, schemaLookup, violationNode } from '@bailiff/bus';
import { type Decoded, decodeWithLookup, SchemaError, SchemaRegistry } from '@bailiff/schemas';
import { originOf, type Place, type SiemEvent, violationEvents } from '@bailiff/siem';

/** Schema of the messages in each stream. */
export const SOURCES = {
  VIOLATIONS: 'ViolationFrame',
  VERDICTS: 'Verdict',
  RESPONSES: 'Response',
} as const;
export type SourceName = keyof typeof SOURCES;

/** The message does not belong in its stream; retrying does not help. */
export class UnreadableError extends Error {
  readonly reason: string;
  constructor(reason: string, cause?: Error) {
    super(cause ? `${reason}: ${cause.message}` : reason, { cause });
    this.name = 'UnreadableError';
    this.reason = reason;
  }
}

export class EventDecoder {
  readonly #registry: SchemaRegistry;

  constructor(bus: Bus, nowMs: () => number) {
    this.#registry = new SchemaRegistry(schemaLookup(bus), nowMs);
  }

  /** @throws UnreadableError permanently; BusError if a schema cannot be looked up now */
  async decode(stream: SourceName, message: StreamMessage): Promise<Decoded> {
    try {
      // A subject of VIOLATIONS names a node.
      const writer = stream === 'VIOLATIONS' ? message.subject : stream;
      const decoded = await decodeWithLookup(message.data, this.#registry, writer);
      if (decoded.name !== SOURCES[stream]) throw new UnreadableError('WRONG_SCHEMA');
      return decoded;
    } catch (error) {
      if (error instanceof BusError || error instanceof UnreadableError) throw error;
      if (error instanceof SchemaError) throw new UnreadableError(error.code, error);
      throw new UnreadableError('MALFORMED', error as Error);
    }
  }
}

/** Pure. @throws UnreadableError if the subject does not belong to the stream, or the frame to its node */
export function eventsOf(
  decoded: Decoded,
  subject: string,
  place: Place,
  evidenceCreatedMs: (sequence: number) => number,
): SiemEvent[] {
  if (decoded.name === 'ViolationFrame') {
    const node = violationNode(subject);
    if (node === null) throw new UnreadableError('WRONG_SUBJECT');
    // The correlator refuses such a frame as a whole.
    if (decoded.value.nodeName !== node) throw new UnreadableError('FOREIGN_NODE');
    return violationEvents(decoded.value, node, place);
  }
  const origin = originOf(place, 0, decoded.value.nodeName);
  if (decoded.name === 'Verdict') {
    const evidence = decoded.value.evidence.map(({ streamSequence }) => evidenceCreatedMs(streamSequence));
    return [{ kind: 'verdict', origin, value: decoded.value, evidence }];
  }
  return [{ kind: 'response', origin, value: decoded.value }];
}

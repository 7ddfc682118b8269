/**
 * Messages of the three streams → events. What cannot be read is told apart from what cannot be read now.
 *
 * Place in the path: source-reader.ts → here → render.ts. Invariants: a frame's violations are of the node in its subject; an event for each of
 * them, in order. Gaps of coverage in a frame are no violations and become none.
 */
import { type Bus, BusError, parseSubject, type StreamMessage, schemaLookup } from '@bailiff/bus';
import { type Decoded, decodeWithLookup, SchemaError, SchemaRegistry } from '@bailiff/schemas';
import { originOf, type Place, type SiemEvent, violationEvents } from '@bailiff/siem';

/** Which kind of message each stream holds. */
export const SOURCES = {
  VIOLATIONS: 'ViolationFrame',
  VERDICTS: 'Verdict',
  RESPONSES: 'Response',
} as const;
export type SourceName = keyof typeof SOURCES;

/** The message is not what its stream is for; it stays unreadable. */
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

  /** @throws UnreadableError for good; BusError when a schema cannot be looked up now */
  async decode(stream: SourceName, message: StreamMessage): Promise<Decoded> {
    try {
      const decoded = await decodeWithLookup(message.data, this.#registry);
      if (decoded.name !== SOURCES[stream]) throw new UnreadableError('WRONG_SCHEMA');
      return decoded;
    } catch (error) {
      if (error instanceof BusError || error instanceof UnreadableError) throw error;
      if (error instanceof SchemaError) throw new UnreadableError(error.code, error);
      throw new UnreadableError('MALFORMED', error as Error);
    }
  }
}

/** Pure. @throws UnreadableError when the subject is none of the stream's */
export function eventsOf(decoded: Decoded, subject: string, place: Place, evidence: Place): SiemEvent[] {
  if (decoded.name === 'ViolationFrame') {
    const parsed = parseSubject(subject);
    if (parsed?.what !== 'violations') throw new UnreadableError('WRONG_SUBJECT');
    return violationEvents(decoded.value, parsed.node, place);
  }
  const origin = originOf(place, 0, decoded.value.nodeName);
  if (decoded.name === 'Verdict') return [{ kind: 'verdict', origin, value: decoded.value, evidence }];
  return [{ kind: 'response', origin, value: decoded.value }];
}

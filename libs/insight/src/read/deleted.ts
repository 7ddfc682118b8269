/** What a stream no longer holds of a range of time. */
import { readCompleteSince } from '@bailiff/bus';
import type { Reader } from '../reader.ts';
import { clockTime } from '../text.ts';

/** A range that begins at the age limit of the stream loses only what ages while it is read. */
const AGEING_MS = 60_000;

/**
 * `violations from before 10:00:05 UTC are no longer on the bus: …`; empty if the range is complete, or
 * if it is all that there is. Call it after the reading. @throws BusError
 */
export async function deletedText(reader: Reader, sinceMs: number, stream = 'VIOLATIONS'): Promise<string> {
  if (sinceMs <= 0) return '';
  const micros = await readCompleteSince(reader.bus, stream);
  if (micros / 1000 - sinceMs <= AGEING_MS) return '';
  const before = clockTime(micros, reader.nowMs());
  return `${stream.toLowerCase()} from before ${before} UTC are no longer on the bus: the stream was full, or they reached its age limit`;
}

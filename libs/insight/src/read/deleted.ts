/** What a stream no longer holds of a range of time. */
import { BusError, completeSinceMicros, streamInfo } from '@bailiff/bus';
import type { Reader } from '../reader.ts';
import { clockTime } from '../text.ts';
import { readNodes } from './nodes.ts';

/** A range that begins at the age limit of the stream loses only what ages while it is read. */
const AGEING_MS = 60_000;

/**
 * `violations from before 10:00:05 UTC are no longer on the bus: …`; empty if the range is complete, or
 * if it is all that there is. Call it after the reading. @throws BusError
 */
export async function deletedText(reader: Reader, sinceMs: number, stream = 'VIOLATIONS'): Promise<string> {
  if (sinceMs <= 0) return '';
  const info = await streamInfo(reader.bus, stream);
  const textOf = (micros: number, why: string) =>
    `${stream.toLowerCase()} from before ${clockTime(micros, reader.nowMs())} UTC are no longer on the bus: ${why}`;
  const isLater = (ms: number) => ms - sinceMs > AGEING_MS;
  const micros = completeSinceMicros(info);
  if (isLater(micros / 1000)) return textOf(micros, 'the stream was full, or they reached its age limit');
  const createdMs = Date.parse(info.created);
  // One that was restored has older messages.
  const isNew = info.state.messages === 0 || Date.parse(info.state.first_ts) >= createdMs;
  if (!isNew || !isLater(createdMs) || !(await ranBefore(reader, createdMs - AGEING_MS))) return '';
  return textOf(createdMs * 1000, 'the stream was made then, and collectors ran before');
}

/** Otherwise the installation is as new as its streams. Callers say themselves that statuses cannot be read. */
async function ranBefore(reader: Reader, ms: number): Promise<boolean> {
  const statuses = await readNodes(reader).catch((error: unknown) => {
    if (!(error instanceof BusError)) throw error;
    return new Map<string, string>();
  });
  return [...statuses.values()].some((status) => typeof status !== 'string' && Date.parse(status.startedAt) < ms);
}

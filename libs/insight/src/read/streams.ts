/** Information about several streams. */
import { type Bus, CONFIG_BUCKET, findStream } from '@bailiff/bus';
import type { StreamInfo } from '@bailiff/response';
import type { Reader } from '../reader.ts';

/** By name, in the given order; null if the stream does not exist. @throws BusError */
export async function readStreams(bus: Bus, names: readonly string[]): Promise<Map<string, StreamInfo | null>> {
  return new Map(await Promise.all(names.map(async (name) => [name, await findStream(bus, name)] as const)));
}

/**
 * Bus time in milliseconds. What is stored ends by it, or is compared with it: the clock of the reader
 * may be wrong. It is used only on a bus that is not set up. @throws BusError
 */
export async function readBusTime({ bus, nowMs }: Pick<Reader, 'bus' | 'nowMs'>): Promise<number> {
  const stream = `KV_${CONFIG_BUCKET}`;
  const atMs = Date.parse((await readStreams(bus, [stream])).get(stream)?.ts ?? '');
  return Number.isNaN(atMs) ? nowMs() : atMs;
}

/** Information about several streams. */
import { type Bus, streamInfo, toBusError } from '@bailiff/bus';
import type { StreamInfo } from '@bailiff/response';

/** By name, in the given order; null if the stream does not exist. @throws BusError */
export async function readStreams(bus: Bus, names: readonly string[]): Promise<Map<string, StreamInfo | null>> {
  const infos = await Promise.all(
    names.map((name) =>
      streamInfo(bus, name).catch((cause: unknown) => {
        if (toBusError(cause, name).code === 'BUS_NO_STREAM') return null;
        throw cause;
      }),
    ),
  );
  return new Map(names.map((name, index) => [name, infos[index] ?? null]));
}

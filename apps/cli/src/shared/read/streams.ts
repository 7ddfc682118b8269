/** What the bus says of its streams, several at once. */
import { type Bus, streamInfo, toBusError } from '@bailiff/bus';

export type StreamInfo = Awaited<ReturnType<typeof streamInfo>>;

/** Of each by its name, in the order given; null: the bus has none of that name. @throws BusError */
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

/**
 * Statuses that service instances publish in `bailiff_services`, with their times converted to the
 * server's clock.
 */
import { type Bus, BusError, type KvEntry, openBucket, SERVICES_BUCKET, storedInstance } from '@bailiff/bus';
import type { InstanceStatus } from '@bailiff/schemas';

/** The last time that a Date can hold. */
const LAST_MS = 8.64e15;

/** All readable statuses; none if the bus was set up before the bucket existed. @throws BusError */
export async function readInstances(bus: Bus): Promise<InstanceStatus[]> {
  try {
    const entries = await openBucket(bus, SERVICES_BUCKET).entries();
    return entries.flatMap((entry) => statusIn(entry) ?? []);
  } catch (error) {
    if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return [];
    throw error;
  }
}

/** Null if it cannot be read. */
function statusIn(entry: KvEntry): InstanceStatus | null {
  const status = storedInstance(entry);
  if (status === null) return null;
  const { timestampMicros } = entry;
  // The instance's clock may be wrong: shift its times by the difference to the server's clock.
  const shiftMs = timestampMicros / 1000 - Date.parse(status.updatedAt);
  const shifted = (time: string) => {
    const atMs = Date.parse(time) + shiftMs;
    return Math.abs(atMs) <= LAST_MS ? new Date(atMs).toISOString() : time;
  };
  return {
    ...status,
    updatedAt: new Date(timestampMicros / 1000).toISOString(),
    startedAt: shifted(status.startedAt),
    ...(status.ready ? { ready: { ...status.ready, since: shifted(status.ready.since) } } : {}),
  };
}

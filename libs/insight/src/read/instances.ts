/**
 * Statuses that service instances publish in `bailiff_services`, with their times converted to the
 * server's clock.
 */
import { type Bus, BusError, type KvEntry, openBucket, SERVICES_BUCKET, storedInstance } from '@bailiff/bus';
import type { ReportedInstance } from '@bailiff/response';
import { atBusTime } from './own-times.ts';

/** All readable statuses; none if the bus was set up before the bucket existed. @throws BusError */
export async function readInstances(bus: Bus): Promise<ReportedInstance[]> {
  try {
    const entries = await openBucket(bus, SERVICES_BUCKET).entries();
    return entries.flatMap((entry) => statusIn(entry) ?? []);
  } catch (error) {
    if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return [];
    throw error;
  }
}

/** Null if it cannot be read. */
function statusIn(entry: KvEntry): ReportedInstance | null {
  const status = storedInstance(entry);
  return status === null ? null : atBusTime(status, entry.timestampMicros / 1000);
}

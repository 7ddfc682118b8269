/** Statuses that instances of the services publish (`bailiff_services`), with all of their times by the bus's clock. */
import { type Bus, BusError, type KvEntry, openBucket, SERVICES_BUCKET } from '@bailiff/bus';
import { type InstanceStatus, instanceStatus } from '@bailiff/schemas';
import { parseJson } from './nodes.ts';

/** All that can be read; none on a bus that was set up before there was such a bucket. @throws BusError */
export async function readInstances(bus: Bus): Promise<InstanceStatus[]> {
  try {
    const entries = await openBucket(bus, SERVICES_BUCKET).entries();
    return entries.flatMap((entry) => statusIn(entry) ?? []);
  } catch (error) {
    if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return [];
    throw error;
  }
}

/** null when it cannot be read. */
function statusIn({ value, timestampMicros }: KvEntry): InstanceStatus | null {
  const status = parseJson(value.toString('utf8'), instanceStatus);
  if (typeof status === 'string') return null;
  // The instance's own clock may be wrong: what it says of times is moved by as much.
  const shiftMs = timestampMicros / 1000 - Date.parse(status.updatedAt);
  const shifted = (time: string) => {
    const atMs = Date.parse(time) + shiftMs;
    return Number.isFinite(atMs) ? new Date(atMs).toISOString() : time;
  };
  return {
    ...status,
    updatedAt: new Date(timestampMicros / 1000).toISOString(),
    startedAt: shifted(status.startedAt),
    ...(status.ready ? { ready: { ...status.ready, since: shifted(status.ready.since) } } : {}),
  };
}

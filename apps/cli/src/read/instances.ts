/** What correlators, responders and ipam-syncs say of themselves (`bailiff_services`). */
import { type Bus, BusError, openBucket, SERVICES_BUCKET } from '@bailiff/bus';
import { type InstanceStatus, instanceStatus } from '@bailiff/schemas';
import { storedStatus } from './nodes.ts';

/** All that can be read; none on a bus that was set up before there was such a bucket. @throws BusError */
export async function readInstances(bus: Bus): Promise<InstanceStatus[]> {
  try {
    const entries = await openBucket(bus, SERVICES_BUCKET).entries();
    const read = entries.map((entry) => storedStatus(entry, instanceStatus));
    return read.filter((one) => typeof one !== 'string');
  } catch (error) {
    if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return [];
    throw error;
  }
}

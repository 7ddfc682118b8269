/** Health of the services. A failed read is a note and does not fail the command. */

import { BusError } from '@bailiff/bus';
import { readServiceStatus, type ServiceStatus } from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readInstances } from './instances.ts';

export async function readServices({ bus, note }: Reader): Promise<ServiceStatus | null> {
  try {
    return await readServiceStatus(bus, await readInstances(bus), { timeoutMs: 2 * bus.timeoutMs });
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    // A bus that is not set up is reported elsewhere.
    if (error.code !== 'BUS_NO_STREAM') note(`cannot read the status of the services: ${error.message}`);
    return null;
  }
}

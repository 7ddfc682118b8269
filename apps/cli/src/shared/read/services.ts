/** How the services do; what cannot be read is a note and no failure of the command that asked. */

import { BusError } from '@bailiff/bus';
import { readServiceStatus, type ServiceStatus } from '@bailiff/response';
import type { Session } from '../session.ts';
import { readInstances } from './instances.ts';

export async function readServices({ bus, out }: Session): Promise<ServiceStatus | null> {
  try {
    return await readServiceStatus(bus, await readInstances(bus));
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    // A bus that is not set up is reported as such.
    if (error.code !== 'BUS_NO_STREAM') out.note(`how the services do cannot be read: ${error.message}`);
    return null;
  }
}

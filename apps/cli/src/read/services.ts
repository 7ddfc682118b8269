/** How correlator and responder do; what cannot be told is a note and no failure of the command that asked. */
import { readServiceStatus, type ServiceStatus } from '@bailiff/answer';
import { BusError } from '@bailiff/bus';
import type { Session } from '../session.ts';

export async function readServices({ bus, out }: Session): Promise<ServiceStatus | null> {
  try {
    return await readServiceStatus(bus);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    // A bus that is not set up is told of as such.
    if (error.code !== 'BUS_NO_STREAM') out.note(`how correlator and responder do cannot be told: ${error.message}`);
    return null;
  }
}

/**
 * Reads which quarantined pods of a node are gone, from the status that its collector publishes. A
 * node reports on its own list only, so a false report ends nothing but its own quarantines.
 */
import { type Bus, BusError, encodeToken, openBucket } from '@bailiff/bus';
import { uidsOfStatus } from '@bailiff/schemas';

/** @returns UIDs; none without a valid status. @throws BusError */
export function goneQuarantines(bus: Bus): (nodeName: string) => Promise<ReadonlySet<string>> {
  const bucket = openBucket(bus, 'bailiff_nodes');
  return async (nodeName) => {
    try {
      const entry = await bucket.get(encodeToken(nodeName));
      return new Set(entry ? uidsOfStatus(entry.value.toString('utf8'), 'quarantinesGone') : []);
    } catch (error) {
      // Credentials of an older version may not read the status, and an injected reply has none.
      if (error instanceof BusError && ['BUS_PERMISSION', 'BUS_MESSAGE'].includes(error.code)) return new Set();
      throw error;
    }
  };
}

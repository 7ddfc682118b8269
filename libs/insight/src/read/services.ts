/** Services: the statuses of their instances, and their health. A failed read of the health is only a note. */

import { type Bus, BusError, type KvEntry, openBucket, SERVICES_BUCKET, storedInstance } from '@bailiff/bus';
import {
  healthOf,
  instancesOf,
  listAgeOf,
  type NodesInput,
  type ReportedInstance,
  type ReportedNode,
  readServiceStatus,
  type ServiceStatus,
} from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readExpectedNodes, readNodes } from './nodes.ts';
import { atBusTime } from './own-times.ts';
import { readBusTime } from './streams.ts';

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

/**
 * Statuses that service instances publish in `bailiff_services`, with their times converted to the
 * server's clock: all readable ones; none if the bus was set up before the bucket existed. @throws BusError
 */
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

/** What decides where policies are in force. @throws BusError */
export async function readNodesInput(
  reader: Reader,
  staleMs: number,
): Promise<Omit<NodesInput, 'nodes'> & { nodes: ReadonlyMap<string, ReportedNode | string> }> {
  const [nodes, expected, instances, nowMs] = await Promise.all([
    readNodes(reader),
    readExpectedNodes(reader),
    readInstances(reader.bus),
    readBusTime(reader),
  ]);
  const listAgeMs = listAgeOf(healthOf(instancesOf('ipam-sync', instances, nowMs), null, nowMs));
  return { nodes, expected, listAgeMs, nowMs, staleMs };
}

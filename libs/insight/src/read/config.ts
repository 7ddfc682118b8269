/**
 * The stored configuration, with the reason why it is not in force: no reader can parse a value, or all of
 * its readers report that they refuse it, such as for its signature.
 */
import { CONFIG_BUCKET, type KvEntry, openBucket } from '@bailiff/bus';
import { configRefusal } from '@bailiff/policy';
import { type ClusterFacts, refusalOfReaders, STALE_NODE_MS, type StoredConfig } from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readInstances } from './instances.ts';
import { readNodes } from './nodes.ts';
import { readBusTime } from './streams.ts';

export type ConfigReaders = Pick<ClusterFacts, 'nodes' | 'instances' | 'nowMs' | 'staleMs'>;

/** Pure. */
export function configValue(entry: KvEntry, readers: ConfigReaders): StoredConfig {
  const { key, value, revision, timestampMicros } = entry;
  const json = value.toString('utf8');
  const storedMs = timestampMicros / 1000;
  const refused = configRefusal(key, json) || refusalOfReaders({ key, storedMs }, readers);
  return { key, json, refused, revision, storedMs };
}

/** @throws BusError */
export async function readConfigReaders(reader: Reader): Promise<ConfigReaders> {
  const [nodes, instances, nowMs] = await Promise.all([
    readNodes(reader),
    readInstances(reader.bus),
    readBusTime(reader),
  ]);
  return { nodes, instances, nowMs, staleMs: STALE_NODE_MS };
}

/** @param filter keys, such as `disarm.>`; default: all. @throws BusError */
export async function readConfigValues(reader: Reader, filter?: string): Promise<StoredConfig[]> {
  const bucket = openBucket(reader.bus, CONFIG_BUCKET);
  const [entries, readers] = await Promise.all([bucket.entries(filter), readConfigReaders(reader)]);
  return entries.map((entry) => configValue(entry, readers));
}

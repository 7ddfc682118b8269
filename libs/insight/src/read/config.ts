/**
 * The stored configuration, with the reason why it is not in force: no reader can parse a value, or all of
 * its readers report that they refuse it, such as for its signature.
 */
import { BusError, CONFIG_BUCKET, type KvEntry, openBucket } from '@bailiff/bus';
import {
  ConfigError,
  type ConfigKey,
  configRefusal,
  type Disarm,
  parseConfigKey,
  parseConfigValue,
} from '@bailiff/policy';
import {
  type ActiveDisarm,
  type ClusterFacts,
  isAcceptedByReaders,
  refusalOfReaders,
  STALE_NODE_MS,
  type StoredConfig,
} from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readNodes } from './nodes.ts';
import { readInstances } from './services.ts';
import { readBusTime } from './streams.ts';

export type ConfigReaders = Pick<ClusterFacts, 'nodes' | 'instances' | 'nowMs' | 'staleMs'>;

/** Pure. */
export function configValue(entry: KvEntry, readers: ConfigReaders): StoredConfig {
  const { key, value, revision, timestampMicros } = entry;
  const json = value.toString('utf8');
  const storedMs = timestampMicros / 1000;
  const own = configRefusal(key, json);
  const stored = { key, json, revision, storedMs };
  if (own === '') return { ...stored, refused: refusalOfReaders(stored, readers) };
  return { ...stored, refused: own, ...(isAcceptedByReaders(stored, readers) ? { refusedHere: true } : {}) };
}

/** Nodes whose statuses cannot be read are not known to refuse a value: what is stored is shown all the same. */
async function readingNodes(reader: Reader): Promise<ConfigReaders['nodes']> {
  try {
    return await readNodes(reader);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    reader.note(`which values nodes refuse is not known: ${error.message}`);
    return new Map();
  }
}

/** @throws BusError */
export async function readConfigReaders(reader: Reader): Promise<ConfigReaders> {
  const [nodes, instances, nowMs] = await Promise.all([
    readingNodes(reader),
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

/** A disarm (break-glass) in `bailiff_config`. */
export interface StoredDisarm extends ActiveDisarm {
  key: ConfigKey;
  /** Why every node refuses it, such as a missing signature; empty: it is in force. */
  refused: string;
}

/** `the whole cluster`, `node node-a`, `namespace shop`. */
export function scopeOf(key: ConfigKey): string {
  if (key.scope === 'cluster') return 'the whole cluster';
  return key.scope === 'node' ? `node ${key.name}` : `namespace ${key.namespace}`;
}

/** Parses one entry; null if it has ended or readers refuse it. Pure. */
export function disarmOf(keyText: string, json: string, nowMs: number): Omit<StoredDisarm, 'refused'> | null {
  try {
    const key = parseConfigKey(keyText);
    const { until, by, reason } = parseConfigValue(key, json) as Disarm;
    const untilMs = Date.parse(until);
    return untilMs > nowMs ? { key, scope: scopeOf(key), untilMs, by, reason } : null;
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

export async function readDisarms(reader: Reader): Promise<StoredDisarm[]> {
  const [values, nowMs] = await Promise.all([readConfigValues(reader, 'disarm.>'), readBusTime(reader)]);
  return values
    .flatMap(({ key, json, refused }) => {
      const disarm = disarmOf(key, json, nowMs);
      return disarm ? { ...disarm, refused } : [];
    })
    .sort((a, b) => a.untilMs - b.untilMs);
}

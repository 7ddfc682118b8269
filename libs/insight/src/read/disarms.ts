/** Disarms (break-glass) that are in force, from `bailiff_config`. */
import { CONFIG_BUCKET, openBucket } from '@bailiff/bus';
import { ConfigError, type ConfigKey, type Disarm, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { type ActiveDisarm, refusalOfReaders, STALE_NODE_MS } from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readNodes } from './nodes.ts';
import { readBusTime } from './streams.ts';

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
  const [entries, nodes, nowMs] = await Promise.all([
    openBucket(reader.bus, CONFIG_BUCKET).entries('disarm.>'),
    readNodes(reader),
    readBusTime(reader),
  ]);
  const readers = { nodes, instances: [], nowMs, staleMs: STALE_NODE_MS };
  return entries
    .flatMap(({ key, value, timestampMicros }) => {
      const disarm = disarmOf(key, value.toString('utf8'), nowMs);
      return disarm ? { ...disarm, refused: refusalOfReaders({ key, storedMs: timestampMicros / 1000 }, readers) } : [];
    })
    .sort((a, b) => a.untilMs - b.untilMs);
}

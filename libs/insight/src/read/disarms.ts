/** Disarms (break-glass) that are in force, from `bailiff_config`. */
import { CONFIG_BUCKET, openBucket } from '@bailiff/bus';
import { ConfigError, type ConfigKey, type Disarm, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import type { ActiveDisarm } from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readBusTime } from './streams.ts';

export interface StoredDisarm extends ActiveDisarm {
  key: ConfigKey;
}

/** `the whole cluster`, `node node-a`, `namespace shop`. */
export function scopeOf(key: ConfigKey): string {
  if (key.scope === 'cluster') return 'the whole cluster';
  return key.scope === 'node' ? `node ${key.name}` : `namespace ${key.namespace}`;
}

/** Parses one entry; null if it has ended or readers refuse it. Pure. */
export function disarmOf(keyText: string, json: string, nowMs: number): StoredDisarm | null {
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
  const [entries, nowMs] = await Promise.all([
    openBucket(reader.bus, CONFIG_BUCKET).entries('disarm.>'),
    readBusTime(reader),
  ]);
  return entries
    .map((entry) => disarmOf(entry.key, entry.value.toString('utf8'), nowMs))
    .filter((disarm) => disarm !== null)
    .sort((a, b) => a.untilMs - b.untilMs);
}

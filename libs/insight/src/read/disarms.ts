/** Disarms (break-glass) that are in force, from `bailiff_config`. */
import { ConfigError, type ConfigKey, type Disarm, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import type { ActiveDisarm } from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { readConfigValues } from './config.ts';
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
  const [values, nowMs] = await Promise.all([readConfigValues(reader, 'disarm.>'), readBusTime(reader)]);
  return values
    .flatMap(({ key, json, refused }) => {
      const disarm = disarmOf(key, json, nowMs);
      return disarm ? { ...disarm, refused } : [];
    })
    .sort((a, b) => a.untilMs - b.untilMs);
}

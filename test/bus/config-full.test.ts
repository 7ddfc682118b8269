// CONFIG_LOG keeps the newest value of every key, whatever is written to other keys: it has room
// for everything that the bucket can hold. The limits are those of the topology, divided by SCALE.

import { type Bus, getLastMessage, openBucket, streamConfigs, streamInfo, type WantedStream } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';

const SCALE = 64;
const OPERATORS = ['correlation.cluster._.mine', 'response.cluster._.mine', 'disarm.cluster._.all'];

async function createScaled(bus: Bus, more: Partial<WantedStream>): Promise<void> {
  for (const wanted of streamConfigs().filter(({ name }) => ['KV_bailiff_config', 'CONFIG_LOG'].includes(name))) {
    const scaled = { ...wanted, ...(wanted.name === 'CONFIG_LOG' ? more : {}) };
    scaled.max_bytes = Math.ceil((scaled.max_bytes ?? 0) / SCALE);
    if (scaled.max_msgs !== undefined) scaled.max_msgs = Math.ceil(scaled.max_msgs / SCALE);
    await bus.jsm.streams.add(scaled);
  }
}

async function inLog(bus: Bus, key: string): Promise<string | null> {
  const message = await getLastMessage(bus, 'CONFIG_LOG', `bailiff.v1.config.${key}`);
  return message && Buffer.from(message.data).toString();
}

/** 1,100 values of one key, of which the bucket keeps 64. The log gets each of them. */
async function floodOneKey(bus: Bus): Promise<void> {
  const bucket = openBucket(bus, 'bailiff_config');
  const key = 'spoof.namespace.mine.default';
  for (let n = 0; n < 1_100; n += 1) {
    const value = `${n}`.padEnd(5_000);
    await bucket.put(key, value);
    if (n % 50 === 0) await waitFor(async () => (await inLog(bus, key)) === value, { what: 'the log to follow' });
  }
}

/** Keys until the bucket is full: without a value, but with the longest subject that fits a line. */
async function floodLongKeys(bus: Bus): Promise<void> {
  const bucket = openBucket(bus, 'bailiff_config');
  for (let n = 0; ; n += 1) {
    try {
      await bucket.put(`spoof.workload.${`${n}`.padStart(3_900, 'n')}`, '');
    } catch (error) {
      expect(error).toMatchObject({ code: 'BUS_FULL' });
      return;
    }
  }
}

/** Short keys until the bucket is full. */
async function floodShortKeys(bus: Bus): Promise<void> {
  const bucket = openBucket(bus, 'bailiff_config');
  for (let n = 0; ; n += 1) {
    try {
      await bucket.put(`s.${n}`, '');
    } catch (error) {
      expect(error).toMatchObject({ code: 'BUS_FULL' });
      return;
    }
  }
}

/** Keys of the bucket whose newest value the log lacks. */
async function missingInLog(bus: Bus): Promise<string[]> {
  const entries = await openBucket(bus, 'bailiff_config').entries();
  const last = entries.reduce((a, b) => (a.revision > b.revision ? a : b));
  await waitFor(async () => (await inLog(bus, last.key)) === last.value.toString(), { what: 'the log to follow' });
  const missing: string[] = [];
  for (const { key, value } of entries) if ((await inLog(bus, key)) !== value.toString()) missing.push(key);
  return missing;
}

describe('a configuration log under a flood of one writer', () => {
  it.each([
    ['1,100 large values of one key', floodOneKey],
    ['the longest keys', floodLongKeys],
    ['the shortest keys', floodShortKeys],
  ])('%s - it keeps the newest value of every key', async (_name, flood) => {
    await using nats = await startNats();
    const admin = await nats.connect('admin');
    await createScaled(admin, {});
    for (const key of OPERATORS) await openBucket(admin, 'bailiff_config').put(key, '{"revision":1}');
    await flood(admin);
    expect(await missingInLog(admin)).toEqual([]);
    const { config, state } = await streamInfo(admin, 'CONFIG_LOG');
    expect(state.bytes).toBeLessThan(config.max_bytes);
  });

  it('control - a log with more revisions a key and fewer bytes loses the values of the operators', async () => {
    await using nats = await startNats();
    const admin = await nats.connect('admin');
    await createScaled(admin, { max_msgs_per_subject: 1_024, max_bytes: 256 * 1024 ** 2 });
    for (const key of OPERATORS) await openBucket(admin, 'bailiff_config').put(key, '{"revision":1}');
    await floodOneKey(admin);
    expect((await missingInLog(admin)).sort()).toEqual([...OPERATORS].sort());
  });
});

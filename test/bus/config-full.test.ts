// CONFIG_LOG, and the copy of the quarantine lists, keep the newest value of every key, whatever is written to other
// keys: they have room for everything that their bucket can hold. The limits are those of the topology, divided by SCALE.

import {
  type Bus,
  getLastMessage,
  getMessage,
  openBucket,
  QUARANTINE_MAX_KEYS,
  streamConfigs,
  streamInfo,
  type WantedStream,
} from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { RawNats } from '../support/raw-nats.ts';

const SCALE = 64;
const SCALED = ['KV_bailiff_config', 'CONFIG_LOG', 'KV_bailiff_quarantine', 'LATEST_bailiff_quarantine'];
const MIB = 1024 ** 2;
const OPERATORS = ['correlation.cluster._.mine', 'response.cluster._.mine', 'disarm.cluster._.all'];

async function createScaled(bus: Bus, more: Readonly<Record<string, Partial<WantedStream>>>): Promise<void> {
  for (const wanted of streamConfigs().filter(({ name }) => SCALED.includes(name))) {
    const scaled = { ...wanted, ...more[wanted.name] };
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
    await createScaled(admin, { CONFIG_LOG: { max_msgs_per_subject: 1_024, max_bytes: 256 * MIB } });
    for (const key of OPERATORS) await openBucket(admin, 'bailiff_config').put(key, '{"revision":1}');
    await floodOneKey(admin);
    expect((await missingInLog(admin)).sort()).toEqual([...OPERATORS].sort());
  });
});

/** Keys of an operator's credential, as long as the bucket takes them. @returns whether the copy then has the list of node-a */
async function floodLists(more: Readonly<Record<string, Partial<WantedStream>>>, keyOf: (n: number) => string) {
  await using nats = await startNats();
  const admin = await nats.connect('admin');
  await createScaled(admin, more);
  const lists = openBucket(admin, 'bailiff_quarantine');
  await lists.put('node-a', '{}');
  await using raw = await RawNats.connect({ port: nats.port, user: 'cli', password: 'password-of-cli' });
  const isFull = (n: number) =>
    raw.store({ subject: `$KV.bailiff_quarantine.last${n}`, body: '' }).then(
      () => false,
      (error: Error) => /maximum (bytes|messages) exceeded/.test(error.message),
    );
  for (let n = 0; !(await isFull(n)); )
    for (const end = n + 500; n < end; n += 1) raw.publish({ subject: `$KV.bailiff_quarantine.${keyOf(n)}` });
  const { last_seq: seq, num_subjects: keys = 0 } = (await streamInfo(admin, 'KV_bailiff_quarantine')).state;
  const newest = await getMessage(admin, 'KV_bailiff_quarantine', seq);
  const isRead = () => getLastMessage(admin, 'LATEST_bailiff_quarantine', newest?.subject ?? '');
  await waitFor(isRead, { what: 'the copy to follow' });
  const isCopied = (await getLastMessage(admin, 'LATEST_bailiff_quarantine', '$KV.bailiff_quarantine.node-a')) !== null;
  return { isCopied, keys };
}

const EARLIER = { KV_bailiff_quarantine: { max_msgs: -1 }, LATEST_bailiff_quarantine: { max_bytes: 72 * MIB } };

const shortest = (n: number) => `${n}`;

describe('quarantine lists under a flood of keys', () => {
  it.each([
    ['the longest', (n: number) => `${n}`.padStart(3_900, 'n')],
    ['the shortest', shortest],
  ])('%s - nodes still read theirs', async (_, keyOf) => {
    const { isCopied, keys } = await floodLists({}, keyOf);
    expect(isCopied).toBe(true);
    expect(keys).toBeLessThanOrEqual(QUARANTINE_MAX_KEYS / SCALE);
  });

  it('control - without a limit of keys they do not', async () => {
    const { isCopied, keys } = await floodLists(EARLIER, shortest);
    expect(isCopied).toBe(false);
    expect(keys).toBeGreaterThan(QUARANTINE_MAX_KEYS / SCALE);
  });
});

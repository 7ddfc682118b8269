/**
 * Correlators and responders read the configuration from CONFIG_LOG, into which the server copies the
 * bucket by its revisions. A bucket that was made again begins below the last copied one.
 */
import { CONFIG_BUCKET, deleteConfig, ensureTopology, openBucket, writeConfig } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readUnlogged } from '../../libs/insight/src/read/unlogged.ts';
import { startBus } from '../support/bus.ts';
import { followConfig, logged } from '../support/config-log.ts';

const ME = { by: 'anna', why: 'a test' };
const MINUTE_MS = 60_000;
const keyOf = (name: string) => `correlation.cluster._.${name}`;
const rule = (gte: number) => ({ type: 'event_count', level: 'low', timespan: '60s', condition: { gte } });

test('configuration - what CONFIG_LOG lacks since its bucket was made again is named, until the log is made again', async () => {
  await using nats = await startBus();
  const [admin, cli] = [await nats.connect('admin'), await nats.connect('cli')];
  const { signal } = new AbortController();
  const unlogged = async (inMs = MINUTE_MS) => {
    const entries = await openBucket(cli, CONFIG_BUCKET).entries('>', { deleted: true });
    return readUnlogged({ bus: cli, signal, note: console.error }, entries, Date.now() + inMs);
  };
  const write = (name: string, gte: number) => writeConfig(cli, keyOf(name), rule(gte), ME);
  for (const name of ['changed', 'same', 'gone', 'deleted']) await write(name, 5);
  await deleteConfig(cli, keyOf('deleted'), ME);
  await waitFor(async () => (await admin.jsm.streams.info('CONFIG_LOG')).state.last_seq === 5, {
    what: 'the whole log',
  });
  expect(await unlogged(), 'control').toEqual([]);

  await admin.jsm.streams.delete(`KV_${CONFIG_BUCKET}`);
  await ensureTopology(admin);
  await write('changed', 7);
  await write('same', 5);
  expect(await unlogged()).toEqual([keyOf('changed'), keyOf('gone')]);
  expect(await unlogged(0), 'control: a copy may be on its way').toEqual([]);

  const log = followConfig(cli);
  await waitFor(() => log.newest().size === 4, { what: 'the former log' });
  expect(log.newest().get(keyOf('changed'))?.json).toContain('5');
  await admin.jsm.streams.delete('CONFIG_LOG');
  await ensureTopology(admin);
  const stored = await write('changed', 9);
  await logged(admin, stored);
  await waitFor(() => log.newest().get(keyOf('changed'))?.json === stored.json, {
    what: 'the change',
    timeoutMs: 30_000,
  });
  expect(await unlogged()).toEqual([]);
  await log.log.close();
});

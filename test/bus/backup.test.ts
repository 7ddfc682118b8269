// Follows docs/operations.md, "Backup and restore": runs its commands on a store with streams,
// buckets and a consumer, destroys the store, and restores it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  consumeOrdered,
  consumerConfigs,
  FramePublisher,
  openBucket,
  streamConfigs,
  streamInfo,
  violationSubject,
  writeConfig,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readAll, startBus, text } from '../support/bus.ts';

const PAGE = readFileSync(path.resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8');

/** A command block of the page, for another store directory. */
function commands(name: string, store: string): string {
  const block = new RegExp(`<!-- test: ${name} -->\n\`\`\`sh\nSTORE=.*\n([\\s\\S]*?)\`\`\``).exec(PAGE)?.[1];
  if (block === undefined) throw new Error(`docs/operations.md has no commands to ${name}`);
  return `set -eu\nSTORE='${store}'\n${block}`;
}

async function publish(nats: TestNats, from: number, to: number): Promise<void> {
  const bus = await nats.connect('collector-node-a');
  const publisher = new FramePublisher(bus);
  for (let n = from; n <= to; n += 1)
    await publisher.publish(violationSubject('node-a', 'spoof'), Buffer.from(`frame ${n}`), { msgId: `m${n}` });
  publisher.close();
  await bus.close();
}

/**
 * Inventory by stream: number of messages, last sequence, time of the first message, and the
 * positions of the durable consumers.
 */
async function inventory(nats: TestNats): Promise<Record<string, unknown>> {
  const admin = await nats.connect('admin');
  const found: Record<string, unknown> = {};
  for (const { name } of streamConfigs()) {
    const { created, state } = await streamInfo(admin, name);
    found[name] = [created, state.messages, state.first_seq, state.last_seq];
  }
  for (const { stream, config } of consumerConfigs()) {
    const { ack_floor, num_pending } = await admin.jsm.consumers.info(stream, config.durable_name);
    found[config.durable_name] = [ack_floor.stream_seq, num_pending];
  }
  await admin.close();
  return found;
}

test('backup - after a restore, every stream, bucket and consumer is as before, and works', async () => {
  await using nats = await startBus();
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-backup-'));
  const type = (name: string) =>
    execFileSync('sh', ['-c', commands(name, nats.storeDir)], { cwd: directory, stdio: 'pipe' });
  try {
    await publish(nats, 1, 50);
    const admin = await nats.connect('admin');
    await writeConfig(admin, 'spoof.cluster._.default', { modes: { tunnel: 'audit' } }, { by: 'alice', why: 'a test' });
    await admin.nc.request('bailiff.v1.siem.ocsf.network-activity.shop', '{"n":1}');
    // The server fills the log of the configuration from the bucket.
    const logged = async () => (await streamInfo(admin, 'CONFIG_LOG')).state.messages === 1;
    await waitFor(logged, { what: 'the revision in CONFIG_LOG' });
    await admin.close();
    const before = await inventory(nats);
    expect(before['VIOLATIONS']).toEqual([expect.any(String), 50, 1, 50]);

    await nats.kill();
    type('back up');
    rmSync(nats.storeDir, { recursive: true });
    // The control: without the backup the store is empty.
    await nats.restart();
    await expect(inventory(nats)).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });

    await nats.kill();
    rmSync(nats.storeDir, { recursive: true });
    type('restore');
    await nats.restart();
    expect(await inventory(nats)).toEqual(before);
    const again = await nats.connect('admin');
    expect((await readAll(again, 'VIOLATIONS')).map(text)).toEqual(
      Array.from({ length: 50 }, (_, n) => `frame ${n + 1}`),
    );
    expect((await openBucket(again, 'bailiff_config').get('spoof.cluster._.default'))?.value.toString()).toContain(
      'tunnel',
    );
    await again.close();
    await publish(nats, 51, 60);
    expect((await inventory(nats))['VIOLATIONS']).toEqual([expect.any(String), 60, 1, 60]);

    // A reader whose position is beyond the backup starts again and misses no later message.
    const bus = await nats.connect('cli');
    const seen: string[] = [];
    const end = new AbortController();
    const reading = consumeOrdered(bus, 'VIOLATIONS', {
      start: 'all',
      onMessage: (message) => void seen.push(text(message)),
      signal: end.signal,
    });
    await waitFor(() => seen.length === 60, { what: 'all to be read', state: () => seen.length });
    await nats.kill();
    rmSync(nats.storeDir, { recursive: true });
    type('restore');
    await nats.restart();
    await waitFor(() => seen.length === 110, {
      what: 'the backup to be read again',
      state: () => seen.length,
    });
    await publish(nats, 61, 62);
    await waitFor(() => seen.at(-1) === 'frame 62', { what: 'what comes after', state: () => seen.slice(-3) });
    expect(seen.slice(60)).toEqual([...Array.from({ length: 50 }, (_, n) => `frame ${n + 1}`), 'frame 61', 'frame 62']);
    end.abort();
    await reading;
    await bus.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

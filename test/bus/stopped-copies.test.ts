// The server adds a header to what it copies from a bucket. Above 64 KiB of headers it refuses the message in the
// copy, and repeats it without an end: the copy gets nothing more, also after a restart. The bucket takes the message,
// and no setting of the server limits headers. The copies go on once the bucket has lost the message, as
// docs/bus-credentials.md says.
import { CONFIG_HISTORY, openBucket } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { readUnlogged } from '../../libs/insight/src/read/unlogged.ts';
import { startBus } from '../support/bus.ts';
import { headerBlock, RawNats } from '../support/raw-nats.ts';

const KEY = 'spoof.cluster._.default';
const OTHER = 'spoof.namespace.a.default';
const COPIES = ['CONFIG_LOG', 'LATEST_bailiff_config'];
const LONGEST = 65_535;

test.each([
  ['a header of 32 KiB does not', 32_768, false],
  [
    'the longest header stops them, until its key was overwritten as often as the bucket keeps revisions',
    LONGEST,
    true,
  ],
])(
  'copies of the configuration - %s',
  async (_what, length, stops) => {
    await using nats = await startBus();
    const admin = await nats.connect('admin');
    const lastOf = async (stream: string) => (await admin.jsm.streams.info(stream)).state.last_seq;
    const areAt = async (sequence: number) => (await Promise.all(COPIES.map(lastOf))).every((last) => last >= sequence);
    const header = headerBlock(`a: ${'v'.repeat(length - headerBlock('a: ').length)}`);
    await using thief = await RawNats.connect({ port: nats.port, user: 'cli', password: 'password-of-cli' });
    thief.publish({ subject: `$KV.bailiff_config.${KEY}`, header, body: '{}' });
    await thief.flush();
    await waitFor(async () => (await lastOf('KV_bailiff_config')) === 1, { what: 'the message in the bucket' });
    const bucket = openBucket(admin, 'bailiff_config');
    await bucket.put(OTHER, '{}');
    const isRefused = () => nats.log.includes('maximum payload exceeded');
    await waitFor(async () => isRefused() || (await areAt(2)), { what: 'the copies', state: () => nats.log });
    expect([isRefused(), await areAt(1)]).toEqual([stops, !stops]);
    if (stops) {
      const from = nats.log.length;
      await nats.restart();
      await admin.whenConnected();
      const isRefusedAgain = () => nats.log.slice(from).includes('maximum payload exceeded');
      await waitFor(isRefusedAgain, { what: 'the copies after a restart', state: () => nats.log.slice(from) });
    }
    const entries = await bucket.entries('>', { deleted: true });
    const reader = { bus: admin, signal: new AbortController().signal, note: console.error };
    const unlogged = await readUnlogged(reader, entries, Date.now() + 60_000);
    expect(unlogged, 'what status names').toEqual(stops ? [OTHER] : []);
    for (let revision = 0; stops && revision < CONFIG_HISTORY; revision += 1) await bucket.put(KEY, '{}');
    const state = () => nats.log.slice(-500);
    await waitFor(() => areAt(2), { what: 'the copies to go on', timeoutMs: 40_000, state });
  },
  60_000,
);

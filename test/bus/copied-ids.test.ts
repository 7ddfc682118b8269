// A bucket stores a message whose id it has forgotten. Its copies got the former one later, so they may still know
// the id: nats-server 2.15 then drops the message from the copy without an error, and 2.10 repeats it until the copy
// has forgotten the id too. So a writer would decide which of its changes CONFIG_LOG lacks.
import { openBucket, streamConfigs } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startBus } from '../support/bus.ts';

const BUCKET = 'KV_bailiff_config';
const COPIES = { CONFIG_LOG: 'bailiff.v1.config.', LATEST_bailiff_config: '$KV.bailiff_config.' };
const keyOf = (name: string) => `spoof.cluster._.${name}`;
const nanos = (ms: number) => ms * 1_000_000;
const windowOf = (name: string) => streamConfigs().find((one) => one.name === name)?.duplicate_window ?? 0;

test.each([
  ['every copy has it', windowOf('CONFIG_LOG'), true],
  ['the control: copies that remember ids as long as SIEM lack it', windowOf('SIEM'), false],
])('a message whose id its bucket has forgotten - %s', async (_what, copyWindow, isCopied) => {
  await using nats = await startBus();
  const admin = await nats.connect('admin');
  const cli = openBucket(await nats.connect('cli'), 'bailiff_config');
  const headers = { 'Nats-Msg-Id': 'the-same' };
  // Instead of ten seconds; also longer than the window of copies.
  await admin.jsm.streams.update(BUCKET, { duplicate_window: nanos(1_000) });
  for (const copy of Object.keys(COPIES)) await admin.jsm.streams.update(copy, { duplicate_window: copyWindow });
  const isIn = async (copy: string, name: string) => {
    const last_by_subj = COPIES[copy as keyof typeof COPIES] + keyOf(name);
    return (await admin.jsm.streams.getMessage(copy, { last_by_subj }).catch(() => null)) !== null;
  };
  const copies = (name: string) => Promise.all(Object.keys(COPIES).map((copy) => isIn(copy, name)));
  const areAll = async (name: string) => (await copies(name)).every(Boolean);
  await cli.put(keyOf('first'), '{}', { headers });
  await waitFor(() => areAll('first'), { what: 'the first one in the copies' });
  const stored = () => admin.jsm.streams.info(BUCKET).then(({ state }) => state.last_seq);
  await waitFor(
    async () => {
      await cli.put(keyOf('second'), '{}', { headers }).catch(() => undefined);
      return (await stored()) === 2;
    },
    { what: 'the bucket to forget the id' },
  );
  await cli.put(keyOf('later'), '{}');
  const isPassed = async () => nats.log.includes('msgid is duplicate') || (await areAll('later'));
  await waitFor(isPassed, { what: 'the copies to go on', state: () => nats.log });
  expect(await copies('second')).toEqual([isCopied, isCopied]);
});

test('every copy forgets ids long before its bucket', () => {
  const copies = streamConfigs().filter(({ sources }) => sources);
  expect(copies).toHaveLength(4);
  for (const { name, duplicate_window = 0, sources } of copies)
    for (const source of sources ?? [])
      expect(windowOf(source.name), name).toBeGreaterThanOrEqual(100 * duplicate_window);
});

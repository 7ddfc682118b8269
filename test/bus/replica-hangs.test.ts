/**
 * One of three servers hangs, or its node has lost the network: for up to a minute, the others go on sending it their
 * part of the direct gets. A program that a person waits for asks again.
 */
import { type Bus, getLastMessage, openBucket, readToEnd } from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBus } from '../support/bus.ts';

const STREAM = 'KV_bailiff_config';
const SUBJECT = '$KV.bailiff_config.spoof.cluster._.default';
const TIMEOUT_MS = 1_000;

let nats: TestNats;
beforeAll(async () => {
  nats = await startBus();
  await openBucket(await nats.connect('admin'), 'bailiff_config').put('spoof.cluster._.default', '{}');
}, 60_000);
afterAll(() => nats?.stop());

/** The next `count` direct gets go to a replica that hangs; the others are late until they are delivered. */
function loseGets({ nc }: Bus, count: number) {
  const publish = nc.publish.bind(nc);
  const lost: (() => void)[] = [];
  nc.publish = (subject, payload, options) => {
    const send = () => publish(subject, payload, options);
    if (subject.startsWith('$JS.API.DIRECT.GET.') && lost.length < count) return void lost.push(send);
    // The replica works again: its responses come beside those of the others.
    for (const late of lost) late();
    send();
  };
}

const READS: Record<string, (bus: Bus) => Promise<unknown>> = {
  'a message': async (bus) => (await getLastMessage(bus, STREAM, SUBJECT))?.subject,
  'a stream': async (bus) => {
    const subjects: string[] = [];
    await readToEnd(bus, STREAM, {
      start: 'all',
      silenceMs: TIMEOUT_MS,
      onMessage: ({ subject }) => void subjects.push(subject),
    });
    return subjects;
  },
};
const FOUND: Record<string, unknown> = { 'a message': SUBJECT, 'a stream': [SUBJECT] };

test.each(Object.keys(READS))('%s is read although the first two requests are lost', async (what) => {
  const bus = await nats.connect('cli', { timeoutMs: TIMEOUT_MS, repeatsReads: true });
  loseGets(bus, 2);
  expect(await READS[what]?.(bus)).toEqual(FOUND[what]);
});

test.each(Object.keys(READS))(
  '%s: a client that does not ask again waits for its timeout (the control)',
  async (what) => {
    const bus = await nats.connect('cli', { timeoutMs: TIMEOUT_MS });
    loseGets(bus, 2);
    await expect(READS[what]?.(bus)).rejects.toMatchObject({ code: 'BUS_TIMEOUT' });
  },
);

test.each(Object.keys(READS))('%s: over a slow line it is not sent twice', async (what) => {
  const countSent = async (isSlow: boolean) => {
    const bus = await nats.connect('cli', { timeoutMs: TIMEOUT_MS, repeatsReads: true });
    const publish = bus.nc.publish.bind(bus.nc);
    let sent = 0;
    bus.nc.publish = (subject, payload, options) => {
      if (subject.startsWith('$JS.API.DIRECT.GET.')) sent += 1;
      else publish(subject, payload, options);
    };
    // The response to a ping is behind what the line still transfers.
    if (isSlow) bus.nc.rtt = () => new Promise(() => undefined);
    await expect(READS[what]?.(bus)).rejects.toMatchObject({ code: 'BUS_TIMEOUT' });
    return sent;
  };
  expect(await countSent(true)).toBe(1);
  // The control: a line that transfers nothing.
  expect(await countSent(false)).toBeGreaterThan(1);
});

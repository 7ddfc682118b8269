// One node that floods the relay: the events of other nodes stay on SIEM and are not late, and the
// violations of the node without an event are counted exactly. The control has no shares.

import { apiRequest, streamInfo } from '@bailiff/bus';
import { freePort } from '@bailiff/bus/testing';
import { encodeViolationFrame } from '@bailiff/schemas';
import { sampleFrame, sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { jetstream } from '@nats-io/jetstream';
import { describe, expect, it } from 'vitest';
import { SHARE_LIMITS, type ShareLimits } from '../../apps/siem-relay/src/node-shares.ts';
import { readAll } from '../support/bus.ts';
import { HttpReceiver } from './http-receiver.ts';
import { NODE, OTHER_NODE, RelayRig } from './siem-relay-rig.ts';

const MIB = 1024 ** 2;
const NO_SHARES: ShareLimits = {
  burst: 1e9,
  perSecond: 1e9,
  perSecondBehind: 1e9,
  decodedBurst: 1e12,
  decodedPerSecond: 1e12,
};
const FRAMES = 50;
const PER_FRAME = 64;

async function shrinkSiem(rig: RelayRig): Promise<void> {
  const { config } = await streamInfo(rig.admin, 'SIEM');
  await apiRequest(rig.admin, '$JS.API.STREAM.UPDATE.SIEM', { ...config, max_bytes: MIB });
}

interface Event {
  device: { name: string };
  class_uid: number;
  count: number;
}

/** The events that are on SIEM, oldest first. */
async function eventsOn(rig: RelayRig): Promise<Event[]> {
  return (await readAll(rig.admin, 'SIEM')).map(({ data }) => JSON.parse(Buffer.from(data).toString()));
}

/** Ten events of another node, a flood, and one more. @returns the events that are left */
async function flood(limits: ShareLimits) {
  await using rig = await RelayRig.start();
  await shrinkSiem(rig);
  const relay = await rig.relay([], limits);
  for (let n = 0; n < 10; n += 1) await rig.violations([sampleViolation()], 'spoof', OTHER_NODE);
  await rig.eventCount(10);
  const violations = Array.from({ length: PER_FRAME }, () => sampleViolation());
  await Promise.all(Array.from({ length: FRAMES }, () => rig.violations(violations)));
  await rig.violations([sampleViolation()], 'spoof', OTHER_NODE);
  await waitFor(async () => (await relay.metric('messages_total{stream="VIOLATIONS"}')) === FRAMES + 11, {
    what: 'the relay to read everything',
    timeoutMs: 60_000,
  });
  // A stop publishes what is due.
  const omitted = await relay.metric('omitted_events_total');
  await relay.stop();
  const events = await eventsOn(rig);
  return {
    omitted,
    ofOther: events.filter(({ device }) => device.name === OTHER_NODE).length,
    beforeLast: events.findLastIndex(({ device }) => device.name === OTHER_NODE),
    flooded: events.filter(({ device, class_uid }) => device.name !== OTHER_NODE && class_uid !== 1008).length,
    summaries: events.filter(({ class_uid }) => class_uid === 1008),
  };
}

/** A frame with one violation in the first block of its list, and the others in the second. */
function inTwoBlocks(): Buffer {
  const encoded = (count: number) =>
    Buffer.from(
      encodeViolationFrame(
        sampleFrame({
          nodeName: NODE,
          coverage: [],
          violations: Array.from({ length: count }, () => sampleViolation()),
        }),
      ),
    );
  const [first, rest] = [encoded(1), encoded(PER_FRAME - 1)];
  const count = first.findIndex((byte, at) => byte !== rest[at]);
  // Without the ends of both lists.
  return Buffer.concat([first.subarray(0, -2), rest.subarray(count)]);
}

describe('siem-relay - a node that floods', () => {
  it('with shares - the events of another node stay and come early; omitted violations are counted', async () => {
    const { omitted, ofOther, beforeLast, flooded, summaries } = await flood({
      ...SHARE_LIMITS,
      burst: 100,
      perSecond: 1,
      perSecondBehind: 1,
    });
    expect(ofOther).toBe(11);
    expect(beforeLast).toBeLessThan(200);
    expect(flooded + omitted).toBe(FRAMES * PER_FRAME);
    expect(summaries.length).toBeGreaterThan(0);
    expect(summaries.reduce((sum, { count }) => sum + count, 0)).toBe(omitted);
  });

  it('control: without shares - the events of another node are deleted before a connector reads them', async () => {
    const { omitted, ofOther, flooded } = await flood(NO_SHARES);
    expect(omitted).toBe(0);
    expect(flooded).toBeGreaterThan(100);
    expect(ofOther).toBe(1);
  });

  it.each([
    ['with a share', { ...SHARE_LIMITS, decodedBurst: 10 * PER_FRAME * 512, decodedPerSecond: 0 }],
    ['control: without a share', NO_SHARES],
  ])('frames that get no event, %s of what is decoded - decoded or not, all are counted', async (name, limits) => {
    await using rig = await RelayRig.start();
    const relay = await rig.relay([], limits);
    const whole = encodeViolationFrame(
      sampleFrame({ nodeName: NODE, violations: Array.from({ length: PER_FRAME }, () => sampleViolation()) }),
    );
    // A decoder reads it to its end before it refuses it.
    const cut = whole.subarray(0, -1);
    for (let n = 0; n < FRAMES; n += 1) await rig.violationBytes(cut);
    await rig.violations([sampleViolation()], 'spoof', OTHER_NODE);
    await waitFor(() => rig.events.some(({ text }) => text.includes(OTHER_NODE)), {
      what: 'the event of another node',
      timeoutMs: 60_000,
    });
    const decoded = await relay.metric('unreadable_total{stream="VIOLATIONS",reason="TRUNCATED"}');
    const omitted = await relay.metric('omitted_events_total');
    if (name === 'with a share') expect(decoded).toBeLessThan(10);
    else expect(decoded).toBe(FRAMES);
    expect(decoded * PER_FRAME + omitted).toBe(FRAMES * PER_FRAME);
  });

  it.each([
    ['cut', (frame: Buffer) => frame.subarray(0, -1)],
    ['whole', (frame: Buffer) => frame],
  ])('frames with a second block of violations, which they do not announce, %s - cost as much', async (_, of) => {
    await using rig = await RelayRig.start();
    const decodedBurst = 10 * PER_FRAME * 512;
    const relay = await rig.relay([], { ...SHARE_LIMITS, decodedBurst, decodedPerSecond: 0 });
    const frame = of(inTwoBlocks());
    for (let n = 0; n < FRAMES; n += 1) await rig.violationBytes(frame);
    await rig.violations([sampleViolation()], 'spoof', OTHER_NODE);
    await waitFor(() => rig.events.some(({ text }) => text.includes(OTHER_NODE)), {
      what: 'the event of another node',
      timeoutMs: 60_000,
    });
    // Of a frame that is not decoded, the one announced violation is counted.
    expect(await relay.metric('omitted_events_total')).toBeGreaterThan(FRAMES - 10);
  });

  it('readers that are behind - no unread event is deleted; when they have read, events follow again', async () => {
    await using rig = await RelayRig.start();
    await shrinkSiem(rig);
    const relay = await rig.relay([], { ...SHARE_LIMITS, burst: 400, perSecond: 1e6, perSecondBehind: 0 });
    await rig.violations();
    const js = jetstream((await rig.nats.connect('admin')).nc);
    const consumer = await js.consumers.get('SIEM', 'siem-ocsf');
    // From now on the consumer is in use.
    (await consumer.next())?.ack();
    const some = Array.from({ length: 10 }, () => sampleViolation());
    const isBehind = () => relay.metric('readers_behind');
    await waitFor(
      async () => {
        if ((await streamInfo(rig.admin, 'SIEM')).state.bytes < 0.6 * MIB) await rig.violations(some);
        return (await isBehind()) === 1;
      },
      { what: 'the consumer to be behind', timeoutMs: 60_000 },
    );
    for (let n = 0; n < 100; n += 1) await rig.violations(some);
    await waitFor(async () => (await relay.metric('omitted_events_total')) > 900, { what: 'omitted violations' });
    expect((await streamInfo(rig.admin, 'SIEM')).state.first_seq).toBe(1);
    await waitFor(
      async () => {
        for await (const message of await consumer.fetch({ max_messages: 1_000, expires: 1_000 })) message.ack();
        return (await isBehind()) === 0;
      },
      { what: 'the consumer to catch up', timeoutMs: 60_000 },
    );
    const before = rig.events.length;
    await rig.violations();
    await rig.eventCount(before + 1);
  });

  it('an output that gets verdicts only and is down - is not behind by the violations before its verdict', async () => {
    await using rig = await RelayRig.start();
    await shrinkSiem(rig);
    const port = await freePort();
    const relay = await rig.relay(['--alertmanager.urls', `http://127.0.0.1:${port}`], NO_SHARES);
    const some = Array.from({ length: 20 }, () => sampleViolation());
    const bytes = async () => (await streamInfo(rig.admin, 'SIEM')).state.bytes;
    const fill = async () => {
      if ((await bytes()) < 0.8 * MIB) await rig.violations(some);
      return (await bytes()) >= 0.8 * MIB;
    };
    await waitFor(fill, { what: 'SIEM to fill', timeoutMs: 60_000 });
    await rig.verdict();
    const failures = () => relay.metric(`output_failures_total{output="alertmanager-127-0-0-1-${port}"}`);
    await waitFor(async () => (await failures()) > 0, { what: 'the output to fail', timeoutMs: 30_000 });
    const looks: number[] = [];
    // The state of readers is read every two seconds.
    await waitFor(async () => looks.push(await relay.metric('readers_behind')) >= 6, {
      what: 'six looks',
      intervalMs: 1_000,
      timeoutMs: 30_000,
    });
    expect(looks).toEqual([0, 0, 0, 0, 0, 0]);
    // Control: what comes after the verdict counts.
    await waitFor(
      async () => {
        await rig.violations(some);
        return (await relay.metric('readers_behind')) === 1;
      },
      { what: 'the output to be behind', timeoutMs: 60_000 },
    );
  });

  it('an output that gets verdicts only - loses no violation that SIEM deletes; control: a verdict that it deletes is lost', async () => {
    await using rig = await RelayRig.start();
    await shrinkSiem(rig);
    await using receiver = await new HttpReceiver().start();
    const start = () => rig.relay(['--alertmanager.urls', receiver.url()], NO_SHARES);
    let relay = await start();
    await rig.verdict();
    await waitFor(() => receiver.accepted.length > 0, { what: 'the first alert', timeoutMs: 30_000 });
    const some = Array.from({ length: 20 }, () => sampleViolation());
    const first = async () => (await streamInfo(rig.admin, 'SIEM')).state.first_seq;
    /** Slowly, so that the relay looks at SIEM several times before it has deleted what was there. */
    const wrap = async (deleted: number, intervalMs: number) => {
      const from = await first();
      await waitFor(async () => (await rig.violations(some)) > 0 && (await first()) > from + deleted, {
        what: 'SIEM to delete its oldest events',
        intervalMs,
        timeoutMs: 60_000,
      });
    };
    await wrap(300, 250);
    const lost = () => relay.metric(`lost_messages_total{stream="alertmanager-127-0-0-1-${receiver.port}"}`);
    const looks: number[] = [];
    // SIEM is looked at every two seconds.
    const lookTo = (count: number) =>
      waitFor(async () => looks.push(await lost()) >= count, { what: 'looks', intervalMs: 1_000, timeoutMs: 30_000 });
    await lookTo(4);
    await relay.stop();
    relay = await start();
    await lookTo(8);
    expect(looks).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    await receiver.kill();
    await rig.verdict({ verdictId: 'b'.repeat(32) });
    await rig.verdict({ verdictId: 'c'.repeat(32) });
    await wrap(1_000, 50);
    await waitFor(async () => (await lost()) > 0, { what: 'a loss', timeoutMs: 30_000, state: lost });
  });
});

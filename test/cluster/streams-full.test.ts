// VERDICTS and RESPONSES filled by one tenant: verdicts and responses of others go on, no verdict is
// acted on twice, and no open quarantine is forgotten.

import {
  type Bus,
  ensureTopology,
  getMessage,
  isFull,
  publishOnce,
  responseSubject,
  streamInfo,
  verdictSubject,
} from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { encodeResponse, encodeVerdict, type Verdict } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import { type Clock, systemClock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import { DiscardPolicy } from '@nats-io/jetstream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type PublishOutcome, VerdictPublisher } from '../../apps/correlator/src/verdict-publisher.ts';
import { headerBlock, RawNats } from '../support/raw-nats.ts';
import { acting, NODE, Rig, type RigPod } from './responder/rig.ts';

/** The configuration of earlier versions. */
const REFUSING = { discard: DiscardPolicy.New };
const firstSequence = async (bus: Bus, stream: string) => (await streamInfo(bus, stream)).state.first_seq;

describe('VERDICTS full', () => {
  const LIMIT = 20;
  const verdictOf = (namespace: string, n: number) => {
    const pod = { uid: `uid-${n}`, namespace, name: `pod-${n}`, ownerKind: '', ownerName: '', ownerUid: '' };
    return sampleVerdict({ verdictId: `${namespace}-${n}`, pod, nodeName: NODE });
  };

  async function publisherOn(bus: Bus, signal: AbortSignal, clock: Clock = systemClock) {
    const seen = { outcomes: [] as [string, PublishOutcome][], retries: [] as string[] };
    const publisher = new VerdictPublisher({
      cluster: {},
      bus,
      clock,
      signal,
      onFailed: () => {},
      onFatal: () => {},
      onPublished: ({ verdictId }, outcome) => seen.outcomes.push([verdictId, outcome]),
      onRetry: (error) => seen.retries.push(String((error as { code?: unknown }).code)),
    });
    const offer = (verdict: Verdict, agoMs = 0) =>
      publisher.offer(verdict, { streamMicros: (Date.now() - agoMs) * 1000, isLive: true });
    for (let n = 1; n <= LIMIT; n += 1) offer(verdictOf('noisy', n));
    await publisher.whenPublished();
    return { ...seen, publisher, offer };
  }

  it('a neighbour’s verdict is stored; it was refused before', async () => {
    await using nats = await startNats();
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    const end = new AbortController();
    await admin.jsm.streams.update('VERDICTS', { max_msgs: LIMIT, ...REFUSING });
    const before = await publisherOn(await nats.connect('correlator'), end.signal);
    before.offer(verdictOf('shop', 1));
    // The control: it waits for ever.
    await waitFor(() => before.retries.includes('BUS_FULL'), { what: 'the refusal', state: () => before });
    // Set up again: in place, and what waits is stored.
    expect((await ensureTopology(admin)).changed).toEqual(['VERDICTS']);
    await before.publisher.whenPublished();
    expect(before.outcomes.at(-1)).toEqual(['shop-1', 'stored']);
    await admin.jsm.streams.update('VERDICTS', { max_msgs: LIMIT });
    before.offer(verdictOf('shop', 2));
    await before.publisher.whenPublished();
    expect(before.outcomes.at(-1)).toEqual(['shop-2', 'stored']);
    expect(await firstSequence(admin, 'VERDICTS')).toBe(3);
    end.abort();
  });

  it.each([
    ['right', 0],
    ['an hour behind', 3_600_000],
  ])('a verdict that was deleted is not stored again by a replay; a younger one is: clock %s', async (_, behindMs) => {
    await using nats = await startNats();
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    await admin.jsm.streams.update('VERDICTS', { max_msgs: LIMIT });
    const end = new AbortController();
    const bus = await nats.connect('correlator');
    // As at the start of a correlator.
    await streamInfo(bus, 'VERDICTS');
    const clock = { ...systemClock, nowMicros: () => systemClock.nowMicros() - behindMs * 1000 };
    const { publisher, offer, outcomes } = await publisherOn(bus, end.signal, clock);
    offer(verdictOf('shop', 1));
    await publisher.whenPublished();
    const replayed = verdictOf('noisy', 1);
    offer(replayed, 600_000);
    offer(verdictOf('shop', 1), 600_000);
    offer(verdictOf('shop', 2));
    await publisher.whenPublished();
    expect(outcomes.slice(-3).sort()).toEqual([
      ['noisy-1', 'expired'],
      ['shop-1', 'expired'],
      ['shop-2', 'stored'],
    ]);
    // The control: nothing else keeps it from being stored a second time.
    const again = await publishOnce(bus, verdictSubject(replayed), encodeVerdict(replayed));
    expect(again.outcome).toBe('stored');
    end.abort();
  });

  it('verdicts of a replay that are published at once ask once how far VERDICTS reaches back', async () => {
    await using nats = await startNats();
    await ensureTopology(await nats.connect('admin'));
    const end = new AbortController();
    const bus = await nats.connect('correlator');
    const { publisher, offer } = await publisherOn(bus, end.signal);
    const publish = vi.spyOn(bus.nc, 'publish');
    for (let n = 1; n <= LIMIT; n += 1) offer(verdictOf('shop', n), 600_000);
    await publisher.whenPublished();
    const requests = publish.mock.calls.filter(([subject]) => subject === '$JS.API.STREAM.INFO.VERDICTS');
    expect(requests).toHaveLength(1);
    end.abort();
  });
});

describe('RESPONSES full', () => {
  const LIMIT = 200;
  const BATCH = 10;
  let rig: Rig;
  let flooded = 0;
  beforeEach(async () => {
    rig = await Rig.start();
    await rig.policies({
      cut: acting('cut', [{ action: 'quarantine', expires: '1h' }]),
      flash: acting('flash', [{ action: 'quarantine', expires: '1s' }]),
      remove: acting('remove', [{ action: 'delete' }]),
      ask: acting('ask', [{ action: 'delete' }], { approval: 'required' }),
      flood: acting('flood', [{ action: 'label' }]),
    });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const start = () => rig.start({ scanIntervalMs: 100 });
  const limit = (more = {}) => rig.bus.jsm.streams.update('RESPONSES', { max_msgs: LIMIT, ...more });
  /** A tenant's verdicts about pods that are gone, each with one record. */
  async function flood(): Promise<void> {
    const pods: RigPod[] = Array.from({ length: BATCH }, () => {
      const name = `gone-${++flooded}`;
      return { namespace: 'noisy', name, uid: name, node: NODE };
    });
    const verdicts = await Promise.all(pods.map((pod) => rig.verdict(pod, { rule: 'flood' })));
    await Promise.all(verdicts.map((verdict) => rig.until(verdict, 'label', 'refused')));
  }
  /** Newest copy of the record of a phase. */
  const newest = (verdict: Verdict, phase: string) =>
    rig.responses.findLast((one) => one.verdictId === verdict.verdictId && one.phase === phase)?.sequence ?? 0;

  /** Floods until the stream has deleted everything up to a sequence. `kept` are not overtaken. */
  async function floodBeyond(sequence: number, kept: [Verdict, string][] = []): Promise<void> {
    while ((await firstSequence(rig.bus, 'RESPONSES')) <= sequence) {
      await flood();
      await waitFor(
        async () => {
          const info = await streamInfo(rig.bus, 'RESPONSES');
          // Records are stored again from the moment when the stream is full on, not when it deletes.
          const isAhead = (sequence: number) => sequence > info.state.first_seq + 2 * BATCH;
          return !isFull(info) || kept.every(([verdict, phase]) => isAhead(newest(verdict, phase)));
        },
        { what: 'the needed records to be stored again', intervalMs: 10 },
      );
    }
  }

  it('a neighbour gets its response; with a stream that refuses, it gets none', async () => {
    const responder = await start();
    await limit();
    await floodBeyond(1);
    const answered = await rig.verdict(rig.pod(), { rule: 'cut' });
    await rig.until(answered, 'quarantine', 'succeeded');
    const trimmed = () => responder.metric('stream_trimmed{stream="RESPONSES"}');
    await waitFor(async () => (await trimmed()) === 1, { what: 'the metric', state: trimmed });
    // The control.
    await limit(REFUSING);
    const refused = await rig.verdict(rig.pod(), { rule: 'cut' });
    const waits = () => responder.metric('retries_total{action="quarantine",reason="bus-full"}');
    await waitFor(async () => (await waits()) > 0, { what: 'a refused record' });
    expect(rig.of(refused)).toEqual([]);
    await limit({ discard: DiscardPolicy.Old });
    await rig.until(refused, 'quarantine', 'succeeded');
  });

  it('no verdict acts twice - its records are deleted, it is stored again, and the responder is new', async () => {
    const first = await start();
    await limit();
    await rig.bus.jsm.streams.update('VERDICTS', { max_msgs: LIMIT });
    const pod = rig.pod();
    const triggeredAt = (Date.now() - 60_000) * 1000;
    const ended = await rig.verdict(pod, { rule: 'flash', triggeredAt });
    await rig.until(ended, 'quarantine', 'undone');
    // The budget counts the deletion for a day, so its record is stored again.
    const counted = await rig.verdict(rig.pod(), { rule: 'remove', triggeredAt });
    await rig.until(counted, 'delete', 'succeeded');
    await floodBeyond(newest(counted, 'succeeded'), [[counted, 'succeeded']]);
    const deleted = async () => (await firstSequence(rig.bus, 'VERDICTS')) > 2;
    await waitFor(deleted, { what: 'the verdicts to be deleted' });
    // A record that is written again has another time; a copy has not.
    const records = () =>
      new Set([ended, counted].flatMap((one) => rig.of(one)).map((r) => `${r.phase} ${r.recordedAt}`));
    const before = records();
    await first.stop();
    await rig.redis.flush();
    const second = await start();
    // The verdicts once more, as by a correlator that does not know better.
    for (const verdict of [ended, counted]) await rig.publish({ ...verdict, reason: 'again' });
    const fresh = await rig.verdict(pod, { rule: 'cut' });
    // The control: the pod can be acted on.
    await rig.until(fresh, 'quarantine', 'succeeded');
    await waitFor(async () => (await second.metric('outstanding_verdicts')) === 0, { what: 'no task to be open' });
    expect(await second.metric('verdicts_total{matched="expired"}')).toBeGreaterThan(0);
    expect(records()).toEqual(before);
  });

  it('open quarantines and approvals - a new responder knows them, although their first records are deleted', async () => {
    const first = await start();
    await limit();
    const [pod, asking] = [rig.pod(), rig.pod()];
    const cut = await rig.verdict(pod, { rule: 'cut' });
    const ended = await rig.until(cut, 'quarantine', 'succeeded');
    const ask = await rig.verdict(asking, { rule: 'ask' });
    await rig.until(ask, 'delete', 'pending');
    const originals = [newest(cut, 'succeeded'), newest(ask, 'pending')];
    await floodBeyond(Math.max(...originals), [
      [cut, 'succeeded'],
      [ask, 'pending'],
    ]);
    // The control: what was stored first is gone.
    expect(await Promise.all(originals.map((at) => getMessage(rig.bus, 'RESPONSES', at)))).toEqual([null, null]);
    expect(await first.metric('records_renewed_total')).toBeGreaterThan(0);
    expect(await first.metric('records_lost_total')).toBe(0);
    await first.stop();
    await rig.redis.flush();
    await rig.bus.jsm.streams.delete('KV_bailiff_quarantine');
    await ensureTopology(rig.bus);
    await limit();
    await start();
    await waitFor(async () => (await rig.quarantined()).includes(pod.uid), { what: 'the quarantine to be restored' });
    expect(rig.responses.filter(({ responseId }) => responseId === ended.responseId).length).toBeGreaterThan(1);
    expect(rig.of(ask).map(({ phase }) => phase)).not.toContain('failed');
  });

  it.each([
    ['an ordinary header', 'a: x', false],
    ['a space in a name', 'a b: x', false],
    ['a name that is not ASCII', '\xff: x', false],
    ['a line feed in a value', 'a: b\nc', false],
    ['a wildcard in its subject', 'a: x', true],
  ])(
    'a quarantine - is stored again, although the password of cli stored its record once more: %s',
    async (_, line, isWild) => {
      await start();
      await limit();
      const cut = await rig.verdict(rig.pod(), { rule: 'cut' });
      const record = await rig.until(cut, 'quarantine', 'succeeded');
      await using thief = await RawNats.connect({ port: rig.nats.port, user: 'cli', password: 'password-of-cli' });
      const subject = isWild ? responseSubject(record).replace(/[^.]+$/, '*') : responseSubject(record);
      const planted = await thief.store({ subject, header: headerBlock(line), body: encodeResponse(record) });
      await waitFor(() => newest(cut, 'succeeded') === planted, { what: 'the record of the thief' });
      const other = await rig.verdict(rig.pod(), { rule: 'cut' });
      await rig.until(other, 'quarantine', 'succeeded');
      const kept: [Verdict, string][] = [cut, other].map((verdict) => [verdict, 'succeeded']);
      await floodBeyond(newest(other, 'succeeded'), kept);
      expect(newest(cut, 'succeeded')).toBeGreaterThan(planted);
    },
  );
});

import { describe, expect, it } from 'vitest';
import { isJetStreamOff, isStoring, JetStreamHealth, responderOf } from './jetstream-health.ts';

describe('JetStream health', () => {
  it.each([
    ['$JS.API.STREAM.INFO.VERDICTS', '$JS.API'],
    ['$JS.API.CONSUMER.CREATE.VERDICTS.x', '$JS.API'],
    ['$JS.API.DIRECT.GET.KV_a.$KV.a.k', '$JS.API.DIRECT.GET.KV_a'],
    ['$KV.bailiff_nodes.node-a', '$KV.bailiff_nodes'],
    ['bailiff.v1.capture.node-a', null],
  ])('%s is answered by %s', (subject, answerer) => expect(responderOf(subject)).toBe(answerer));

  it('no responder of the API counts, and any response or a new connection resets it', () => {
    const sign = new JetStreamHealth();
    for (const back of [() => sign.responded('$KV.a.k'), () => sign.reset()]) {
      sign.noResponder('$JS.API.CONSUMER.CREATE.VERDICTS.x');
      expect(sign.off).toBe(true);
      back();
      expect(sign.off).toBe(false);
    }
  });

  it('no responder of a bucket counts only after a response', () => {
    const sign = new JetStreamHealth();
    sign.noResponder('$KV.a.k');
    sign.noResponder('$JS.API.DIRECT.GET.KV_a.k');
    expect(sign.off).toBe(false);
    sign.responded('$KV.a.k');
    sign.noResponder('$KV.b.k');
    expect(sign.off).toBe(false);
    sign.noResponder('$KV.a.other');
    expect(sign.off).toBe(true);
  });

  it('no responder of a collector does not count', () => {
    const sign = new JetStreamHealth();
    sign.responded('bailiff.v1.capture.node-a');
    sign.noResponder('bailiff.v1.capture.node-a');
    expect(sign.off).toBe(false);
    sign.noResponder('$JS.API.STREAM.INFO.VERDICTS');
    sign.responded('bailiff.v1.capture.node-a');
    expect(sign.off).toBe(true);
  });

  it('two publishes without an ack, some time apart, count for their stream only', () => {
    const sign = new JetStreamHealth();
    const verdict = 'bailiff.v1.verdicts.high.a.b.c';
    const bus = { nc: { info: { jetstream: true } }, jetStream: sign } as never;
    for (const back of [() => sign.acknowledged(verdict), () => sign.responded(verdict), () => sign.reset()]) {
      // Simultaneous timeouts count once.
      for (const nowMs of [0, 1, 2_999]) sign.unacknowledged(verdict, nowMs);
      sign.acknowledged('bailiff.v1.responses.x');
      sign.responded('$JS.API.STREAM.INFO.VERDICTS');
      expect([sign.isNotWriting(verdict), isStoring(bus)]).toEqual([false, true]);
      sign.unacknowledged('bailiff.v1.verdicts.low.other', 3_000);
      expect([sign.isNotWriting(verdict), sign.isNotWriting('bailiff.v1.responses.x')]).toEqual([true, false]);
      expect(isStoring(bus)).toMatch(/^the server acknowledges no write to bailiff\.v1\.verdicts: .*make room there/);
      back();
      expect([sign.isNotWriting(verdict), isStoring(bus)]).toEqual([false, true]);
    }
  });

  it('a request without a response does not count for writes', () => {
    const sign = new JetStreamHealth();
    for (const subject of ['$JS.API.STREAM.INFO.VERDICTS', 'bailiff.v1.capture.node-a', 'bailiff.v1.replay.x.y'])
      for (const nowMs of [0, 10_000]) sign.unacknowledged(subject, nowMs);
    expect(sign.notWriting).toEqual([]);
  });

  it('the greeting counts, too', () => {
    const greeted = (jetstream: boolean | undefined) => isJetStreamOff({ nc: { info: { jetstream } } as never });
    expect([greeted(true), greeted(false), greeted(undefined)]).toEqual([false, true, true]);
    expect(isJetStreamOff({ nc: {} as never })).toBe(false);
  });
});

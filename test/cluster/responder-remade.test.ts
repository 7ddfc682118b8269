// Streams that are deleted and made anew under a responder that runs, and a Redis that goes: what comes then is answered, and it is told.
import { ensureTopology } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answerer, acting, brief, Rig } from './responder/rig.ts';

describe('responder - streams made anew', () => {
  let rig: Rig;
  let answerer: Answerer;
  beforeEach(async () => {
    rig = await Rig.start();
    const narrow = { budget: { window: '10m', maxPods: 1, maxPercent: 100, maxNodes: 100 } };
    await rig.policies({
      mark: acting('mark', [{ action: 'label' }]),
      remove: acting('remove', [{ action: 'delete' }], narrow),
    });
    answerer = await rig.start();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  async function remake(...streams: string[]): Promise<void> {
    for (const stream of streams) await rig.bus.jsm.streams.delete(stream);
    await ensureTopology(rig.bus);
  }
  const line = (text: RegExp, stream?: string) =>
    answerer.log().find((one) => text.test(String(one['msg'])) && (stream === undefined || one['stream'] === stream));
  const told = (stream: string) =>
    waitFor(() => line(/made anew/, stream), {
      what: `it to tell of ${stream}`,
      state: () => answerer.log().slice(-8),
    });

  it('verdicts - those of the new stream are answered, by what they say', async () => {
    const old = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(old, 'label', 'succeeded');
    await remake('VERDICTS');
    const pod = rig.pod();
    // The same sequence as the one before had.
    const fresh = await rig.verdict(pod, { rule: 'mark' });
    expect((await rig.until(fresh, 'label', 'succeeded')).podUid).toBe(pod.uid);
    await told('VERDICTS');
    expect(rig.of(old).map(brief)).toHaveLength(2);
  });

  it('responses - what was done stays done and spent, and records go into the new stream', async () => {
    const first = await rig.verdict(rig.pod(), { rule: 'remove' });
    await rig.until(first, 'delete', 'succeeded');
    await remake('RESPONSES');
    await told('RESPONSES');
    const second = await rig.verdict(rig.pod(), { rule: 'remove' });
    // The one pod of the budget was spent before.
    expect(brief(await rig.until(second, 'delete', ['refused', 'succeeded']))).toContain('refused');
    const marked = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(marked, 'label', 'succeeded');
    expect(rig.of(first).map(brief)).toHaveLength(2);
  });

  it('configuration - policies stand until the new log says otherwise', async () => {
    await remake('CONFIG_LOG', 'KV_bailiff_config');
    await told('CONFIG_LOG');
    const kept = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(kept, 'label', 'succeeded');
    await rig.policies({ mark: { ...acting('mark', [{ action: 'observe' }]), dryRun: true } });
    const changed = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(changed, 'observe', 'dryrun');
    expect(rig.of(changed, 'label')).toEqual([]);
  });

  it('redis - that it is lost and that it is back is in the log, once each', async () => {
    await rig.redis.kill();
    await waitFor(() => line(/Redis is lost/), { what: 'the loss to be told', state: () => answerer.log().slice(-5) });
    const waiting = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.redis.start();
    await rig.until(waiting, 'label', 'succeeded');
    expect(
      answerer
        .log()
        .filter(({ msg }) => /Redis is/.test(String(msg)))
        .map(({ msg }) => String(msg).slice(0, 14)),
    ).toEqual(['Redis is there', 'Redis is lost:', 'Redis is there']);
  });
});

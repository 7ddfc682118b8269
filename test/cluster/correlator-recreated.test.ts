// Streams that are deleted and recreated under a running correlator: it judges the new messages,
// and verdicts refer to the new streams.
import { ensureTopology } from '@bailiff/bus';
import { makeFrame, makeViolation, podRef } from '@bailiff/correlation/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const pods = ['web', 'a1', 'a2'].map((name) => podRef(name));
const [web, first, second] = pods as [(typeof pods)[0], (typeof pods)[0], (typeof pods)[0]];
const far = podRef('far');

describe('correlator - streams recreated', () => {
  let rig: CorrelatorRig;
  let correlator: RunningService;
  beforeEach(async () => {
    rig = await CorrelatorRig.start();
    await rig.list(NODE_A, pods);
    await rig.list(NODE_B, [far]);
    await rig.rule('repeated-spoofing', {
      type: 'event_count',
      condition: { gte: 5 },
      timespan: '1m',
      level: 'high',
    });
    correlator = await rig.correlator();
    await waitFor(async () => (await correlator.metric('config_revision')) === 1, { what: 'the rule to be read' });
    await rig.settle();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const recreate = (...streams: string[]) => rig.recreate(...streams);
  const reported = (stream: string) =>
    waitFor(
      () => correlator.log().find((line) => line['stream'] === stream && /stream recreated/.test(String(line['msg']))),
      {
        what: `the correlator to report ${stream}`,
        state: () => correlator.log().slice(-10),
      },
    );
  const groups = () => rig.verdicts.map(({ groupKey }) => groupKey);

  it('violations - the new stream is judged from its first frame, with its own evidence, dead letters and windows', async () => {
    // Frame 1 is a false report, so that its dead letter could be confused with a prior refusal of
    // the new frame 1.
    await rig.frame(makeFrame([makeViolation({ pod: far, cumulativePackets: 1, lastSeenAt: Date.now() * 1000 })]));
    await waitFor(() => rig.deadLetters.some(({ sequence }) => sequence === 1));
    await rig.spoof(NODE_A, web, 5);
    await rig.spoof(NODE_A, first, 3);
    await waitFor(() => groups().includes(web.uid), { state: groups });
    await recreate('VIOLATIONS');
    expect(await rig.spoof(NODE_A, second, 5)).toBe(1);
    const verdict = await waitFor(() => rig.verdicts.find(({ groupKey }) => groupKey === second.uid), {
      what: 'a verdict about the new stream',
      state: () => [groups(), rig.deadLetters, correlator.log().slice(-5)],
    });
    expect(verdict).toMatchObject({ observed: 5, evidence: [{ streamSequence: 1, packets: 5 }] });
    // The three earlier packets are in no stream any more: a verdict could not refer to them.
    await rig.spoof(NODE_A, first, 3);
    await rig.spoof(NODE_A, first, 2);
    const later = await waitFor(() => rig.verdicts.find(({ groupKey }) => groupKey === first.uid), { state: groups });
    expect(later.evidence.map(({ streamSequence }) => streamSequence)).toEqual([2, 3]);
    await reported('VIOLATIONS');
    expect(await correlator.metric('streams_remade_total')).toBe(1);
    await waitFor(async () => (await correlator.ready()).ok);
  });

  it('violations - a correlator that starts afterwards publishes the same verdicts, none twice', async () => {
    await rig.spoof(NODE_A, web, 5);
    await rig.verdictCount(1);
    await recreate('VIOLATIONS');
    await rig.spoof(NODE_A, second, 5);
    await rig.verdictCount(2);
    await correlator.stop();
    correlator = await rig.correlator();
    await rig.spoof(NODE_A, first, 5);
    await rig.verdictCount(3);
    expect(groups()).toEqual([web.uid, second.uid, first.uid]);
  });

  it('configuration - rules stay in force until the new log changes them', async () => {
    await recreate('CONFIG_LOG', 'KV_bailiff_config');
    await reported('CONFIG_LOG');
    await rig.settle();
    await rig.spoof(NODE_A, web, 5);
    await waitFor(() => groups().includes(web.uid), { what: 'the old rule to be in force', state: groups });
    const rule = { type: 'event_count', condition: { gte: 2 }, timespan: '1m', level: 'high' };
    await rig.rule('repeated-spoofing', rule);
    await rig.settle();
    await rig.spoof(NODE_A, first, 2);
    const verdict = await waitFor(() => rig.verdicts.find(({ groupKey }) => groupKey === first.uid), {
      what: 'the new rule to be in force',
      state: () => [groups(), correlator.log().slice(-5)],
    });
    expect(verdict).toMatchObject({ threshold: 2, configRevision: 1 });
  });

  it.each([
    ['control: the log stays', false],
    ['the log is made again from the bucket', true],
  ])(
    'configuration - a correlator that starts judges earlier frames by what operators stored, %s',
    async (_, again) => {
      // The built-in rule of this name would match ten packets.
      await rig.rule('repeated-spoofing', {
        type: 'event_count',
        condition: { gte: 50 },
        timespan: '1m',
        level: 'high',
      });
      await rig.settle();
      await rig.spoof(NODE_A, web, 20);
      await waitFor(async () => (await correlator.metric('frames_total')) === 1, { what: 'the frame to be judged' });
      if (again) await recreate('CONFIG_LOG');
      await waitFor(async () => (await rig.admin.jsm.streams.info('CONFIG_LOG')).state.messages === 2, {
        what: 'both changes in the log',
      });
      await correlator.stop();
      correlator = await rig.correlator();
      await rig.settle();
      await rig.spoof(NODE_A, first, 60);
      await waitFor(() => groups().includes(first.uid), { state: groups });
      expect(rig.verdicts).toMatchObject([{ groupKey: first.uid, threshold: 50, configRevision: 2 }]);
    },
  );

  it('pods - snapshots stay in force until they are published again, and an honest node is not accused, not even after a start', async () => {
    await rig.spoof(NODE_A, web, 3);
    await recreate('KV_bailiff_pods');
    await reported('KV_bailiff_pods');
    await rig.spoof(NODE_A, web, 2);
    await waitFor(() => groups().includes(web.uid), { what: 'the old list to be in force', state: groups });
    await rig.list(NODE_A, [...pods, podRef('young')]);
    await rig.settle();
    await rig.spoof(NODE_A, podRef('young'), 5);
    await waitFor(() => groups().includes(podRef('young').uid), { state: () => [groups(), rig.deadLetters] });
    await correlator.stop();
    correlator = await rig.correlator();
    await rig.spoof(NODE_A, first, 5);
    await waitFor(() => groups().includes(first.uid), { state: () => [groups(), rig.deadLetters] });
    expect(groups()).toEqual([web.uid, podRef('young').uid, first.uid]);
    expect(rig.deadLetters).toEqual([]);
  });

  it('configuration unavailable - frames wait, the lag is reported, and they are processed when it is back', async () => {
    await rig.spoof(NODE_A, web, 1);
    await waitFor(async () => (await correlator.metric('frames_total')) === 1);
    expect(await correlator.metric('lag_seconds')).toBe(0);
    await rig.admin.jsm.streams.delete('CONFIG_LOG');
    await rig.settle();
    await rig.spoof(NODE_A, web, 4);
    await waitFor(async () => (await correlator.metric('lag_seconds')) > 0.3, { what: 'a lag to be reported' });
    await ensureTopology(rig.admin);
    await waitFor(() => groups().includes(web.uid), { what: 'the frame to be judged', state: () => correlator.log() });
    await waitFor(async () => (await correlator.metric('lag_seconds')) === 0, { what: 'the lag to be over' });
  });
});

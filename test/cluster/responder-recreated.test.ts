// Streams that are deleted and recreated under a running responder, and a Redis that fails: later
// verdicts get their responses, and the loss is reported.

import { encodeToken, ensureTopology, openBucket, publishOnce, responseSubject } from '@bailiff/bus';
import { editQuarantine, readServiceStatus, recordOf, releaseOf, withoutEntry } from '@bailiff/response';
import { encodeResponse, type InstanceStatus, instanceStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logged } from '../support/config-log.ts';
import type { RunningService } from '../support/service.ts';
import { acting, brief, NODE, Rig, type RigPod } from './responder/rig.ts';

describe('responder - streams recreated', () => {
  let rig: Rig;
  let responder: RunningService;
  beforeEach(async () => {
    rig = await Rig.start();
    const narrow = { budget: { window: '10m', maxPods: 1, maxPercent: 100, maxNodes: 100 } };
    await rig.policies({
      mark: acting('mark', [{ action: 'label' }]),
      remove: acting('remove', [{ action: 'delete' }], narrow),
      cut: acting('cut', [{ action: 'quarantine', expires: '1h' }]),
      'cut-for-good': acting('cut-for-good', [{ action: 'quarantine' }]),
    });
    responder = await rig.start();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  async function recreate(...streams: string[]): Promise<void> {
    for (const stream of streams) await rig.bus.jsm.streams.delete(stream);
    await ensureTopology(rig.bus);
  }
  const line = (text: RegExp, stream?: string) =>
    responder.log().find((one) => text.test(String(one['msg'])) && (stream === undefined || one['stream'] === stream));
  const reported = (stream: string) =>
    waitFor(() => line(/stream recreated/, stream), {
      what: `it to report ${stream}`,
      state: () => responder.log().slice(-8),
    });

  it('verdicts - those of the new stream get their responses', async () => {
    const old = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(old, 'label', 'succeeded');
    await recreate('VERDICTS');
    const pod = rig.pod();
    // The same sequence as the earlier one.
    const fresh = await rig.verdict(pod, { rule: 'mark' });
    expect((await rig.until(fresh, 'label', 'succeeded')).podUid).toBe(pod.uid);
    await reported('VERDICTS');
    expect(rig.of(old).map(brief)).toHaveLength(2);
  });

  it('responses - completed actions stay done and spent, and records are published to the new stream', async () => {
    const first = await rig.verdict(rig.pod(), { rule: 'remove' });
    await rig.until(first, 'delete', 'succeeded');
    await recreate('RESPONSES');
    await reported('RESPONSES');
    const second = await rig.verdict(rig.pod(), { rule: 'remove' });
    // The budget of one pod was spent before.
    expect(brief(await rig.until(second, 'delete', ['refused', 'succeeded']))).toContain('refused');
    const marked = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(marked, 'label', 'succeeded');
    // The records of the first verdict are lost with the stream: it does not count as unanswered.
    expect((await readServiceStatus(rig.bus, [], { graceMs: 0 })).responder.unansweredIds).toEqual([]);
    expect(rig.of(first).map(brief)).toHaveLength(2);
  });

  it('configuration - policies stay in force until the new log changes them', async () => {
    await recreate('CONFIG_LOG', 'KV_bailiff_config');
    await reported('CONFIG_LOG');
    const kept = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(kept, 'label', 'succeeded');
    await rig.policies({ mark: { ...acting('mark', [{ action: 'observe' }]), dryRun: true } });
    const changed = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(changed, 'observe', 'dryrun');
    expect(rig.of(changed, 'label')).toEqual([]);
  });

  it('configuration - policies stay in force while their writers store them again, one after another', async () => {
    await rig.policies({ 'answer-high': { enabled: false, steps: [{ action: 'observe' }] } });
    await recreate('CONFIG_LOG', 'KV_bailiff_config');
    await reported('CONFIG_LOG');
    const json = '{}';
    const key = 'spoof.cluster._.default';
    await openBucket(rig.bus, 'bailiff_config').put(key, json);
    await rig.settle((await logged(rig.bus, { key, json })) / 1000);
    const between = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.until(between, 'label', 'succeeded');
    await rig.policies({ mark: acting('mark', [{ action: 'label' }]) });
    // Of this level, the built-in policy that the deleted log disabled.
    const after = await rig.verdict(rig.pod(), { rule: 'mark', level: 'high' });
    await rig.until(after, 'label', 'succeeded');
    const unanswered = async (...instances: InstanceStatus[]) =>
      (await readServiceStatus(rig.bus, instances, { graceMs: 0 })).responder.unansweredIds;
    // The control: a reader that does not know of the deleted log expects the built-in policy.
    expect(await unanswered()).toEqual([after.verdictId]);
    const services = openBucket(rig.bus, 'bailiff_services');
    const instances = async () =>
      [...(await services.entries()).values()].map(({ value }) => instanceStatus.parse(JSON.parse(String(value))));
    await waitFor(async () => (await unanswered(...(await instances()))).length === 0, {
      what: 'the responder to say that it knows further policies',
      state: instances,
    });
  });

  it.each([
    ['control: the log stays', false],
    ['the log is made again from the bucket', true],
  ])(
    'configuration - a responder that starts plans earlier verdicts by what operators stored, %s',
    async (_, again) => {
      const later = acting('later', [{ action: 'label' }, { action: 'delete', after: '5s' }]);
      await rig.policies({ 'answer-high': { enabled: false, steps: [{ action: 'observe' }] }, later });
      // Only the built-in policy matches.
      const quiet = await rig.verdict(rig.pod(), { rule: 'other', level: 'high' });
      const begun = await rig.verdict(rig.pod(), { rule: 'later' });
      await rig.until(begun, 'label', 'succeeded');
      if (again) await recreate('CONFIG_LOG');
      await waitFor(async () => (await rig.bus.jsm.streams.info('CONFIG_LOG')).state.messages === 6, {
        what: 'all changes in the log',
      });
      await responder.stop();
      responder = await rig.start();
      await rig.until(begun, 'delete', 'succeeded');
      expect(rig.of(quiet).map(brief)).toEqual([]);
      expect((await readServiceStatus(rig.bus, [], { graceMs: 0 })).responder.unansweredIds).toEqual([]);
    },
  );

  async function quarantine(pod: RigPod, rule = 'cut') {
    return rig.until(await rig.verdict(pod, { rule }), 'quarantine', 'succeeded');
  }
  const takeOut = ({ uid }: RigPod) =>
    editQuarantine(openBucket(rig.bus, 'bailiff_quarantine'), encodeToken(NODE), NODE, (list) =>
      withoutEntry(list, { podUid: uid }, Date.now()),
    );
  const cutOff = (...pods: RigPod[]) =>
    waitFor(async () => String((await rig.quarantined()).sort()) === String(pods.map(({ uid }) => uid).sort()), {
      what: 'the quarantines to be in the bucket',
      state: async () => [await rig.quarantined(), responder.log().slice(-6)],
    });

  it('quarantines - those in force are written to the new bucket at once, with their ends; a released one is not', async () => {
    const [timed, forGood, released] = [rig.pod(), rig.pod(), rig.pod()];
    const done = await quarantine(timed);
    await quarantine(forGood, 'cut-for-good');
    const record = releaseOf(await quarantine(released), { by: 'me', nowMicros: Date.now() * 1000 });
    await takeOut(released);
    await publishOnce(rig.bus, responseSubject(record), encodeResponse(record));
    await recreate('KV_bailiff_quarantine');
    await cutOff(timed, forGood);
    // By one edit: a list with one of them alone would lift the other.
    const history = await openBucket(rig.bus, 'bailiff_quarantine').history(encodeToken(NODE));
    expect(history.map(({ revision }) => revision)).toEqual([1]);
    const { entries } = JSON.parse(String(history[0]?.value));
    const entry = entries.find(({ podUid }: { podUid: string }) => podUid === timed.uid);
    expect(Date.parse(entry.until)).toBe(Math.floor((done.expiresAt as number) / 1000));
    await reported('KV_bailiff_quarantine');
  });

  it.each([
    ['a status of the server', '$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', '{"batch":1,"no_wait":true}'],
    ['a response in JSON', '$JS.API.STREAM.INFO.VERDICTS', ''],
  ])('quarantines - %s under the key of a node is replaced by the list that is in force', async (_, request, body) => {
    const [pod, released] = [rig.pod(), rig.pod()];
    await quarantine(pod);
    const record = releaseOf(await quarantine(released), { by: 'me', nowMicros: Date.now() * 1000 });
    await takeOut(released);
    await publishOnce(rig.bus, responseSubject(record), encodeResponse(record));
    const bucket = openBucket(rig.bus, 'bailiff_quarantine');
    const before = (await bucket.newest(encodeToken(NODE)))?.revision ?? 0;
    rig.bus.nc.publish(request, body, { reply: `$KV.bailiff_quarantine.${encodeToken(NODE)}` });
    // The control: it replaces the list.
    await waitFor(() => line(/invalid quarantine list/), {
      what: 'it to be detected',
      state: () => responder.log().slice(-6),
    });
    await cutOff(pod);
    expect((await bucket.newest(encodeToken(NODE)))?.revision).toBeGreaterThan(before + 1);
    const next = rig.pod();
    await quarantine(next);
    await cutOff(pod, next);
  });

  it('quarantines - a record whose node has no name of a node keeps none of the others back', async () => {
    const pod = rig.pod();
    const task = { verdictId: 'f'.repeat(32), policy: 'cut', action: 'quarantine' as const };
    const record = recordOf(task, rig.verdictOf(pod), 'succeeded', 'terminal');
    const times = { recordedAt: Date.now() * 1000, expiresAt: (Date.now() + 3_600_000) * 1000 };
    const forged = { ...record, ...times, podUid: 'foreign', nodeName: 'No Node' };
    const subject = responseSubject(forged);
    await publishOnce(rig.bus, subject, encodeResponse(forged));
    // Stored behind it.
    await quarantine(pod);
    await recreate('KV_bailiff_quarantine');
    await cutOff(pod);
  });

  it('quarantines - a bucket recreated while no responder ran is filled at the start; an existing one is not changed', async () => {
    const [pod, taken] = [rig.pod(), rig.pod()];
    await quarantine(pod);
    await quarantine(taken);
    await takeOut(taken);
    await responder.stop();
    responder = await rig.start();
    // A new verdict has its response, so the start is complete; the released pod stays released.
    const later = rig.pod();
    await quarantine(later);
    await cutOff(pod, later);
    await responder.stop();
    await recreate('KV_bailiff_quarantine');
    responder = await rig.start();
    await waitFor(() => line(/quarantines restored/), {
      what: 'it to write them',
      state: () => responder.log().slice(-6),
    });
    expect(await rig.quarantined()).toEqual(expect.arrayContaining([pod.uid, later.uid]));
  });

  it('redis - its loss and its recovery are logged, once each', async () => {
    await rig.redis.kill();
    await waitFor(() => line(/Redis connection lost/), {
      what: 'the loss to be reported',
      state: () => responder.log().slice(-5),
    });
    const waiting = await rig.verdict(rig.pod(), { rule: 'mark' });
    await rig.redis.start();
    await rig.until(waiting, 'label', 'succeeded');
    expect(
      responder
        .log()
        .filter(({ msg }) => /^Redis conn/.test(String(msg)))
        .map(({ msg }) => String(msg).split(':')[0]),
    ).toEqual(['Redis connected', 'Redis connection lost', 'Redis connected']);
  });
});

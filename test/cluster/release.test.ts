// An operator's release while a responder starts or carries out the quarantine: the pod stays
// released.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken, ensureTopology, openBucket } from '@bailiff/bus';
import { editQuarantine, withRelease } from '@bailiff/response';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import type { Step } from '../../apps/responder/src/ports.ts';
import { acting, NODE, Rig, type RigPod } from './responder/rig.ts';

let rig: Rig;
let env: Record<string, string>;
beforeAll(async () => {
  rig = await Rig.start();
  const passwordFile = path.join(rig.directory, 'cli');
  writeFileSync(passwordFile, 'password-of-cli');
  env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: passwordFile };
  await rig.policies({
    cut: acting('cut', [{ action: 'quarantine', expires: '1h' }]),
    'cut-for-good': acting('cut-for-good', [{ action: 'quarantine' }]),
  });
});
afterAll(() => rig?.[Symbol.asyncDispose]());

const release = (pod: RigPod) => runCli(['quarantine', 'release', `shop/${pod.name}`, '--yes'], { env });
const labels = (pod: RigPod) => Object.keys(rig.podNow(pod)?.metadata.labels ?? {});
const unmarked = (pod: RigPod) =>
  waitFor(() => labels(pod).length === 0, {
    what: 'its marks to be removed',
    state: () => [labels(pod), rig.podNow(pod)],
  });

describe('release', () => {
  it('before its record, while a responder starts with a lost bucket - stays released; another lost one is put again', async () => {
    const [released, lost] = [rig.pod(), rig.pod()];
    const first = await rig.start();
    const done = await rig.until(await rig.verdict(released, { rule: 'cut' }), 'quarantine', 'succeeded');
    await rig.until(await rig.verdict(lost, { rule: 'cut' }), 'quarantine', 'succeeded');
    await first.stop();
    await rig.bus.jsm.streams.delete('KV_bailiff_quarantine');
    await ensureTopology(rig.bus);
    // The first half of a release: the command does this before it writes the record.
    const begun = [{ verdictId: done.verdictId, untilMs: (done.expiresAt as number) / 1000 }];
    await editQuarantine(openBucket(rig.bus, 'bailiff_quarantine'), encodeToken(NODE), NODE, (list) =>
      withRelease(list, { podUid: released.uid, started: begun }, Date.now()),
    );
    const second = await rig.start();
    await waitFor(async () => (await rig.quarantined()).includes(lost.uid), {
      what: 'the lost entry to be written again',
      state: () => [rig.quarantined(), second.log().slice(-4)],
    });
    // One edit writes all entries of a node.
    expect(await rig.quarantined()).toEqual([lost.uid]);
    expect((await release(released)).exitCode).toBe(0);
    await unmarked(released);
    expect((await release(lost)).exitCode).toBe(0);
    expect(await rig.quarantined()).toEqual([]);
    await second.stop();
  });

  it.each<[Step, string, string[]]>([
    // There is no entry yet, and none is put.
    ['started', 'cut', ['started', 'undone', 'refused']],
    // Entry and marks exist, without a record on the stream.
    ['before-terminal', 'cut', ['started', 'undone', 'succeeded']],
    ['before-terminal', 'cut-for-good', ['started', 'undone', 'succeeded']],
  ])('at the step "%s" of %s - it is released, and its marks are removed', async (at, rule, phases) => {
    const pod = rig.pod();
    let code: number | null = null;
    // The test has the verdict before it is on the bus: a responder may act on it before the
    // publisher continues.
    const verdict = rig.verdictOf(pod, { rule });
    const { verdictId } = verdict;
    const responder = await rig.start(
      {},
      {
        step: async (step, names) => {
          if (step !== at || names.verdictId !== verdictId || code !== null) return;
          code = (await release(pod)).exitCode;
        },
      },
    );
    await rig.publish(verdict);
    const end = await rig.until(verdict, 'quarantine', ['succeeded', 'refused', 'failed']);
    expect([code, rig.of(verdict, 'quarantine').map(({ phase }) => phase)]).toEqual([0, phases]);
    if (at === 'started')
      expect(end).toMatchObject({ reasonCode: 'released', reason: expect.stringMatching(/person/) });
    expect(await rig.quarantined()).toEqual([]);
    await unmarked(pod);
    await responder.stop();
  });

  it('one without an end - is recorded too: its marks are removed, and a recreated bucket stays without it', async () => {
    const [pod, lost] = [rig.pod(), rig.pod()];
    const responder = await rig.start();
    const verdict = await rig.verdict(pod, { rule: 'cut-for-good' });
    await rig.until(verdict, 'quarantine', 'succeeded');
    await rig.until(await rig.verdict(lost, { rule: 'cut' }), 'quarantine', 'succeeded');
    expect((await release(pod)).exitCode).toBe(0);
    await unmarked(pod);
    await rig.bus.jsm.streams.delete('KV_bailiff_quarantine');
    await ensureTopology(rig.bus);
    await waitFor(async () => (await rig.quarantined()).length > 0, {
      what: 'the bucket to be filled',
      state: () => responder.log().slice(-4),
    });
    expect(await rig.quarantined()).toEqual([lost.uid]);
    await responder.stop();
  });
});

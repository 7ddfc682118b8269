// A quarantine list that one tenant fills with pods of its own: other namespaces find places, and
// entries of pods that the node reports as gone are removed. An entry of a pod whose interface still
// exists stays.

import { encodeToken, openBucket, publishOnce, responseSubject } from '@bailiff/bus';
import { MAX_QUARANTINED_PODS_PER_NODE, recordOf } from '@bailiff/response';
import { encodeResponse, type QuarantineEntry, type Response, type Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { acting, Rig } from './responder/rig.ts';

/** The record of a quarantine of the verdict's pod that is in force for an hour. */
function succeeded(verdict: Verdict): Response {
  const nowMicros = Date.now() * 1000;
  const task = { verdictId: verdict.verdictId, policy: 'cut', action: 'quarantine' as const };
  return {
    ...recordOf(task, verdict, 'succeeded', 'terminal'),
    recordedAt: nowMicros,
    expiresAt: nowMicros + 3_600_000_000,
  };
}

const FULL = 'quarantine-full';

describe('responder - a full quarantine list', () => {
  let rig: Rig;
  let responder: RunningService;
  beforeAll(async () => {
    rig = await Rig.start();
    await rig.policies({
      cut: acting('cut', [{ action: 'quarantine', expires: '1h' }]),
      remove: acting('remove', [{ action: 'delete' }]),
    });
    responder = await rig.start({ giveUpAfterMs: 1_000 });
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  const uid = (n: number) => `thief-${n}`;
  /** Entries as an earlier responder wrote them for pods that were deleted since. */
  async function fill(node: string, count: number): Promise<void> {
    const entries = Array.from(
      { length: count },
      (_, n): QuarantineEntry => ({
        podUid: uid(n),
        podNamespace: 'thief',
        podName: uid(n),
        verdictId: `v${n}`,
        reason: 'spoofing',
        until: new Date(Date.now() + 3_600_000).toISOString(),
      }),
    );
    const list = JSON.stringify({ nodeName: node, revision: 1, entries });
    await openBucket(rig.bus, 'bailiff_quarantine').put(encodeToken(node), list);
  }
  const report = (node: string, quarantinesGone: unknown) =>
    openBucket(rig.bus, 'bailiff_nodes').put(encodeToken(node), JSON.stringify({ quarantinesGone }));
  const ended = async (node: string, rule: string, action: 'quarantine' | 'delete') => {
    const pod = rig.pod({ node });
    const { phase, reasonCode } = await rig.until(await rig.verdict(pod, { rule }), action, ['succeeded', 'failed']);
    return { pod, phase, reasonCode };
  };

  it('a tenant that uses up its share - a pod of another namespace is quarantined', async () => {
    await fill('node-share', MAX_QUARANTINED_PODS_PER_NODE / 2);
    const { pod, phase } = await ended('node-share', 'cut', 'quarantine');
    expect(phase).toBe('succeeded');
    expect(await rig.quarantined('node-share')).toContain(pod.uid);
  });

  it('control - a list without any place left refuses the pod, and its entries stay', async () => {
    await fill('node-full', MAX_QUARANTINED_PODS_PER_NODE);
    // Neither an older collector's status nor an invalid one frees an entry.
    await report('node-full', undefined);
    expect(await ended('node-full', 'cut', 'quarantine')).toMatchObject({ phase: 'failed', reasonCode: FULL });
    await report('node-full', 'thief-0');
    expect(await ended('node-full', 'cut', 'quarantine')).toMatchObject({ phase: 'failed', reasonCode: FULL });
    expect(await rig.quarantined('node-full')).toHaveLength(MAX_QUARANTINED_PODS_PER_NODE);
    expect(await responder.metric(`retries_total{action="quarantine",reason="${FULL}"}`)).toBeGreaterThan(0);
  });

  it('pods that the node reports as gone - their entries are removed, the others stay', async () => {
    await fill('node-gone', MAX_QUARANTINED_PODS_PER_NODE);
    await report('node-gone', [uid(0), uid(1), 'of-another-node']);
    const { pod, phase } = await ended('node-gone', 'cut', 'quarantine');
    expect(phase).toBe('succeeded');
    const now = await rig.quarantined('node-gone');
    expect(now).toHaveLength(MAX_QUARANTINED_PODS_PER_NODE - 1);
    expect(now).toEqual(expect.arrayContaining([uid(2), uid(511), pod.uid]));
    expect(now).not.toContain(uid(0));
  });

  it('a lost list - is restored as far as places last, and every namespace gets its share', async () => {
    const records = [];
    for (const [namespace, count] of Object.entries({ shop: 3, thief: MAX_QUARANTINED_PODS_PER_NODE })) {
      for (let n = 0; n < count; n += 1) {
        const pod = { namespace, name: `${namespace}-${n}`, uid: `${namespace}-${n}`, node: 'node-restore' };
        records.push(succeeded(rig.verdictOf(pod)));
      }
    }
    await Promise.all(records.map((record) => publishOnce(rig.bus, responseSubject(record), encodeResponse(record))));
    await openBucket(rig.bus, 'bailiff_quarantine').put(encodeToken('node-restore'), '{}');
    // The records may arrive in several passes, each of which restores what has a place.
    const restored = () => rig.quarantined('node-restore').catch(() => []);
    const of = (uids: string[], namespace: string) => uids.filter((podUid) => podUid.startsWith(namespace)).length;
    await waitFor(async () => of(await restored(), 'shop') === 3 && of(await restored(), 'thief') > 0, {
      what: 'the list to be restored',
      state: () => responder.log().slice(-6),
    });
    await waitFor(
      () =>
        responder.log().some(({ node, msg }) => node === 'node-restore' && String(msg).includes('no place is left')),
      {
        state: () => responder.log().slice(-6),
      },
    );
    expect(of(await restored(), 'thief')).toBe(MAX_QUARANTINED_PODS_PER_NODE / 2);
  });

  it.each(['node-other', 'node-named'])(
    'a list of node-named that names %s - its collector gets a list of itself with the next pod',
    async (nodeName) => {
      const stored = JSON.stringify({ nodeName, revision: 1, entries: [] });
      await openBucket(rig.bus, 'bailiff_quarantine').put(encodeToken('node-named'), stored);
      const { pod, phase } = await ended('node-named', 'cut', 'quarantine');
      expect(phase).toBe('succeeded');
      expect(await rig.quarantined('node-named')).toContain(pod.uid);
      const entry = await openBucket(rig.bus, 'bailiff_quarantine').get(encodeToken('node-named'));
      // A collector refuses the list of another node.
      expect(JSON.parse(entry?.value.toString() ?? '')).toMatchObject({ nodeName: 'node-named' });
    },
  );

  it('delete - a pod is deleted although its node has no place to isolate it', async () => {
    await fill('node-delete', MAX_QUARANTINED_PODS_PER_NODE);
    // It ignores SIGTERM for longer than the responder retries failures.
    const pod = rig.pod({ node: 'node-delete', terminationGracePeriodSeconds: 3 });
    rig.deaf.add(pod.name);
    const verdict = await rig.verdict(pod, { rule: 'remove' });
    expect((await rig.until(verdict, 'delete', ['succeeded', 'failed'])).phase).toBe('succeeded');
    expect(rig.podNow(pod)).toBeNull();
    expect(await rig.quarantined('node-delete')).not.toContain(pod.uid);
  });
});

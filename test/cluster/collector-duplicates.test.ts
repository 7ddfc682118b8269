// A collector resends a frame that the bus stored if its acknowledgement is lost. Within the
// stream's duplicate window the server drops the second copy. After it, the server stores it;
// readers still count it once, because counts are cumulative.
import { violationSubject } from '@bailiff/bus';
import { podInventoryOf, podRef, recordingEngine, ruleHistoryOf } from '@bailiff/correlation/testing';
import { encodeViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { headers as createHeaders } from '@nats-io/nats-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const spoofed = (pod: TestPod) => udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
/** Longer than any step of the test, and shorter than any timeout of it. */
const LONG_MS = 3_600_000;
const SHORT_MS = 1_000;

describe('collector - acknowledgements that are lost', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  const counted = (pod: TestPod, n: number) =>
    waitFor(() => node.ledger.packets({ podUid: pod.uid, vector: 'ipv4-source' }) === n, {
      what: `${n} packets on the bus`,
      state: () => [[...node.ledger.epochs.values()].map((v) => v.cumulativePackets), node.log.slice(-3_000)],
    });
  /**
   * Number of copies of the frame with this count, and the sum over all frames without
   * deduplication.
   */
  const copiesOf = (packets: number) =>
    node.ledger.frames.filter(({ violations }) => violations.some((v) => v.cumulativePackets === packets)).length;
  const added = () =>
    node.ledger.violations('ipv4-source').reduce((sum, { count, suppressed }) => sum + count + suppressed, 0);

  /** Publishes under a message id until the server has forgotten it, and with it all older ids. */
  async function whenWindowIsOver(): Promise<() => Promise<boolean>> {
    const printed = node.ledger.frames.at(-1);
    if (!printed) throw new Error('no frame yet');
    const headers = createHeaders();
    headers.set('Nats-Msg-Id', 'clock');
    const empty = encodeViolationFrame({ ...printed, violations: [], coverage: [] });
    const publish = async () =>
      (await node.admin.js.publish(violationSubject(NODE, 'spoof'), empty, { headers })).duplicate;
    expect(await publish()).toBe(false);
    return async () => !(await publish());
  }

  it.each([
    ['control: within the window - the server drops the second copy', LONG_MS, 1],
    ['after the window - the second copy is stored, and changes no count', SHORT_MS, 2],
  ])('%s', async (_name, windowMs, copies) => {
    await node.admin.jsm.streams.update('VIOLATIONS', { duplicate_window: windowMs * 1e6 });
    const pod = await node.addPod();
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    await node.send(pod, [spoofed(pod)], 10);
    await counted(pod, 10);
    await waitFor(async () => (await node.metric('bailiff_collector_frames_unacked')) === 0, { what: 'its responses' });

    node.relay.loseAnswers();
    await node.send(pod, [spoofed(pod)], 7);
    await counted(pod, 17);
    // At once: the collector resends after some seconds without a response.
    node.relay.setDown(true);
    expect(
      await node.metric('bailiff_collector_frames_unacked'),
      'no acknowledgement at the collector',
    ).toBeGreaterThan(0);
    const isOver = await whenWindowIsOver();
    if (windowMs === SHORT_MS) await waitFor(isOver, { what: 'the window to be over', intervalMs: 100 });
    expect(copiesOf(17)).toBe(1);
    node.relay.setDown(false);
    await waitFor(async () => (await node.metric('bailiff_collector_frames_unacked')) === 0, {
      what: 'the response to the resend',
      state: () => node.log.slice(-3_000),
    });
    await node.send(pod, [spoofed(pod)], 5);
    await counted(pod, 22);
    expect(copiesOf(17)).toBe(copies);
    expect(added(), 'the sum of a reader that only adds').toBe(22 + (copies - 1) * 7);

    const count = (gte: number) => ({ type: 'event_count', level: 'high', timespan: '1h', condition: { gte } });
    const judged = recordingEngine({
      rules: ruleHistoryOf({ all: count(22), more: count(23) }),
      inventory: podInventoryOf({ [NODE]: [podRef(pod.name, { uid: pod.uid, namespace: pod.namespace })] }),
    });
    for (const frame of node.ledger.frames) judged.send(frame.publishedAt, frame);
    expect(judged.refusals).toEqual([]);
    expect(judged.verdicts.map(({ rule }) => rule)).toEqual(['all']);
  });
});

// A node's credential against the time of every reader: as many messages as the bus takes, each as
// expensive as possible. What is beyond the node's share is skipped before it is decoded, and other
// nodes are judged in time. The controls measure what the skipped part would have cost.
import { getLastMessage, violationSubject } from '@bailiff/bus';
import {
  makeFrame,
  makeViolation,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
} from '@bailiff/correlation/testing';
import { decodeViolationFrame, encodeViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
  VIOLATION_BYTES,
} from '../../libs/correlation/src/shares/frame-shares.ts';
import { MAX_LOOKUPS } from '../../libs/schemas/src/codec/registry.ts';
import { unknownFingerprint } from '../support/malformed.ts';
import { RawNats } from '../support/raw-nats.ts';
import type { RunningService } from '../support/service.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const MESSAGES = 20_000;
const FRAMES = 2_000;
const SUBJECT = violationSubject(NODE_A, 'spoof');
const own = podRef('own');
const far = podRef('far');
const near = podRef('near');

let rig: CorrelatorRig;
let correlator: RunningService;

beforeEach(async () => {
  rig = await CorrelatorRig.start();
  await rig.list(NODE_A, [own]);
  await rig.list(NODE_B, [far, near]);
  await rig.settle();
  correlator = await rig.correlator();
});
afterEach(() => rig[Symbol.asyncDispose]());

/** Sends messages as fast as the bus takes them. */
async function flood(count: number, bodyOf: (number: number) => Uint8Array): Promise<void> {
  await using raw = await RawNats.connect({
    port: rig.nats.port,
    user: `collector-${NODE_A}`,
    password: `password-of-collector-${NODE_A}`,
  });
  for (let number = 0; number < count; number += 1) {
    raw.publish({ subject: SUBJECT, body: bodyOf(number) });
    if (number % 200 === 0) await raw.flush();
  }
  await raw.flush();
}

/** How long the verdict about a pod of the other node takes, in milliseconds. */
async function verdictMs(pod: typeof far): Promise<number> {
  const start = performance.now();
  await rig.spoof(NODE_B, pod, 10);
  await waitFor(() => rig.verdicts.some(({ groupKey }) => groupKey === pod.uid), {
    what: 'the verdict about a pod of the other node',
    timeoutMs: 60_000,
    state: () => correlator.log().slice(-5),
  });
  return performance.now() - start;
}

test(`flood - ${MESSAGES} random fingerprints cause a handful of lookups, and another node is judged in time`, async () => {
  await flood(MESSAGES, unknownFingerprint);
  const behindMs = await verdictMs(far);
  await waitFor(() => rig.deadLetters.length > MAX_LOOKUPS, { what: 'dead letters' });
  expect(new Set(rig.deadLetters.map(({ reason }) => reason))).toEqual(new Set(['unknown-fingerprint']));
  expect(await correlator.metric('over_share_messages_total')).toBeGreaterThan(MESSAGES / 2);
  // Control: the lookups of a hundredth of the messages.
  const bus = await rig.bus('correlator');
  const start = performance.now();
  for (let number = 0; number < MESSAGES / 100; number += 1) {
    const key = `fp-${number.toString(16).padStart(16, '0')}`;
    expect(await getLastMessage(bus, 'KV_bailiff_schemas', `$KV.bailiff_schemas.${key}`)).toBeNull();
  }
  const lookupsMs = (performance.now() - start) * 100;
  expect(behindMs, `${lookupsMs} ms for all lookups`).toBeLessThan(lookupsMs / 2);
});

test(`flood - of ${FRAMES} full frames with counters that no frame had before, those within the share are judged`, async () => {
  const frames = Array.from({ length: FRAMES }, (_, number) => {
    const violations = Array.from({ length: 64 }, (_, index) =>
      makeViolation({ pod: own, sample: null, counterEpoch: `boot/${number}/${index}`, lastSeenAt: Date.now() * 1000 }),
    );
    return encodeViolationFrame(makeFrame(violations, { nodeName: NODE_A, frameSequence: number }));
  });
  const start = performance.now();
  await flood(FRAMES, (number) => frames[number] as Buffer);
  const behindMs = await verdictMs(far);
  const seconds = (performance.now() - start) / 1000;
  const most = (SHARE_BURST_BYTES + seconds * SHARE_BYTES_PER_SECOND) / (64 * VIOLATION_BYTES);
  const judged = await correlator.metric('frames_total');
  expect(judged).toBeGreaterThan(SHARE_BURST_BYTES / (64 * VIOLATION_BYTES) / 2);
  expect(judged).toBeLessThan(Math.min(most, FRAMES / 2));
  expect(await correlator.metric('over_share_messages_total')).toBeGreaterThan(FRAMES / 2);
  expect(await correlator.metric('skipped_messages_total')).toBeGreaterThan(FRAMES / 2);
  expect(await correlator.metric('skipped_nodes')).toBe(1);
  // Control: the time that an engine without shares takes for all of them.
  const engine = recordingEngine({ rules: ruleHistoryOf({}), inventory: podInventoryOf({ [NODE_A]: [own] }) });
  const begun = performance.now();
  for (const frame of frames) engine.send(Date.now() * 1000, decodeViolationFrame(frame));
  const allMs = performance.now() - begun;
  expect(behindMs, `${allMs} ms for all frames`).toBeLessThan(Math.max(allMs, 5_000));
  // A restart reads them again.
  expect(await correlator.stop()).toBe(0);
  correlator = await rig.correlator();
  expect(await verdictMs(near)).toBeLessThan(Math.max(allMs, 5_000));
});

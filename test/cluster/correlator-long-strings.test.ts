// A node's credential against the memory of every correlator: frames whose strings are as long as a
// message allows. The correlator runs as a process of its own, so that the kernel counts its
// memory.
import { readFileSync } from 'node:fs';
import { makeFrame, makeViolation, operationSample, podRef } from '@bailiff/correlation/testing';
import type { Violation } from '@bailiff/schemas';
import { encodeUnlimited } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { CORRELATOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { launchApp, type RunningProcess } from '../support/process.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const FRAMES = 300;
const STRING_BYTES = 900_000;
/** Of the share of a node, 16 MiB: the first frames become dead letters, most others are skipped. */
const WITHIN_SHARE = 14;
/**
 * Allowed growth of the correlator. The strings of all frames are 270 MB; messages in flight and
 * not yet collected take up to 90.
 */
const GROWTH_MIB = 128;

const web = podRef('web');
const far = podRef('far');
const near = podRef('near');

/** Fields that the rule engine keeps after it has processed the frame. */
const FIELDS: readonly [string, (text: string) => Partial<Violation>][] = [
  ['Violation.vector', (vector) => ({ vector, counterEpoch: 'boot/7/1/vector' })],
  ['Violation.counterEpoch', (counterEpoch) => ({ counterEpoch })],
  ['PodRef.ownerName', (ownerName) => ({ pod: { ...web, ownerName } })],
  ['PodRef.uid', (uid) => ({ pod: { ...web, uid } })],
  ['OperationSample.subject', (subject) => ({ kind: 'lsm', operation: operationSample({ subject }) })],
  ['Violation.severity', (severity) => ({ severity })],
  ['PacketSample.claimedAddress', (claimedAddress) => ({ sample: { ...SAMPLE, claimedAddress } })],
];
const SAMPLE = makeViolation().sample as NonNullable<Violation['sample']>;

/** A frame with one unique string. */
function longFrame(number: number): Buffer {
  const [, part] = FIELDS[number % FIELDS.length] as (typeof FIELDS)[number];
  const text = `${number}`.padEnd(STRING_BYTES, 'x');
  const base = { pod: web, counterEpoch: `boot/7/${number}`, lastSeenAt: Date.now() * 1000 };
  return encodeUnlimited(
    'ViolationFrame',
    makeFrame([makeViolation({ ...base, ...part(text) })], { frameSequence: number + 1 }),
  );
}

/** A ready correlator with the flags of its image. */
async function launchCorrelator(rig: CorrelatorRig): Promise<RunningProcess> {
  const correlator = launchApp('correlator', rig.flags(), CORRELATOR_NODE_FLAGS);
  await correlator.logged('ready');
  return correlator;
}

function memoryMib({ pid }: RunningProcess, line: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}

it(`correlator - ${FRAMES} frames of ${STRING_BYTES} bytes from one node: memory stays bounded, also at a replay, and another node is judged`, async () => {
  await using rig = await CorrelatorRig.start();
  await rig.list(NODE_A, [web]);
  await rig.list(NODE_B, [far, near]);
  await rig.settle();
  const sequences: number[] = [];
  let before = 0;
  {
    await using correlator = await launchCorrelator(rig);
    before = memoryMib(correlator, 'VmRSS');
    for (let number = 0; number < FRAMES; number += 1) sequences.push(await rig.publish(NODE_A, longFrame(number)));
    await rig.spoof(NODE_B, far, 10);
    const ofFar = () => rig.verdicts.filter(({ groupKey }) => groupKey === far.uid);
    await waitFor(() => ofFar().length > 0, { what: 'the verdict about the pod of the other node' });
    expect(ofFar()).toMatchObject([{ rule: 'repeated-spoofing' }]);
    // One for each cooldown epoch that the frames extend into.
    const ofNode = rig.verdicts.filter(({ groupKey }) => groupKey === NODE_A);
    expect(ofNode.length).toBeGreaterThan(0);
    for (const verdict of ofNode)
      expect(verdict).toMatchObject({ rule: 'foreign-pod-claims', vectors: ['invalid-frame'], pod: null });
    await waitFor(() => rig.deadLetters.length >= WITHIN_SHARE, {
      what: 'dead letters',
      state: () => rig.deadLetters.length,
    });
    const growth = { rss: memoryMib(correlator, 'VmRSS') - before, most: memoryMib(correlator, 'VmHWM') - before };
    expect(growth.rss, JSON.stringify(growth)).toBeLessThan(GROWTH_MIB);
  }
  expect(rig.deadLetters.length).toBeLessThan(FRAMES / 2);
  expect(
    rig.deadLetters
      .map(({ sequence }) => sequence)
      .sort((a, b) => a - b)
      .slice(0, WITHIN_SHARE),
  ).toEqual(sequences.slice(0, WITHIN_SHARE));
  expect(new Set(rig.deadLetters.map(({ reason }) => reason))).toEqual(new Set(['field-too-long']));
  for (const [field] of FIELDS)
    expect(rig.deadLetters.some(({ detail }) => detail.includes(`${field} has ${STRING_BYTES}`))).toBe(true);
  await using again = await launchCorrelator(rig);
  await rig.spoof(NODE_B, near, 10);
  await waitFor(() => rig.verdicts.some(({ groupKey }) => groupKey === near.uid), {
    what: 'the verdict after a replay',
  });
  const growth = memoryMib(again, 'VmHWM') - before;
  expect(growth).toBeLessThan(GROWTH_MIB);
});

// A node's credential against the memory of every correlator: frames whose strings are as long as a message allows. The correlator is a process
// of its own, so that its memory is the one that the kernel counts.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { makeFrame, makeViolation, operationSample, podRef } from '@bailiff/judge/testing';
import type { Violation } from '@bailiff/schemas';
import { encodeUnlimited } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeArgs } from '../../tools/children.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const FRAMES = 100;
const STRING_BYTES = 900_000;
/** What the correlator may grow by. The strings of all frames are 90 MB. */
const GROWTH_MIB = 48;

const web = podRef('web');
const far = podRef('far');

/** Fields that the fold keeps, each beyond the frame that brought it. */
const FIELDS: readonly [string, (text: string) => Partial<Violation>][] = [
  ['vector', (vector) => ({ vector, counterEpoch: 'boot/7/1/vector' })],
  ['counterEpoch', (counterEpoch) => ({ counterEpoch })],
  ['pod.ownerName', (ownerName) => ({ pod: { ...web, ownerName } })],
  ['pod.uid', (uid) => ({ pod: { ...web, uid } })],
  ['operation.subject', (subject) => ({ kind: 'lsm', operation: operationSample({ subject }) })],
  ['severity', (severity) => ({ severity })],
  ['sample.claimedAddress', (claimedAddress) => ({ sample: { ...SAMPLE, claimedAddress } })],
];
const SAMPLE = makeViolation().sample as NonNullable<Violation['sample']>;

const mib = (child: ChildProcess, line: 'VmRSS' | 'VmHWM'): number => {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
};

/** A frame with one string that no other frame has. */
function longFrame(number: number): Buffer {
  const [, part] = FIELDS[number % FIELDS.length] as (typeof FIELDS)[number];
  const text = `${number}`.padEnd(STRING_BYTES, 'x');
  const base = { pod: web, counterEpoch: `boot/7/${number}`, lastSeenAt: Date.now() * 1000 };
  return encodeUnlimited(
    'ViolationFrame',
    makeFrame([makeViolation({ ...base, ...part(text) })], { frameSequence: number + 1 }),
  );
}

describe('correlator - strings as long as a message allows', () => {
  let rig: CorrelatorRig;
  let child: ChildProcess;
  let out = '';
  beforeAll(async () => {
    rig = await CorrelatorRig.start();
    await rig.list(NODE_A, [web]);
    await rig.list(NODE_B, [far]);
    await rig.settle();
    const flags = [...rig.flags()];
    child = spawn(process.execPath, [...nodeArgs('apps/correlator/src/main.ts'), ...flags], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    await waitFor(() => out.includes('"msg":"ready"'), { what: 'ready', timeoutMs: 30_000, state: () => out });
  });
  afterAll(async () => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await rig[Symbol.asyncDispose]();
  });

  it(`${FRAMES} frames of ${STRING_BYTES} bytes from one node - memory stays, and another node is judged`, async () => {
    const before = mib(child, 'VmRSS');
    for (let number = 0; number < FRAMES; number += 1) await rig.publish(NODE_A, longFrame(number));
    await rig.spoof(NODE_B, far, 10);
    await waitFor(() => rig.verdicts.some(({ nodeName }) => nodeName === NODE_B), {
      what: 'a verdict on the other node',
      timeoutMs: 60_000,
      state: () => ({ verdicts: rig.verdicts.length, letters: rig.deadLetters.length }),
    });
    const growth = { rss: mib(child, 'VmRSS') - before, most: mib(child, 'VmHWM') - before };
    console.log(
      before,
      growth,
      rig.deadLetters.length,
      rig.verdicts.map((v) => v.rule),
    );
    expect(growth.rss).toBeLessThan(GROWTH_MIB);
  });
});

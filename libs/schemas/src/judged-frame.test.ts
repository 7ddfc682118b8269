import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeViolationFrame, encodeViolationFrame } from './codec.ts';
import { decodeJudgedFrame, type JudgedFrame, JudgedRegistry } from './judged-frame.ts';
import { sampleViolation } from './testing.ts';
import type { ViolationFrame } from './types.gen.ts';

const registry = new JudgedRegistry();
const frameOf = (violations = [sampleViolation(), sampleViolation({ pod: null, sample: null })]): ViolationFrame => ({
  nodeName: 'node-a',
  bootId: 'boot',
  frameSequence: 7,
  publishedAt: 1_790_000_000_000_000,
  collectorVersion: '0.1.0',
  violations,
  coverage: [
    { interfaceName: 'veth0', ifindex: 3, generation: 1, packetsBeforeGuard: 9, appearedToGuardedMicros: 1_000 },
  ],
});

/** What a full reader sees, without what judging does not look at. */
function judged({ nodeName, frameSequence, violations }: ViolationFrame): JudgedFrame {
  return {
    nodeName,
    frameSequence,
    violations: violations.map(({ pod, sample, operation, ...v }) => ({
      kind: v.kind,
      vector: v.vector,
      action: v.action,
      state: v.state,
      counterEpoch: v.counterEpoch,
      cumulativePackets: v.cumulativePackets,
      count: v.count,
      suppressed: v.suppressed,
      firstSeenAt: v.firstSeenAt,
      lastSeenAt: v.lastSeenAt,
      pod: pod && {
        uid: pod.uid,
        namespace: pod.namespace,
        name: pod.name,
        ownerKind: pod.ownerKind,
        ownerName: pod.ownerName,
        ownerUid: pod.ownerUid,
      },
      sample: sample && {
        claimedMac: sample.claimedMac,
        claimedAddress: sample.claimedAddress,
        destinationAddress: sample.destinationAddress,
        destinationPort: sample.destinationPort,
        process: sample.process && {
          tgid: sample.process.tgid,
          uid: sample.process.uid,
          comm: sample.process.comm,
          executable: sample.process.executable,
          containerName: sample.process.containerName,
        },
      },
      operation: operation && {
        operation: operation.operation,
        subject: operation.subject,
        tgid: operation.tgid,
        uid: operation.uid,
        comm: operation.comm,
        executable: operation.executable,
        parentExecutable: operation.parentExecutable,
        containerName: operation.containerName,
      },
      severity: v.severity,
    })),
  };
}

const tried = <T>(read: () => T): { value: T } | { code: string } => {
  try {
    return { value: read() };
  } catch (error) {
    return { code: (error as { code: string }).code };
  }
};

describe('judged frame', () => {
  it('holds what judging looks at and nothing else', () => {
    const frame = frameOf();
    const read = decodeJudgedFrame(encodeViolationFrame(frame), registry);
    expect(JSON.parse(JSON.stringify(read))).toEqual(JSON.parse(JSON.stringify(judged(frame))));
  });

  it('property - of damaged messages it accepts all that a full reader accepts, with the same content, and throws only its errors', () => {
    const message = encodeViolationFrame(frameOf());
    const damage = fc.record({ at: fc.nat({ max: message.length - 1 }), byte: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), fc.nat({ max: message.length }), (all, cut) => {
        const damaged = Buffer.from(cut > 10 && cut % 3 === 0 ? message.subarray(0, cut) : message);
        for (const { at, byte } of all) if (at >= 10 && at < damaged.length) damaged[at] = byte;
        const full = tried(() => decodeViolationFrame(damaged));
        const short = tried(() => decodeJudgedFrame(damaged, registry));
        if ('value' in full) expect(short).toMatchObject({ value: judged(full.value) });
        else if ('code' in short) expect(short.code).toMatch(/^(TRUNCATED|TRAILING_BYTES|MALFORMED|LONG_RANGE)$/);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a skipped string of negative length - is refused instead of leading back', () => {
    const violation = sampleViolation({ interfaceName: 'x'.repeat(40) });
    const message = encodeViolationFrame(frameOf([violation]));
    const at = message.indexOf('x'.repeat(40)) - 1;
    expect(message[at]).toBe(80);
    message[at] = 79;
    expect(() => decodeJudgedFrame(message, registry)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
    message[at] = 80;
    expect(decodeJudgedFrame(message, registry).violations.length).toBe(1);
  });
});

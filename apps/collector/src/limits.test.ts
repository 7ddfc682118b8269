// The collector shortens texts from outside to the limits of the readers' schemas.
import type { RuntimeSample } from '@bailiff/bpf';
import {
  encodeViolationFrame,
  type GuardGap,
  LIST_LIMITS,
  nodeStatus,
  parseCaptureAnswer,
  type RuntimePolicyStatus,
  type ViolationFrame,
} from '@bailiff/schemas';
import { sampleFrame, sampleLsmViolation, type sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { compose } from './capture/compose.ts';
import { podRefOf } from './desired/desired-state.ts';
import type { Binding } from './identity/identity.ts';
import { toOperationSample } from './operations/publishing/operation.ts';
import { fitPolicies } from './operations/subjects/policy-status.ts';
import { userspaceViolation } from './packets/publishing/violations.ts';
import { FrameWriter } from './publishing/frame.ts';
import { fitInterfaces } from './status/status-limits.ts';

/** 256 bytes that are not UTF-8, as decoded from the ring buffer. */
const GARBAGE = '\ufffd'.repeat(256);
/** Limit of a value in the bucket of node status. */
const VALUE_BYTES = 512 * 1024;

function runtimeSample(change: Partial<RuntimeSample>): RuntimeSample {
  return {
    boottimeNs: 1n,
    cgroupId: 1n,
    containerCgroupId: 1n,
    socketCookie: 1n,
    value: 0n,
    pod: '0'.repeat(32),
    generation: 1,
    rule: 0,
    extra: false,
    op: 0,
    action: 0,
    first: true,
    tgid: 1,
    tid: 1,
    parentTgid: 1,
    uid: 0,
    gid: 0,
    capabilities: 0n,
    comm: 'sh',
    program: '/bin/sh',
    parentProgram: '/init',
    subject: '/etc',
    subjectIsPath: true,
    cut: false,
    address: null,
    port: 0,
    family: 0,
    protocol: 0,
    args: [],
    ...change,
  };
}
const encodes = (violation: ReturnType<typeof sampleViolation>) =>
  encodeViolationFrame(sampleFrame({ violations: [violation] }));

describe('limits of what a collector writes', () => {
  it('operation on long paths that are not UTF-8 - keeps their ends behind an ellipsis', () => {
    const paths = { subject: `${GARBAGE}/last`, program: GARBAGE, parentProgram: GARBAGE, cut: true };
    const args = Array.from({ length: 128 }, () => '');
    const operation = toOperationSample(runtimeSample({ ...paths, args, comm: '\ufffd'.repeat(16) }), 0, null);
    expect(operation.subject).toMatch(/^….*\/last$/);
    expect(operation.executable).toMatch(/^…\ufffd+$/);
    expect(() => encodes(sampleLsmViolation({ operation }))).not.toThrow();
    const whole = toOperationSample(runtimeSample({ subject: '/a'.repeat(128) }), 0, null);
    expect(whole.subject).toBe('/a'.repeat(128));
  });

  it('pod of a CNI record with long names - shortens the names and the detail', () => {
    const words = 'ü'.repeat(5_000);
    const pod = podRefOf({ podUid: words, podNamespace: words, podName: words } as Binding, null);
    const origin = { bootId: 'boot', ifindex: 1, generation: 1, interfaceName: 'veth1', pod };
    const violation = userspaceViolation(origin, 'identity-mismatch', 'programmed', 1, words, 1);
    expect(() => encodes(violation)).not.toThrow();
    expect(violation.detail).toMatch(/^ü+…$/);
  });

  it('unguarded packets - a frame is sent at its limit', () => {
    const sent: GuardGap[][] = [];
    const publish = async ({ coverage }: ViolationFrame) => void sent.push(coverage);
    const options = { nodeName: 'n', bootId: 'b', version: '1', nextSequence: () => 1, clock: { nowMicros: () => 0 } };
    const events = { onAcked: () => {}, onRejected: () => {} };
    const frames = new FrameWriter<{ framesInFlight: number }>({ ...options, sink: { publish } }, events);
    const gap = { interfaceName: 'v', ifindex: 1, generation: 1, packetsBeforeGuard: 0, appearedToGuardedMicros: 0 };
    for (let i = 0; i < LIST_LIMITS.coverage.items; i++) {
      expect(sent).toEqual([]);
      frames.addUnguarded({ framesInFlight: i }, gap);
    }
    const [coverage = []] = sent;
    expect([sent.length, coverage.length]).toEqual([1, LIST_LIMITS.coverage.items]);
    expect(() => encodeViolationFrame(sampleFrame({ violations: [], coverage }))).not.toThrow();
  });

  it('capture of processes with the longest texts - fits into the limits of its schema', () => {
    const words = '\ufffd'.repeat(4_096);
    const facts = { parentPid: 1, startTicks: 1, uid: 0, comm: words, executable: words, argsCut: false, netns: '' };
    const processes = Array.from({ length: 300 }, (_, i) => ({
      ...facts,
      pid: i + 1,
      args: Array(64).fill(words) as string[],
      sockets: [1],
      container: words,
    }));
    const sockets = Array.from({ length: 300 }, () => {
      return { protocol: 'unix', local: words, remote: '', state: 'established', inode: 1 };
    });
    const more = { takenAtMicros: 1, bootMicros: 1, arguments: 'full', first: [], unread: 0, unreadSockets: 0 };
    // Only some of these processes fit.
    for (const candidates of [processes.map((one) => ({ ...one, args: [words] })), processes]) {
      const capture = compose({ ...more, processes: candidates, sockets });
      expect(() => parseCaptureAnswer(Buffer.from(JSON.stringify({ capture })))).not.toThrow();
    }
  });

  it('status at all its limits - fits into its bucket, refused policies first', () => {
    const name = 'n'.repeat(253);
    const interfaces = Array.from({ length: 10_000 }, (_, i) => ({
      interfaceName: `veth${i}`,
      ifindex: i,
      generation: 1,
      coverage: 'partial' as const,
      reason: 'r'.repeat(5_000),
      state: 'unknown' as const,
      podUid: 'u'.repeat(128),
      podNamespace: name,
      podName: name,
      addresses: [],
      mac: '',
      packetsBeforeGuard: 0,
      quarantinedUntil: null,
    }));
    const policies = Array.from({ length: 2_000 }, (_, i): RuntimePolicyStatus => {
      const state = i === 1_999 ? 'refused' : 'in-force';
      return { key: `runtime.namespace.${name}.${name}`, revision: 1, state, reason: 'r'.repeat(5_000), subjects: 0 };
    });
    const status = { ...fitInterfaces(interfaces), ...fitPolicies(policies) };
    expect(JSON.stringify(status).length).toBeLessThan(VALUE_BYTES - 32 * 1024);
    expect(status.policies[0]?.state).toBe('refused');
    expect(status.policies.length + status.policiesOmitted).toBe(2_000);
    expect(nodeStatus.shape.interfaces.safeParse(status.interfaces).success).toBe(true);
    const few = policies.slice(-3);
    expect(fitPolicies(few).policies.map(({ state }) => state)).toEqual(['in-force', 'in-force', 'refused']);
  });
});

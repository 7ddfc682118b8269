/** Events of every class for tests, as parsed from messages. */
import {
  type FileOperation,
  KERNEL_OPERATIONS,
  OPERATIONS as OPERATION_NAMES,
  RESPONSE_ACTIONS,
} from '@bailiff/policy';
import type { OperationSample, Response, ResponsePhase } from '@bailiff/schemas';
import {
  sampleLsmViolation,
  sampleOperation,
  sampleResponse,
  sampleVerdict,
  sampleViolation,
} from '@bailiff/schemas/testing';
import { omissionEvent, originOf, type Place, type SiemEvent } from './event.ts';

const CREATED_MS = Date.parse('2026-11-01T00:00:00Z');

export function samplePlace(stream: string, sequence = 7): Place {
  return { stream, createdMs: CREATED_MS, sequence, storedMicros: 1_790_000_000_456_789 };
}

export function violationEvent(value = sampleViolation(), index = 0): SiemEvent {
  return { kind: 'violation', origin: originOf(samplePlace('VIOLATIONS'), index, 'node-1.example'), value };
}

export function operationEvent(part: Partial<OperationSample>): SiemEvent {
  return violationEvent(sampleLsmViolation({ operation: sampleOperation(part) }));
}

export function verdictEvent(part: Parameters<typeof sampleVerdict>[0] = {}): SiemEvent {
  const value = sampleVerdict(part);
  const evidence = value.evidence.map(() => CREATED_MS);
  return { kind: 'verdict', origin: originOf(samplePlace('VERDICTS'), 0, value.nodeName), value, evidence };
}

export function responseEvent(part: Partial<Response> = {}): SiemEvent {
  const value = sampleResponse(part);
  return { kind: 'response', origin: originOf(samplePlace('RESPONSES'), 0, value.nodeName), value };
}

export function sampleOmission(): SiemEvent {
  const times = { sinceMicros: 1_790_000_000_000_000, untilMicros: 1_790_000_009_000_000 };
  const value = { events: 12_345, firstSequence: 7, lastSequence: 900, ...times };
  return omissionEvent(value, 'node-1.example', samplePlace('VIOLATIONS'));
}

/** A pod with more processes and longer names than an event can hold. */
export function captureEvent(part: Partial<Response> = {}): SiemEvent {
  const process = (index: number) => ({
    pid: 100 + index,
    parentPid: 100,
    startedAt: 1,
    uid: 0,
    container: 'app',
    comm: `p${index}`,
    executable: index === 1 ? '' : `/opt/${index >> 1}/${'x'.repeat(200)}`,
    args: ['--password=hunter2'],
    argsCut: false,
  });
  const socket = (index: number) => ({
    protocol: 'tcp',
    local: `10.1.0.4:${index}`,
    remote: index === 0 ? '' : `198.51.100.${index}:443`,
    state: 'established',
    pids: [100],
  });
  const list = <T>(make: (index: number) => T) => Array.from({ length: 100 }, (_, index) => make(index));
  const capture = {
    takenAt: 1_790_000_000_456_789,
    arguments: 'full',
    processes: list(process),
    processesOmitted: 3,
    sockets: list(socket),
    socketsOmitted: 2,
  };
  return responseEvent({ action: 'capture', phase: 'succeeded', capture, ...part });
}

type OperationName = (typeof OPERATION_NAMES)[number];

/** `[subject, address]` of an operation. */
const SAMPLE_TARGETS: Readonly<Record<Exclude<OperationName, FileOperation | 'kernel'>, readonly [string, string]>> = {
  execute: ['/usr/bin/nc', ''],
  'map-execute': ['/tmp/evil.so', ''],
  drift: ['/tmp/dropped', ''],
  'unix-connect': ['/run/containerd.sock', ''],
  'unix-send': ['@abstract', ''],
  'unix-bind': ['/tmp/s', ''],
  connect: ['', '169.254.169.254'],
  send: ['', '2001:db8::1'],
  bind: ['', '0.0.0.0'],
  listen: ['', '::'],
  socket: ['alg/seqpacket/*', ''],
  capability: ['sys_admin', ''],
  mount: ['new', ''],
};

function samplesOf(name: OperationName): readonly (readonly [string, string, string])[] {
  // The kernel program reports a rule on `ptrace` as `ptrace` or `traceme`.
  if (name === 'kernel') return [...KERNEL_OPERATIONS, 'traceme'].map((value) => [name, value, ''] as const);
  const [subject, address] =
    name in SAMPLE_TARGETS ? SAMPLE_TARGETS[name as keyof typeof SAMPLE_TARGETS] : ['/etc/shadow', ''];
  return [[name, subject, address]];
}

/**
 * `[operation, subject, address]`: every operation of kernel program and policies, and one that is
 * unknown.
 */
export const OPERATIONS: readonly (readonly [string, string, string])[] = [
  ...OPERATION_NAMES.flatMap(samplesOf),
  ['ptrace', '', ''],
  ['never-heard-of', 'x', ''],
];

export const PHASES: readonly ResponsePhase[] = [
  'started',
  'succeeded',
  'dryrun',
  'refused',
  'failed',
  'undone',
  'pending',
  'approved',
];

/** Every case of the mapping, with a name. */
export function everyEvent(): [string, SiemEvent][] {
  const operation = (part: Partial<OperationSample>) => operationEvent(part);
  const sample = sampleViolation().sample;
  const made = {
    madeAt: 1,
    tgid: 77,
    uid: 1000,
    comm: 'hping3',
    executable: '/usr/sbin/hping3',
    cgroupId: '8123',
    containerName: 'app',
  };
  return [
    ['spoof', violationEvent()],
    ['spoof without a sample and a pod', violationEvent(sampleViolation({ pod: null, sample: null }))],
    ['spoof audited', violationEvent(sampleViolation({ action: 'audit' }))],
    ['spoof by a known process', violationEvent(sampleViolation({ sample: sample && { ...sample, process: made } }))],
    [
      'spoof received',
      violationEvent(
        sampleViolation({ sample: sample && { ...sample, direction: 'receive', destinationAddress: '' } }),
      ),
    ],
    ['lsm without a sample', violationEvent(sampleLsmViolation({ operation: null }))],
    ['lsm audited', violationEvent(sampleLsmViolation({ action: 'audit' }))],
    ['lsm killed', operation({ outcome: 'kill' })],
    ['lsm with few known fields', operation({ subject: '', executable: '', comm: '', arguments: [], parentTgid: 0 })],
    ...OPERATIONS.map(([name, subject, address]): [string, SiemEvent] => [
      `${name} ${subject || address}`,
      operation({ operation: name, subject, address, port: address ? 443 : 0, protocol: address ? 6 : 0 }),
    ]),
    ['verdict', verdictEvent()],
    ['verdict about a node', verdictEvent({ pod: null, groupBy: 'node', tags: ['attack.t1552.001', 'x'] })],
    [
      'verdict with processes',
      verdictEvent({
        evidence: Array.from({ length: 32 }, (_, index) => ({
          streamSequence: 90 + index,
          index,
          vector: 'escape-guard/release-agent',
          packets: 1,
          process: {
            tgid: 42,
            uid: 0,
            comm: 'sh',
            executable: '/bin/sh',
            parentExecutable: '/usr/bin/node',
            containerName: 'app',
            operation: 'write',
            subject: '/sys/fs/cgroup/release_agent',
          },
        })),
      }),
    ],
    ...RESPONSE_ACTIONS.flatMap((action) =>
      PHASES.map((phase): [string, SiemEvent] => [`${action} ${phase}`, responseEvent({ action, phase })]),
    ),
    ['capture of a busy pod', captureEvent()],
    ['omitted violations', sampleOmission()],
    [
      'response about a node',
      responseEvent({ action: 'cordon', podName: '', podNamespace: '', podUid: '', policy: '' }),
    ],
  ];
}

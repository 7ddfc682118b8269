/** Converts a ring buffer record of kind lsm to its form on the bus. Pure. */
import type { RuntimeSample } from '@bailiff/bpf';
import { OPERATIONS, RULE_ACTIONS, valueName } from '@bailiff/runtime';
import { cutFront, MAX_TEXT, type OperationSample } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';

const OUTCOMES: Readonly<Record<string, OperationSample['outcome']>> = { block: 'block', kill: 'kill' };
const ON_VALUES: readonly string[] = ['socket', 'capability', 'mount', 'kernel', 'drift'];

/**
 * Cuts a path at its front, because its end identifies more. The kernel keeps 256 bytes, and each
 * byte that is no UTF-8 becomes three.
 */
const path = (text: string): string => cutFront(text, MAX_TEXT.OperationSample.subject.bytes);

const decimal = (value: bigint): string => (value === 0n ? '' : value.toString());

/**
 * @param bootWallMicros wall-clock microseconds at CLOCK_BOOTTIME 0
 * @param container null: unknown
 */
export function toOperationSample(
  sample: RuntimeSample,
  bootWallMicros: number,
  container: ContainerRef | null,
): OperationSample {
  const operation = OPERATIONS[sample.op] as (typeof OPERATIONS)[number];
  const value = ON_VALUES.includes(operation) ? valueName(operation, sample.value) : '';
  // A mount has both a kind and a path.
  const subject = value !== '' && sample.subject !== '' ? `${value} ${sample.subject}` : value || sample.subject;
  return {
    observedAt: bootWallMicros + Math.round(Number(sample.boottimeNs) / 1000),
    operation,
    outcome: OUTCOMES[RULE_ACTIONS[sample.action] as string] ?? 'audit',
    subject: path(sample.cut && sample.subjectIsPath ? `…${subject}` : subject),
    address: sample.address ?? '',
    port: sample.port,
    protocol: sample.protocol,
    tgid: sample.tgid,
    tid: sample.tid,
    parentTgid: sample.parentTgid,
    uid: sample.uid,
    gid: sample.gid,
    capabilities: sample.capabilities.toString(16).padStart(16, '0'),
    comm: sample.comm,
    executable: path(sample.program),
    parentExecutable: path(sample.parentProgram),
    arguments: [...sample.args],
    cgroupId: decimal(sample.containerCgroupId),
    containerId: container?.id ?? '',
    containerName: container?.name ?? '',
    socketCookie: decimal(sample.socketCookie),
  };
}

import {
  DriftValueValues,
  KernelValueValues,
  MountValueValues,
  OpValues,
  PathClassValues,
  PathKindValues,
  PathMatchValues,
  PostureClassValues,
  RuleActionValues,
} from '@bailiff/bpf/runtime-layout';
import {
  CAPABILITIES,
  DRIFT_VALUES,
  KERNEL_VALUES,
  MOUNT_VALUES,
  OPERATIONS,
  POSTURE_CLASSES,
  RULE_ACTIONS,
} from '@bailiff/vocabulary';
import { describe, expect, it } from 'vitest';
import { PATH_CLASSES, PATH_KINDS, PATH_MATCHES, postureOf, SOCKET_ANY, socketValue, valueName } from './names.ts';

/**
 * Words of an enum in the order of their numbers (`OP_MAP_EXECUTE: 1`); the last one is the count.
 */
function wordsOf(values: Readonly<Record<string, number>>, prefix: string): string[] {
  const sorted = Object.entries(values).sort(([, a], [, b]) => a - b);
  expect(sorted.map(([, number]) => number)).toEqual(sorted.map((_, index) => index));
  return sorted.map(([name]) => name.slice(prefix.length).toLowerCase().replaceAll('_', '-'));
}

describe('names', () => {
  it.each<[string, readonly string[], Readonly<Record<string, number>>, string, boolean]>([
    ['operations', OPERATIONS, OpValues, 'OP_', true],
    ['mounts', MOUNT_VALUES, MountValueValues, 'MOUNT_', true],
    ['kernel', KERNEL_VALUES, KernelValueValues, 'KERNEL_', true],
    ['drift', DRIFT_VALUES, DriftValueValues, 'DRIFT_', true],
    ['actions', RULE_ACTIONS, RuleActionValues, 'RULE_', true],
    ['postures', POSTURE_CLASSES, PostureClassValues, 'POSTURE_', true],
    ['path matches', PATH_MATCHES, PathMatchValues, 'PATH_', false],
    ['path classes', PATH_CLASSES, PathClassValues, 'PATHS_', true],
    ['path kinds', PATH_KINDS, PathKindValues, 'PATH_', false],
  ])('%s - numbered as in the kernel object', (_name, list, values, prefix, counted) => {
    expect(wordsOf(values, prefix).slice(0, counted ? -1 : undefined)).toEqual(list);
  });

  it('capabilities - some of capability.h by number', () => {
    expect([0, 12, 13, 21, 25, 38, 39, 40].map((number) => CAPABILITIES[number])).toEqual([
      ...['chown', 'net_admin', 'net_raw', 'sys_admin', 'sys_time', 'perfmon', 'bpf', 'checkpoint_restore'],
    ]);
  });

  it.each([
    ['execute', 'execute'],
    ['map-execute', 'execute'],
    ['read', 'file'],
    ['unix-bind', 'file'],
    ['connect', 'network'],
    ['socket', 'network'],
    ['capability', 'capability'],
    ['mount', 'kernel'],
    ['kernel', 'kernel'],
    ['drift', null],
  ] as const)('class of %s - %s', (op, name) => expect(postureOf(op)).toBe(name));

  it.each([
    ['socket', socketValue(2, 3, 1), 'inet/raw/icmp'],
    ['socket', socketValue(38, SOCKET_ANY, SOCKET_ANY), 'alg/*/*'],
    ['socket', socketValue(99, 9, 0), '99/9/0'],
    ['capability', 13n, 'net_raw'],
    ['mount', 1n, 'bind'],
    ['kernel', 2n, 'user-namespace'],
    ['drift', 7n, '7'],
  ] as const)('value of %s %s - %s', (op, value, text) => expect(valueName(op, value)).toBe(text));
});

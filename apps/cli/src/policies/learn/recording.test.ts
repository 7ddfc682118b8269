import { POSTURE_CLASSES, runtimePolicy } from '@bailiff/policy';
import { compileSet, decide, mergeSelected, type Operation, onlyOperation, valueNamed } from '@bailiff/runtime';
import { sampleOperation } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CELL, recordingRules } from './recording.ts';
import type { Learned } from './rule-parts.ts';

const NONE = { subject: '', address: '', port: 0, protocol: 0, comm: 'app' };
type Part = Partial<Learned['operation']>;
const did = (operation: string, part: Part = {}, times = 1): Learned => ({
  operation: sampleOperation({ ...NONE, operation, executable: '/usr/bin/app', ...part }),
  times,
});
const PROGRAMS = ['/usr/bin/app', '/bin/sh', '/bin/a', '/bin/b', '/bin/c', '/bin/d'];
const PATHS = ['/etc/hosts', '/etc/passwd', '/tmp/x', '/run/db.sock'];
const learnedOf = fc.oneof(
  fc.record({
    operation: fc.constantFrom(
      'read',
      'write',
      'truncate',
      'create',
      'execute',
      'map-execute',
      'unix-connect',
      'rename',
    ),
    subject: fc.constantFrom(...PATHS, '…cut/path', '/memfd:x'),
    executable: fc.constantFrom(...PROGRAMS, ''),
  }),
  fc.record({
    operation: fc.constantFrom('connect', 'bind', 'send'),
    address: fc.constantFrom('10.0.0.1', 'fd00::1', '::ffff:10.0.0.2', 'fe80::1%eth0'),
    port: fc.constantFrom(0, 80, 443),
    protocol: fc.constantFrom(6, 17, 0),
    executable: fc.constantFrom(...PROGRAMS),
  }),
  fc.record({
    operation: fc.constantFrom('socket', 'capability', 'mount', 'kernel', 'drift', 'unix-send'),
    subject: fc.constantFrom(
      'inet/stream/0',
      'inet/stream/tcp',
      'unix/dgram/0',
      'net_raw',
      'bind /mnt',
      'ptrace',
      'memory',
      '@agent',
    ),
    executable: fc.constantFrom(...PROGRAMS),
  }),
);

/** What a recorded operation was; null: the text is not one of that operation. */
function operationOf({ operation: op, subject, address, port, protocol }: Learned['operation']): Operation | null {
  if (['connect', 'bind', 'send'].includes(op)) {
    const plain = address.replace('::ffff:', '').replace('%eth0', '');
    return { kind: 'address', op: op as 'connect', address: plain, port, protocol };
  }
  if (['socket', 'capability', 'mount', 'kernel', 'drift'].includes(op)) {
    const value = valueNamed(op as 'socket', subject.split(' ')[0] ?? '');
    return value === null ? null : { kind: 'value', op: op as 'socket', value };
  }
  if (op.startsWith('unix-') && !subject.startsWith('/'))
    return { kind: 'abstract', op: op as 'unix-send', name: subject.replace('@', '') };
  return { kind: 'path', op: op as 'read', path: subject.replace('/memfd', 'memfd') };
}

function setFor(learned: readonly Learned[]) {
  const policy = runtimePolicy.parse({
    mode: 'audit',
    defaultPosture: Object.fromEntries(POSTURE_CLASSES.map((name) => [name, 'audit'])),
    rules: recordingRules(learned),
  });
  const set = mergeSelected([{ key: 'runtime.cluster._.learn', name: 'learn', namespace: null, policy }]);
  compileSet(set, 1, new Uint8Array(16));
  return set;
}

describe('rules that record', () => {
  it('every operation counts once: none is lost, none is counted twice, nothing is denied', () => {
    const observed = fc.uniqueArray(learnedOf, { maxLength: 40, selector: (one) => JSON.stringify(one) });
    fc.assert(
      fc.property(observed, observed, (before, after) => {
        const set = setFor(before.map(({ operation, ...part }) => did(operation, part)));
        for (const { operation: op, ...part } of [...before, ...after]) {
          const one = did(op, part).operation;
          const operation = operationOf(one);
          if (operation === null) continue;
          const { outcome, counted } = decide(set, operation, { chain: [one.executable], cut: false });
          expect([outcome, op, part, counted.length]).toEqual(['pass', op, part, 1]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('a cell has one operation, of one program where the kernel has room', () => {
    const learned = [
      did('read', { subject: '/etc/hosts' }, 7),
      did('read', { subject: '/etc/hosts', executable: '/bin/sh' }, 3),
      did('connect', { address: '10.0.0.1', port: 443, protocol: 6 }),
      ...PROGRAMS.map((executable) => did('read', { subject: '/etc/ld.so.cache', executable })),
    ];
    const cells = setFor(learned).rules.filter(({ name }) => name.startsWith(CELL));
    expect(cells.map((rule) => onlyOperation(rule)?.map(({ executable }) => executable))).toEqual([
      ['/usr/bin/app'],
      ['/bin/sh'],
      ['/usr/bin/app'],
      ['/usr/bin/app'],
      [...PROGRAMS].sort(),
    ]);
  });

  it('several operations of a program on one object have a cell each', () => {
    const files = ['read', 'write', 'chmod', 'unlink'].map((op) => did(op, { subject: '/tmp/x' }));
    const peers = ['10.0.0.1', '10.0.0.2'].flatMap((address, index) =>
      [80, 443, 8080].map((port) => did(index ? 'send' : 'connect', { address, port, protocol: 17 })),
    );
    const { rules } = setFor([...files, ...peers]);
    const cells = rules.filter(({ name }) => name.startsWith(CELL));
    const counted = cells.flatMap((rule) => onlyOperation(rule)?.map(({ operation }) => operation) ?? ['several']);
    expect(counted.sort()).toEqual([
      ...['chmod', ...Array<string>(6).fill('connect'), 'read', ...Array<string>(6).fill('send')],
      ...['truncate', 'unlink', 'write'],
    ]);
  });

  it('bounds - many ports and kinds of sockets compile', () => {
    const ports = Array.from({ length: 40 }, (_, port) => did('connect', { address: '10.0.0.1', port, protocol: 6 }));
    const sockets = PROGRAMS.map((executable) => did('socket', { subject: 'inet/stream/0', executable }));
    const rules = setFor([...ports, ...sockets, did('socket', { subject: 'inet/stream/tcp' })]).rules;
    expect(rules.filter(({ name }) => name.startsWith(CELL))).toHaveLength(8);
  });

  it('bounds - more operations than rules leave the others to the posture', () => {
    const learned = Array.from({ length: 1_000 }, (_, index) => did('read', { subject: `/data/${index}` }));
    const set = setFor(learned);
    expect(set.rules.filter(({ name }) => name.startsWith(CELL)).length).toBeGreaterThan(200);
    const last = decide(set, { kind: 'path', op: 'read', path: '/data/999' }, { chain: ['/usr/bin/app'], cut: false });
    expect([last.by, last.counted.length]).toEqual(['posture', 1]);
  });
});

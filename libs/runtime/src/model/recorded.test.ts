import { type RuntimePolicyInput, runtimePolicy } from '@bailiff/policy';
import { OPERATIONS } from '@bailiff/vocabulary';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeSelected } from '../policies/merge.ts';
import { valueName, valueNamed } from '../sets/names.ts';
import type { RuleIR } from '../sets/set.ts';
import { setOf } from '../testing.ts';
import { decide, type Operation } from './model.ts';
import { judgeCounted, judgePosture, judgeRecorded, onlyOperation, type RecordedOperation } from './recorded.ts';

const recorded = (operation: string, subject: string, part: Partial<RecordedOperation> = {}): RecordedOperation => ({
  operation,
  subject,
  address: '',
  port: 0,
  protocol: 0,
  executable: '/usr/bin/app',
  ...part,
});
const to = (address: string, port: number, protocol = 6) => recorded('connect', '', { address, port, protocol });
type Rules = NonNullable<RuntimePolicyInput['rules']>;
const outcomeOf = (rules: Rules, one: RecordedOperation, more: Partial<RuntimePolicyInput> = {}) =>
  judgeRecorded([setOf({ rules, ...more })], one).outcome;

const SECRET: Rules = [{ name: 'secret', action: 'block', file: { paths: ['/etc/shadow'], operations: ['read'] } }];
const RAW: Rules = [{ name: 'raw', action: 'kill', socket: { types: ['raw'] } }];
const BY_SHELL: Rules = [
  { name: 'sh', action: 'block', fromSource: [{ path: '/bin/sh' }], file: { paths: ['/etc/shadow'] } },
];
const BELOW_SHELL: Rules = [
  { name: 'sh', action: 'block', fromSource: [{ path: '/bin/sh', children: true }], file: { paths: ['/etc/shadow'] } },
];

describe('recorded operations', () => {
  it.each<[string, Rules, RecordedOperation, string, Partial<RuntimePolicyInput>?]>([
    ['a denied path', SECRET, recorded('read', '/etc/shadow'), 'denied'],
    ['another path', SECRET, recorded('read', '/etc/hosts'), 'pass'],
    ['another operation', SECRET, recorded('write', '/etc/shadow'), 'pass'],
    ['a path without its start', SECRET, recorded('read', '…c/shadow'), 'undecided'],
    ['the same, where no path decides', [], recorded('read', '…c/x'), 'denied', { defaultPosture: { file: 'block' } }],
    ['a denied file as old or new name of a link', SECRET, recorded('link', '/etc/shadow'), 'undecided'],
    ['a rename of a denied file', SECRET, recorded('rename', '/etc/shadow'), 'denied'],
    ['a rename elsewhere', SECRET, recorded('rename', '/tmp/a'), 'pass'],
    ['a raw socket', RAW, recorded('socket', 'inet/raw/icmp'), 'denied'],
    ['a stream socket', RAW, recorded('socket', 'inet/stream/0'), 'pass'],
    ['a socket without its words', RAW, recorded('socket', 'inet'), 'undecided'],
    [
      'an address',
      [{ name: 'm', action: 'block', network: { cidrs: ['169.254.169.254/32'] } }],
      to('169.254.169.254', 80),
      'denied',
    ],
    [
      'another address',
      [{ name: 'm', action: 'block', network: { cidrs: ['169.254.169.254/32'] } }],
      to('10.0.0.1', 80),
      'pass',
    ],
    [
      'an abstract name',
      [{ name: 'a', action: 'block', unix: { abstract: ['agent'] } }],
      recorded('unix-connect', '@agent'),
      'denied',
    ],
    [
      'a capability',
      [{ name: 'c', action: 'block', capabilities: ['net_raw'] }],
      recorded('capability', 'net_raw'),
      'denied',
    ],
    [
      'a mount with its place',
      [{ name: 'm', action: 'block', mount: { operations: ['bind'] } }],
      recorded('mount', 'bind /mnt'),
      'denied',
    ],
    ['a new mount that may show a denied file', SECRET, recorded('mount', 'new /mnt'), 'undecided'],
    ['an operation of a later version', SECRET, recorded('teleport', '/x'), 'undecided'],
    ['the program of a rule', BY_SHELL, recorded('read', '/etc/shadow', { executable: '/bin/sh' }), 'denied'],
    ['another program', BY_SHELL, recorded('read', '/etc/shadow'), 'pass'],
    ['a program that is not known', BY_SHELL, recorded('read', '/etc/shadow', { executable: '' }), 'undecided'],
    ['a program that one of a rule may have started', BELOW_SHELL, recorded('read', '/etc/shadow'), 'undecided'],
    ['the same with an object of no rule', BELOW_SHELL, recorded('read', '/etc/hosts'), 'pass'],
    [
      'a denial of all beside one of some programs',
      [...BELOW_SHELL, ...SECRET],
      recorded('read', '/etc/shadow'),
      'denied',
    ],
    [
      'a file in memory',
      [{ name: 'm', action: 'block', execute: { anonymous: true } }],
      recorded('execute', 'memfd:x'),
      'denied',
    ],
    [
      'a file in memory, or of that name',
      [{ name: 'm', action: 'block', execute: { anonymous: true } }],
      recorded('execute', '/memfd:x'),
      'undecided',
    ],
  ])('%s', (_name, rules, one, expected, more) => {
    expect(outcomeOf(rules, one, more)).toBe(expected);
  });

  it('containers that differ - undecided; without a policy it passes', () => {
    const set = setOf({ rules: SECRET });
    expect(judgeRecorded([set, null], recorded('read', '/etc/shadow')).outcome).toBe('undecided');
    expect(judgeRecorded([null], recorded('read', '/etc/shadow')).outcome).toBe('pass');
    expect(judgeRecorded([set], recorded('read', '/etc/shadow'))).toEqual({ outcome: 'denied', by: 'test-0/secret' });
  });

  it('a path that the kernel does not resolve - as onUnresolvable', () => {
    const [strict, lenient] = (['block', 'audit'] as const).map((onUnresolvable) =>
      setOf({ onUnresolvable, rules: SECRET }),
    );
    expect(judgeRecorded([strict!], recorded('read', ''), true).outcome).toBe('denied');
    expect(judgeRecorded([lenient!], recorded('read', ''), true).outcome).toBe('pass');
  });

  it('any ancestors - never another outcome than the one that is decided', () => {
    const programs = ['/a', '/b', '/c'];
    const rule = fc.record({
      action: fc.constantFrom('allow', 'audit', 'block', 'kill'),
      path: fc.constantFrom(...programs),
      children: fc.boolean(),
      file: fc.constantFrom('/x', '/y'),
    });
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.array(fc.constantFrom(...programs), { minLength: 1, maxLength: 4 }),
        fc.constantFrom('allow', 'block'),
        (rules, chain, file) => {
          const input = runtimePolicy.safeParse({
            mode: 'enforce',
            defaultPosture: { file },
            rules: rules.map(({ action, path, children, file: at }, index) => ({
              name: `r${index}`,
              action,
              fromSource: [{ path, children }],
              file: { paths: [at], operations: ['read'] },
            })),
          });
          fc.pre(input.success);
          const set = setOf(input.data as RuntimePolicyInput);
          const operation: Operation = { kind: 'path', op: 'read', path: '/x' };
          const real = decide(set, operation, { chain, cut: false }).outcome === 'pass' ? 'pass' : 'denied';
          const judged = judgeRecorded([set], recorded('read', '/x', { executable: chain[0]! })).outcome;
          expect(['undecided', real]).toContain(judged);
        },
      ),
    );
  });
});

describe('operations counted without a sample', () => {
  const rulesOf = (rules: Rules, mode: 'audit' | 'enforce' = 'audit'): readonly RuleIR[] =>
    mergeSelected([
      { key: 'runtime.cluster._.r', name: 'r', namespace: null, policy: runtimePolicy.parse({ mode, rules }) },
    ]).rules;
  const one = (rule: Record<string, unknown>) =>
    rulesOf([{ name: 'r', action: 'audit', ...rule } as Rules[number]])[0]!;

  it.each<[string, Record<string, unknown>, Partial<RecordedOperation> | null]>([
    ['a path', { file: { paths: ['/a'], operations: ['read'] } }, { operation: 'read', subject: '/a', executable: '' }],
    [
      'of a program',
      { fromSource: [{ path: '/p' }], execute: { paths: ['/a'], operations: ['map'] } },
      { operation: 'map-execute', executable: '/p' },
    ],
    [
      'an address',
      { network: { operations: ['connect'], cidrs: ['10.0.0.1/32'], ports: [80], protocols: ['tcp'] } },
      { address: '10.0.0.1', port: 80, protocol: 6 },
    ],
    [
      'an IPv6 address',
      { network: { operations: ['send'], cidrs: ['fd00::1/128'], ports: [53], protocols: ['udp'] } },
      { address: 'fd00::1', protocol: 17 },
    ],
    [
      'of several programs',
      { fromSource: [{ path: '/p' }, { path: '/q' }], capabilities: ['net_raw'] },
      { subject: 'net_raw', executable: '/p' },
    ],
    ['a socket', { socket: { families: ['inet'], types: ['stream'], protocols: [0] } }, { subject: 'inet/stream/0' }],
    ['a capability', { capabilities: ['net_raw'] }, { operation: 'capability', subject: 'net_raw' }],
    ['two paths', { file: { paths: ['/a', '/b'], operations: ['read'] } }, null],
    ['two operations', { file: { paths: ['/a'], operations: ['read', 'write'] } }, null],
    ['a directory', { file: { directories: ['/a'], operations: ['read'] } }, null],
    [
      'a network',
      { network: { operations: ['connect'], cidrs: ['10.0.0.0/24'], ports: [80], protocols: ['tcp'] } },
      null,
    ],
    ['any port', { network: { operations: ['connect'], cidrs: ['10.0.0.1/32'], protocols: ['tcp'] } }, null],
    ['any protocol of a socket', { socket: { families: ['inet'], types: ['raw'] } }, null],
    ['children', { fromSource: [{ path: '/p', children: true }], file: { paths: ['/a'], operations: ['read'] } }, null],
  ])('the only operation of a rule - %s', (_name, rule, expected) => {
    const found = onlyOperation(one(rule));
    if (expected === null) expect(found).toBeNull();
    else expect(found).toEqual(expect.arrayContaining([expect.objectContaining(expected)]));
  });

  it('the same rule denies all; a rule about other operations leaves all; others are undecided', () => {
    const shells = { execute: { paths: ['/bin/sh', '/bin/bash'] } };
    const counted = one(shells);
    const judge = (...rules: Rules) => judgeCounted([setOf({ rules })], counted);
    expect(judge({ name: 's', action: 'kill', ...shells })).toEqual({ outcome: 'denied', by: 'test-0/s' });
    expect(judge(...SECRET).outcome).toBe('pass');
    expect(judge({ name: 's', action: 'block', execute: { paths: ['/bin/sh'] } }).outcome).toBe('undecided');
    expect(
      judgeCounted([setOf({ rules: SECRET })], one({ file: { paths: ['/etc/shadow'], operations: ['read'] } })).outcome,
    ).toBe('denied');
  });

  it('a rule that names several operations - decided if the outcome of all is the same', () => {
    const shells = one({ execute: { paths: ['/bin/sh', '/bin/bash'] } });
    const tcp = one({ socket: { families: ['inet'], types: ['stream'], protocols: ['tcp'] } });
    const judge = (counted: RuleIR, match: object) =>
      judgeCounted([setOf({ rules: [{ name: 't', action: 'block', ...match } as Rules[0]] })], counted).outcome;
    expect(tcp.matches).toHaveLength(3);
    expect([
      judge(shells, { execute: { directories: ['/bin'] } }),
      judge(shells, { execute: { suffixes: ['bash'] } }),
      judge(tcp, { socket: { families: ['inet'] } }),
      judge(tcp, { socket: { families: ['inet6'] } }),
      judge(tcp, { socket: { families: ['inet'], types: ['stream'], protocols: [0] } }),
    ]).toEqual(['denied', 'undecided', 'denied', 'pass', 'undecided']);
  });

  it('a posture - denied only where no allow rule can hold', () => {
    const judge = (input: RuntimePolicyInput) => judgePosture([setOf(input)], 'file').outcome;
    expect(judge({ defaultPosture: { file: 'block' } })).toBe('denied');
    expect(judge({ defaultPosture: { network: 'block' } })).toBe('pass');
    expect(
      judge({ defaultPosture: { file: 'block' }, rules: [{ name: 'a', action: 'allow', file: { paths: ['/a'] } }] }),
    ).toBe('undecided');
    expect(judge({ rules: SECRET })).toBe('undecided');
  });

  it('names of values - read back', () => {
    for (const op of OPERATIONS) {
      for (let value = 0n; value < 12n; value += 1n) {
        const name = valueName(op, value);
        if (['capability', 'mount', 'kernel', 'drift'].includes(op) && !/^\d/.test(name))
          expect(valueNamed(op, name)).toBe(value);
      }
    }
    const socket = fc
      .tuple(fc.nat(45), fc.nat(10), fc.nat(300))
      .map(([f, t, p]) => (BigInt(f) << 32n) | (BigInt(t) << 16n) | BigInt(p));
    fc.assert(
      fc.property(socket, (value) => {
        expect(valueNamed('socket', valueName('socket', value))).toBe(value);
      }),
    );
    expect([
      valueNamed('socket', 'inet/raw/*'),
      valueNamed('socket', 'a/b/c'),
      valueNamed('mount', 'constructor'),
    ]).toEqual([null, null, null]);
  });
});

// Decisions by cases: matching, precedence, postures, aliases, sources.
import type { RuntimePolicyInput } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { onAddress, onPath, onValue, setOf, socket, task } from '../testing.ts';
import { decide, type Operation, type TaskFacts } from './model.ts';

type Rule = NonNullable<RuntimePolicyInput['rules']>[number];
const named = (rules: Omit<Rule, 'name'>[]): Rule[] =>
  rules.map((rule, index) => ({ name: `r${index}`, ...rule }) as Rule);
const block = (match: object): RuntimePolicyInput => ({ rules: named([{ action: 'block', ...match }]) });
const outcome = (policy: RuntimePolicyInput | RuntimePolicyInput[], operation: Operation, who = task()) =>
  decide(setOf(...[policy].flat()), operation, who).outcome;

describe('matches of a rule', () => {
  it.each<[string, object, Operation, boolean]>([
    ['a path - itself', { file: { paths: ['/a/b'] } }, onPath('read', '/a/b'), true],
    ['a path - not below', { file: { paths: ['/a/b'] } }, onPath('read', '/a/b/c'), false],
    ['a path - no longer name', { file: { paths: ['/a/b'] } }, onPath('read', '/a/bc'), false],
    ['a directory - itself', { file: { directories: ['/a'] } }, onPath('rmdir', '/a'), true],
    ['a directory - its entries', { file: { directories: ['/a/'] } }, onPath('read', '/a/b'), true],
    ['a directory - not deeper', { file: { directories: ['/a'] } }, onPath('read', '/a/b/c'), false],
    ['recursive - deeper', { file: { directories: ['/a'], recursive: true } }, onPath('read', '/a/b/c'), true],
    ['recursive - not beside', { file: { directories: ['/a'], recursive: true } }, onPath('read', '/ab/c'), false],
    [
      'the root, recursive - everything',
      { file: { directories: ['/'], recursive: true } },
      onPath('read', '/x/y'),
      true,
    ],
    [
      'the root, recursive - not an object without a path',
      { execute: { directories: ['/'], recursive: true } },
      onPath('execute', 'memfd:x'),
      false,
    ],
    ['a suffix - the end of the name', { file: { suffixes: ['.key'] } }, onPath('read', '/a/b.key'), true],
    ['a suffix - only of the name', { file: { suffixes: ['.key'] } }, onPath('read', '/a.key/b'), false],
    ['a suffix - longer than the name', { file: { suffixes: ['abc'] } }, onPath('read', '/bc'), false],
    ['operations - only those named', { file: { paths: ['/a'], operations: ['write'] } }, onPath('read', '/a'), false],
    [
      'readOnly in a denial - denies all but reading',
      { file: { paths: ['/a'], readOnly: true } },
      onPath('chmod', '/a'),
      true,
    ],
    ['readOnly in a denial - reading passes', { file: { paths: ['/a'], readOnly: true } }, onPath('read', '/a'), false],
    ['file rules - do not match execution', { file: { paths: ['/a'] } }, onPath('execute', '/a'), false],
    [
      'another name of the object - counts',
      { file: { paths: ['/a'] } },
      { kind: 'path', op: 'read', path: '/b', aliases: ['/a'] },
      true,
    ],
    ['an abstract name', { unix: { abstract: ['x'] } }, { kind: 'abstract', op: 'unix-connect', name: 'x' }, true],
    [
      'an abstract name - not a part of one',
      { unix: { abstract: ['x'] } },
      { kind: 'abstract', op: 'unix-connect', name: 'xy' },
      false,
    ],
    ['a unix path', { unix: { paths: ['/s'], operations: ['send'] } }, onPath('unix-send', '/s'), true],
    ['a unix path - file rules match reading it', { unix: { paths: ['/s'] } }, onPath('read', '/s'), false],
    ['no CIDR - both families', { network: {} }, onAddress('connect', '2001:db8::1', 1), true],
    ['0.0.0.0/0 - not IPv6', { network: { cidrs: ['0.0.0.0/0'] } }, onAddress('connect', '2001:db8::1', 1), false],
    ['::/0 - not IPv4', { network: { cidrs: ['::/0'] } }, onAddress('connect', '::ffff:10.0.0.1', 1), false],
    ['IPv4 - in IPv6 too', { network: { cidrs: ['10.0.0.0/8'] } }, onAddress('connect', '::ffff:10.0.0.1', 1), true],
    [
      'except - cut out',
      { network: { cidrs: ['10.0.0.0/8'], except: ['10.1.0.0/16'] } },
      onAddress('connect', '10.1.0.1', 1),
      false,
    ],
    ['except - of every address', { network: { except: ['10.0.0.0/8'] } }, onAddress('connect', '10.1.0.1', 1), false],
    ['except - the rest', { network: { except: ['10.0.0.0/8'] } }, onAddress('connect', '11.0.0.1', 1), true],
    ['ports - at the end of a range', { network: { ports: ['80-90'] } }, onAddress('connect', '10.1.0.1', 90), true],
    [
      'ports - not chosen yet',
      { network: { operations: ['listen'], ports: [80] } },
      onAddress('listen', '::', 0),
      true,
    ],
    ['ports - of a bind', { network: { operations: ['bind'], ports: [80] } }, onAddress('bind', '::', 0), false],
    ['ports - beyond', { network: { ports: ['80-90'] } }, onAddress('connect', '10.1.0.1', 91), false],
    ['protocols', { network: { protocols: ['udp'] } }, onAddress('send', '10.1.0.1', 53, 6), false],
    ['tcp sockets - with protocol 0', { socket: { families: ['inet'], protocols: ['tcp'] } }, socket(2, 1, 0), true],
    ['tcp sockets - MPTCP', { socket: { families: ['inet6'], protocols: ['tcp'] } }, socket(10, 1, 262), true],
    ['sctp sockets - with protocol 0', { socket: { families: ['inet'], protocols: ['sctp'] } }, socket(2, 5, 0), true],
    ['sctp sockets - as a stream', { socket: { families: ['inet'], protocols: ['sctp'] } }, socket(2, 1, 132), true],
    ['sctp sockets - TCP is none', { socket: { families: ['inet'], protocols: ['sctp'] } }, socket(2, 1, 0), false],
    ['tcp sockets - not datagrams', { socket: { families: ['inet'], protocols: ['tcp'] } }, socket(2, 2, 0), false],
    ['every socket', { socket: {} }, socket(99, 9, 9), true],
    ['drift on a volume', { drift: {} }, onValue('drift', 1), true],
    ['drift on a volume that is allowed', { drift: { allowVolumes: true } }, onValue('drift', 1), false],
    ['drift in the layer', { drift: { allowVolumes: true } }, onValue('drift', 0), true],
    ['drift in memory', { drift: { allowVolumes: true } }, onValue('drift', 2), true],
    ['drift in memory alone', { drift: { onlyMemory: true } }, onValue('drift', 2), true],
    ['drift in the layer, beside memory alone', { drift: { onlyMemory: true } }, onValue('drift', 0), false],
    ['drift on a volume, beside memory alone', { drift: { onlyMemory: true } }, onValue('drift', 1), false],
  ])('%s', (_name, match, operation, denied) => {
    expect(outcome(block(match), operation)).toBe(denied ? 'block' : 'pass');
  });
});

describe('precedence', () => {
  const read = onPath('read', '/a/b');
  const rules = (...list: [string, object?][]): RuntimePolicyInput => ({
    defaultPosture: { file: 'block' },
    rules: named(list.map(([action, more]) => ({ action, file: { paths: ['/a/b'] }, ...more }) as Rule)),
  });
  const wide = { file: { directories: ['/a'] } };
  const wider = { file: { directories: ['/'], recursive: true } };

  it.each<[string, RuntimePolicyInput | RuntimePolicyInput[], string, [number, string][]]>([
    ['a denial - over allow, in any order', rules(['allow'], ['block', wider]), 'block', [[1, 'block']]],
    ['kill - over block', rules(['block'], ['kill', wide]), 'kill', [[1, 'kill']]],
    ['two blocks - the first counts', rules(['block', wide], ['block']), 'block', [[0, 'block']]],
    [
      'audit - counted beside a denial, never instead',
      rules(['audit'], ['block', wide]),
      'block',
      [
        [0, 'audit'],
        [1, 'block'],
      ],
    ],
    [
      'audit - no allow: the posture still blocks',
      rules(['audit']),
      'block',
      [
        [0, 'audit'],
        [2, 'block'],
      ],
    ],
    ['allow - satisfies the posture', rules(['allow']), 'pass', []],
    ['nothing - the posture blocks', { defaultPosture: { file: 'block' } }, 'block', [[1, 'block']]],
    ['nothing - the posture counts', { defaultPosture: { file: 'audit' } }, 'pass', [[0, 'audit']]],
    ['nothing - a posture of another class', { defaultPosture: { network: 'block' } }, 'pass', []],
    [
      'audit mode - block only counts',
      { ...rules(['block']), mode: 'audit' },
      'pass',
      [
        [0, 'audit'],
        [1, 'audit'],
      ],
    ],
    [
      'audit mode - its allow does not satisfy the posture of another',
      [{ ...rules(['allow']), mode: 'audit' }, { defaultPosture: { file: 'block' } }],
      'block',
      [[2, 'block']],
    ],
    [
      'allow of another policy - satisfies a posture',
      [rules(['allow']), { defaultPosture: { file: 'block' } }],
      'pass',
      [],
    ],
  ])('%s', (_name, policies, result, counted) => {
    const decision = decide(setOf(...[policies].flat()), read, task());
    expect([decision.outcome, decision.counted.map(({ cell, action }) => [cell, action])]).toEqual([result, counted]);
  });

  it.each<[string, RuntimePolicyInput[], [string, string, ...string[]], string]>([
    ['each name allowed', [rules(['allow'])], ['/a/b', '/a/b'], 'pass'],
    ['each by a rule of its own', [rules(['allow'], ['allow', { file: { paths: ['/x'] } }])], ['/a/b', '/x'], 'pass'],
    ['only the name of the access', [rules(['allow'])], ['/a/b', '/x'], 'block'],
    ['only its own location', [rules(['allow'])], ['/x', '/a/b'], 'block'],
    ['one of its names denied', [rules(['allow', wider], ['block'])], ['/x', '/a/b'], 'block'],
    [
      'one by a policy in audit mode, enough for a posture that only audits',
      [
        { ...rules(['allow', { file: { paths: ['/x'] } }]), mode: 'audit', defaultPosture: { file: 'audit' } },
        { ...rules(['allow']), defaultPosture: { file: 'audit' } },
      ],
      ['/a/b', '/x'],
      'pass',
    ],
  ])('allow of an object with two names - %s', (_name, policies, [name, ...aliases], result) => {
    const decision = decide(setOf(...policies), { kind: 'path', op: 'read', path: name, aliases }, task());
    const counted = result === 'block' ? 1 : 0;
    expect([decision.outcome, decision.counted.length]).toEqual([result, counted]);
  });

  it('allow of a network address - also the sockets to reach it, never raw ones', () => {
    const policy: RuntimePolicyInput = {
      defaultPosture: { network: 'block' },
      rules: named([{ action: 'allow', network: { cidrs: ['10.0.0.0/8'], ports: [443], protocols: ['tcp'] } }]),
    };
    expect(outcome(policy, socket(2, 1, 0))).toBe('pass');
    expect(outcome(policy, socket(10, 1, 6))).toBe('pass');
    expect(outcome(policy, onAddress('connect', '10.0.0.1', 443))).toBe('pass');
    expect(outcome(policy, onAddress('connect', '10.0.0.1', 80))).toBe('block');
    expect(outcome(policy, socket(2, 2, 0))).toBe('block');
    expect(outcome(policy, socket(2, 3, 6))).toBe('block');
  });

  it('allow of writing - also truncating, which open for writing may request', () => {
    const policy: RuntimePolicyInput = {
      defaultPosture: { file: 'block' },
      rules: named([{ action: 'allow', file: { paths: ['/log'], operations: ['write'] } }]),
    };
    expect(outcome(policy, onPath('truncate', '/log'))).toBe('pass');
    expect(outcome(policy, onPath('read', '/log'))).toBe('block');
  });
});

describe('sources', () => {
  const policy = (children: boolean, action = 'block'): RuntimePolicyInput => ({
    defaultPosture: { file: action === 'allow' ? 'block' : 'allow' },
    rules: named([{ action, fromSource: [{ path: '/bin/sh', children }], file: { paths: ['/a'] } } as Rule]),
  });
  const read = onPath('read', '/a');

  it.each<[string, RuntimePolicyInput, TaskFacts, string]>([
    ['the program itself', policy(false), task('/bin/sh'), 'block'],
    ['another program', policy(false), task('/app'), 'pass'],
    ['its child, not named', policy(false), task('/bin/cat', '/bin/sh'), 'pass'],
    ['its child, named', policy(true), task('/bin/cat', '/bin/sh'), 'block'],
    ['its grandchild', policy(true), task('/bin/cat', '/bin/env', '/bin/sh'), 'block'],
    ['a chain that was cut - possibly a child: denied', policy(true), { chain: ['/app'], cut: true }, 'block'],
    ['a chain that was cut - no children named', policy(false), { chain: ['/app'], cut: true }, 'pass'],
    [
      'a chain that was cut - possibly a child: not allowed',
      policy(true, 'allow'),
      { chain: ['/app'], cut: true },
      'block',
    ],
    ['allow for a child', policy(true, 'allow'), task('/bin/cat', '/bin/sh'), 'pass'],
  ])('%s', (_name, input, who, result) => expect(outcome(input, read, who)).toBe(result));
});

describe('aliases of denied paths', () => {
  const guarded: RuntimePolicyInput = {
    rules: named([{ action: 'block', file: { paths: ['/a/b/c'], operations: ['read'] } }]),
  };
  const [NEW, BIND, MOVE, PIVOT, REMOUNT] = [0, 1, 2, 5, 3].map((value) => onValue('mount', value));
  const overlay: Operation = { kind: 'value', op: 'mount', value: 0n, alias: true };
  const link = (path: string, oldName: boolean): Operation => ({ kind: 'path', op: 'link', path, oldName });

  it.each<[string, Operation, boolean]>([
    ['renaming it', onPath('rename', '/a/b/c'), true],
    ['renaming a directory above', onPath('rename', '/a'), true],
    ['mounting above', onPath('mount-point', '/a/b'), true],
    ['renaming a sibling', onPath('rename', '/a/x'), false],
    ['reading a directory above', onPath('read', '/a/b'), false],
    ['mounting on the root', onPath('mount-point', '/'), false],
    ['a bind mount', BIND!, true],
    ['a move', MOVE!, true],
    ['a pivot', PIVOT!, true],
    ['an overlay', overlay, true],
    ['a new file system', NEW!, false],
    ['a remount', REMOUNT!, false],
    ['a hard link of it', link('/a/b/c', true), true],
    ['a hard link of another file', link('/a/b/d', true), false],
    ['a hard link by its name, of another file', link('/a/b/c', false), false],
    ['renaming a sibling file', { kind: 'path', op: 'rename', path: '/a/b/d', oldName: true }, false],
  ])('%s', (_name, operation, denied) => {
    expect(outcome(guarded, operation)).toBe(denied ? 'block' : 'pass');
    expect(outcome({ ...guarded, mode: 'audit' }, operation)).toBe('pass');
  });

  it('a denial only of execution - programs can be copied, so their names are not guarded', () => {
    const noRun: RuntimePolicyInput = {
      rules: named([{ action: 'block', execute: { directories: ['/tmp'], recursive: true } }]),
    };
    for (const op of ['link', 'rename'] as const)
      expect(outcome(noRun, { kind: 'path', op, path: '/tmp/a', oldName: true })).toBe('pass');
    expect(outcome(noRun, onPath('rename', '/tmp'))).toBe('pass');
    expect(outcome(noRun, BIND!)).toBe('pass');
    expect(outcome(noRun, onPath('execute', '/tmp/a'))).toBe('block');
  });

  it('a directory with unreadable files - they cannot be moved out of it either', () => {
    const secret = block({ file: { directories: ['/s'], recursive: true, operations: ['read'] } });
    expect(outcome(secret, { kind: 'path', op: 'rename', path: '/s/x', oldName: true })).toBe('block');
    expect(outcome(secret, onPath('rename', '/s/x'))).toBe('pass');
    expect(outcome(secret, onPath('write', '/s/x'))).toBe('pass');
  });

  it('a bind mount that a rule allows - passes; denied paths stay denied', () => {
    const rules = named([...(guarded.rules as Rule[]), { action: 'allow', mount: { operations: ['bind'] } }]);
    expect(outcome({ rules }, BIND!)).toBe('pass');
    expect(outcome({ rules }, MOVE!)).toBe('block');
    expect(outcome({ rules }, onPath('read', '/a/b/c'))).toBe('block');
  });
});

describe('paths that cannot be resolved', () => {
  const unresolved: Operation = { kind: 'unresolved', op: 'read' };
  it.each<[string, RuntimePolicyInput[], string]>([
    ['no rule about files', [block({ mount: {} })], 'pass'],
    ['files denied', [block({ file: { paths: ['/a'] } })], 'block'],
    ['files denied, unresolved audited', [{ ...block({ file: { paths: ['/a'] } }), onUnresolvable: 'audit' }], 'pass'],
    ['files only audited by policy', [{ ...block({ file: { paths: ['/a'] } }), mode: 'audit' }], 'pass'],
    [
      'an audited file policy and one without paths',
      [{ ...block({ file: { paths: ['/a'] } }), mode: 'audit' }, block({ mount: {} })],
      'pass',
    ],
  ])('%s', (_name, policies, result) => expect(outcome(policies, unresolved)).toBe(result));
});

describe('addresses that no hook sees', () => {
  const unresolved: Operation = { kind: 'unresolved', op: 'connect' };
  const network = block({ network: { operations: ['connect'], ports: [1] } });
  it.each<[string, RuntimePolicyInput[], string]>([
    ['files denied', [block({ file: { paths: ['/a'] } })], 'pass'],
    ['addresses denied', [network], 'block'],
    ['addresses denied, unresolved audited', [{ ...network, onUnresolvable: 'audit' }], 'pass'],
    ['addresses only audited by policy', [{ ...network, mode: 'audit' }], 'pass'],
    [
      'files denied, addresses only audited',
      [{ ...network, mode: 'audit' }, block({ file: { paths: ['/a'] } })],
      'pass',
    ],
    ['a posture for the network', [{ defaultPosture: { network: 'block' } }], 'block'],
  ])('%s', (_name, policies, result) => expect(outcome(policies, unresolved)).toBe(result));
});

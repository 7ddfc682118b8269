// Compiled sets decide as the model, over random policies and operations of a small world with many
// overlaps.

import { type RuntimePolicyInput, runtimePolicy } from '@bailiff/policy';
import { CAPABILITIES, FILE_OPERATIONS, MOUNT_OPERATIONS, OPERATIONS, RULE_ACTIONS } from '@bailiff/vocabulary';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileSet } from '../compile/compile.ts';
import { encodeSet } from '../compile/encode.ts';
import { mergeSelected } from '../policies/merge.ts';
import type { NamedPolicy } from '../policies/select.ts';
import { PolicyError } from '../sets/errors.ts';
import { socketValue } from '../sets/names.ts';
import { EncodedMaps } from './lookup-for-tests.ts';
import { decide, type Operation } from './model.ts';

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i * 7);
/** Deeper than the depths that a set's head distinguishes. */
const DEEP = '/d'.repeat(33);
const PATHS = ['/', '/a', '/a/b', '/a/b/c', '/a/bc', '/x.so', '/a/lib.so', '/a/b/y.so', '/proc/sys', DEEP] as const;
const PROGRAMS = ['/bin/sh', '/bin/curl', '/app'] as const;
const CIDRS = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.3/32',
  '::/0',
  'fd00::/8',
  '::/64',
  'fd00::1/128',
] as const;
const ADDRESSES = [
  '10.1.2.3',
  '10.1.9.9',
  '10.9.9.9',
  '8.8.8.8',
  'fd00::1',
  'fd00::2',
  '::1',
  '2001:db8::1',
  '::ffff:10.1.2.3',
];

const some = <T>(list: readonly T[], max = 3) =>
  fc.uniqueArray(fc.constantFrom(...list), { minLength: 1, maxLength: max });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const where = fc
  .record({ paths: maybe(some(PATHS)), directories: maybe(some(PATHS)), suffixes: maybe(some(['.so', 'o', 'b.so'])) })
  .filter((w) => (w.paths ?? w.directories ?? w.suffixes) !== undefined);

const kinds = fc.oneof(
  fc.record({
    file: fc
      .tuple(where, fc.boolean(), maybe(some(FILE_OPERATIONS, 5)))
      .map(([w, recursive, operations]) => ({ ...w, operations, recursive: w.directories ? recursive : undefined })),
  }),
  fc.record({
    execute: fc
      .tuple(where, maybe(fc.boolean()), maybe(some(['execute', 'map'] as const)))
      .map(([w, anonymous, operations]) => ({ ...w, anonymous, operations })),
  }),
  fc.record({ drift: fc.record({ allowVolumes: fc.boolean(), onlyMemory: fc.boolean() }) }),
  fc.record({
    network: fc.record({
      operations: maybe(some(['connect', 'send', 'bind', 'listen'] as const)),
      cidrs: maybe(some(CIDRS)),
      except: maybe(some(CIDRS, 2)),
      ports: maybe(some([443, '1-1000', '443-8080'] as const, 2)),
      protocols: maybe(some(['tcp', 'udp', 1] as const, 2)),
    }),
  }),
  fc.record({
    socket: fc.record({
      families: some(['inet', 'inet6', 'packet', 'unix', 38] as const),
      types: maybe(some(['stream', 'dgram', 'raw'] as const)),
      protocols: maybe(some(['tcp', 'icmp', 0] as const)),
    }),
  }),
  fc.record({ unix: fc.tuple(where, maybe(some(['n', 'nn']))).map(([w, abstract]) => ({ ...w, abstract })) }),
  fc.record({ capabilities: some(CAPABILITIES.slice(0, 3)) }),
  fc.record({ mount: fc.record({ operations: maybe(some(MOUNT_OPERATIONS)) }) }),
  fc.record({ kernel: fc.record({ operations: some(['ptrace', 'bpf', 'user-namespace'] as const) }) }),
);
const rule = fc.record({
  action: fc.constantFrom('allow', 'audit', 'block', 'kill'),
  fromSource: maybe(
    fc.uniqueArray(fc.record({ path: fc.constantFrom(...PROGRAMS), children: fc.boolean() }), {
      minLength: 1,
      maxLength: 2,
      selector: (s) => s.path,
    }),
  ),
  kind: kinds,
});
const posture = fc.constantFrom('allow', 'audit', 'block');
const policy = fc
  .record({
    mode: fc.constantFrom('audit', 'enforce'),
    onUnresolvable: fc.constantFrom('audit', 'block'),
    defaultPosture: fc.record({
      file: posture,
      execute: posture,
      network: posture,
      capability: posture,
      kernel: posture,
    }),
    rules: fc.array(rule, { maxLength: 4 }),
  })
  .map(({ rules, ...rest }) => ({
    ...rest,
    rules: rules.map(({ kind, ...r }, index) => ({ name: `r${index}`, ...r, ...kind })),
  }))
  // Policies that the schema refuses (contradictions, idle allow rules) are not part of this test.
  .filter((input) => runtimePolicy.safeParse(input).success);
const policies = fc.array(policy, { minLength: 1, maxLength: 3 }).map((list): NamedPolicy[] =>
  list.map((input, index) => ({
    key: `runtime.cluster._.p${index}`,
    name: `p${index}`,
    namespace: null,
    policy: runtimePolicy.parse(input as RuntimePolicyInput),
  })),
);

const opsFrom = (first: string, last: string) =>
  fc.constantFrom(...OPERATIONS.slice(OPERATIONS.indexOf(first as never), OPERATIONS.indexOf(last as never) + 1));
const pathOps = opsFrom('execute', 'unix-bind');
const path = fc.constantFrom(
  ...PATHS,
  `${DEEP}/d`,
  DEEP.slice(2),
  '/a/b/c/d',
  '/other',
  '/a/b.so',
  'memfd:a',
  'memfd:b.so',
  'x/y',
);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ kind: fc.constant('path' as const), op: pathOps, path, aliases: maybe(fc.tuple(path)) }),
  fc.record({
    kind: fc.constant('path' as const),
    op: fc.constantFrom('link' as const, 'rename' as const),
    path,
    oldName: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('unresolved' as const), op: fc.oneof(pathOps, opsFrom('connect', 'bind')) }),
  fc.record({
    kind: fc.constant('abstract' as const),
    op: opsFrom('unix-connect', 'unix-bind'),
    name: fc.constantFrom('n', 'nn', 'nnn'),
  }),
  fc.record({
    kind: fc.constant('address' as const),
    op: opsFrom('connect', 'listen'),
    address: fc.constantFrom(...ADDRESSES),
    port: fc.constantFrom(1, 443, 1000, 8080, 65535),
    protocol: fc.constantFrom(1, 6, 17),
  }),
  fc.record({
    kind: fc.constant('value' as const),
    op: fc.constant('socket' as const),
    value: fc
      .tuple(fc.constantFrom(1, 2, 10, 17, 38), fc.constantFrom(1, 2, 3), fc.constantFrom(0, 1, 6, 17))
      .map(([f, t, p]) => socketValue(f, t, p)),
  }),
  fc.record({
    kind: fc.constant('value' as const),
    op: opsFrom('capability', 'drift'),
    value: fc.constantFrom(0n, 1n, 2n, 3n, 5n),
    alias: fc.boolean(),
  }),
);
const task = fc.record({
  chain: fc.array(fc.constantFrom(...PROGRAMS, '/init'), { minLength: 1, maxLength: 3 }),
  cut: fc.boolean(),
});

const numbered = (decision: ReturnType<typeof decide>) => ({
  outcome: decision.outcome,
  counted: decision.counted.map(({ cell, action }) => ({ cell, action: RULE_ACTIONS.indexOf(action) })),
});

describe('runtime policies', () => {
  it('a compiled set - decides as the model, for any policies, operations and tasks', () => {
    fc.assert(
      fc.property(policies, fc.array(fc.tuple(operation, task), { minLength: 20, maxLength: 40 }), (list, asked) => {
        const set = mergeSelected(list);
        let maps: EncodedMaps;
        try {
          maps = new EncodedMaps(encodeSet(compileSet(set, 7, KEY)), KEY);
        } catch (error) {
          // More rules on one key than fit: refused as a whole, with the fields.
          if (error instanceof PolicyError && error.code === 'POLICY_LIMIT' && error.fields.length > 8) return;
          throw error;
        }
        for (const [op, who] of asked)
          expect([op, who, maps.decide(op, who)]).toEqual([op, who, numbered(decide(set, op, who))]);
      }),
      { numRuns: 400 },
    );
  });

  it('merge - the order of the policies does not matter', () => {
    fc.assert(
      fc.property(policies, (list) => {
        expect(mergeSelected([...list].reverse())).toEqual(mergeSelected(list));
      }),
      { numRuns: 60 },
    );
  });

  it('audit mode - never denies, for any policies', () => {
    fc.assert(
      fc.property(policies, operation, task, (list, op, who) => {
        const audited = list.map((named) => ({ ...named, policy: { ...named.policy, mode: 'audit' as const } }));
        expect(decide(mergeSelected(audited), op, who).outcome).toBe('pass');
      }),
      { numRuns: 300 },
    );
  });

  it('another policy - never allows what one alone denies, except by an allow rule against a posture', () => {
    fc.assert(
      fc.property(policies, operation, task, (list, op, who) => {
        const alone = decide(mergeSelected(list.slice(0, 1)), op, who);
        const together = decide(mergeSelected(list), op, who);
        if (alone.outcome === 'pass' || alone.by === 'posture' || alone.by === 'alias-guard') return;
        expect(together.outcome).not.toBe('pass');
      }),
      { numRuns: 300 },
    );
  });
});

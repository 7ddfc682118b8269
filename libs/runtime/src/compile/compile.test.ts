// Compiler output that the property test rarely reaches: limits, markers, groups, keys.
import { SetHeadLayout } from '@bailiff/bpf/runtime-layout';
import { describe, expect, it } from 'vitest';
import { cellName, describeRule, explain } from '../model/explain.ts';
import { mergeSelected } from '../policies/merge.ts';
import { containersNamed } from '../policies/select.ts';
import type { PolicyError } from '../sets/errors.ts';
import { mergePolicies, onPath, onValue, policyOf, setOf, task } from '../testing.ts';
import { compileSet } from './compile.ts';
import { encodeSet } from './encode.ts';
import { pathHash } from './hash.ts';

const KEY = new Uint8Array(16).fill(9);
const errorOf = (run: () => unknown): PolicyError => {
  try {
    run();
  } catch (error) {
    return error as PolicyError;
  }
  throw new Error('nothing was thrown');
};
const rule = (name: string, match: object, action = 'block') => ({ name, action, ...match }) as never;

describe('limits', () => {
  const nine = (match: (i: number) => object) => [...Array(9).keys()].map((i) => rule(`r${i}`, match(i)));
  it.each<[string, (i: number) => object, string]>([
    ['path', (i) => ({ fromSource: [{ path: `/bin/${i}` }], file: { paths: ['/a', '/b'] } }), 'file.paths.0'],
    ['suffix', (i) => ({ fromSource: [{ path: `/bin/${i}` }], file: { suffixes: ['x'] } }), 'file.suffixes.0'],
    [
      'directory above by markers',
      (i) => ({ fromSource: [{ path: `/bin/${i}` }], file: { paths: [`/a/${i}`] } }),
      'file.paths.0',
    ],
    ['value', (i) => ({ fromSource: [{ path: `/bin/${i}` }], capabilities: ['bpf'] }), 'capabilities'],
  ])('nine rules at one %s - refused with the fields that meet', (_name, match, field) => {
    const error = errorOf(() => compileSet(setOf({ rules: nine(match) }), 1, KEY));
    expect(error.code).toBe('POLICY_LIMIT');
    expect(error.fields).toEqual(
      nine(match).map((_, i) => ({ policy: 'runtime.cluster._.test-0', field: `rules.${i}.${field}` })),
    );
  });

  it('nine rules below one directory for any program - one marker there', () => {
    const set = setOf({
      rules: [...nine((i) => ({ file: { paths: [`/a/${i}`] } })), rule('k', { file: { paths: ['/a/k'] } }, 'kill')],
    });
    const above = compileSet(set, 1, KEY).paths.find(({ text }) => text === '/a');
    expect(above?.rules).toEqual([expect.objectContaining({ rule: 9, action: 'kill', match: 'ancestor' })]);
  });

  it('seventeen port ranges at one address - refused', () => {
    const rules = [...Array(3).keys()].map((r) =>
      rule(`r${r}`, { network: { ports: [...Array(6).keys()].map((p) => r * 10 + p) } }),
    );
    const error = errorOf(() => compileSet(setOf({ rules }), 1, KEY));
    expect([error.code, error.fields.length]).toEqual(['POLICY_LIMIT', 18]);
  });

  it('more rules than a set holds - refused with the policy', () => {
    const rules = [...Array(256).keys()].map((i) => rule(`r${i}`, { file: { paths: [`/${i}`] } }));
    const many = [...Array(17).keys()].map((i) => policyOf({ rules }, `p${String(i).padStart(2, '0')}`));
    expect(errorOf(() => mergeSelected(many)).fields).toEqual([{ policy: 'runtime.cluster._.p16', field: 'rules' }]);
  });
});

describe('entries', () => {
  it('sources - equal lists share a group, whatever their order; the group as a whole under program 0', () => {
    const [a, b] = [{ path: '/a', children: true }, { path: '/b' }];
    const set = setOf({
      rules: [
        rule('x', { fromSource: [a, b], capabilities: ['bpf'] }),
        rule('y', { fromSource: [b, a], mount: {} }),
        rule('z', { fromSource: [b], drift: {} }),
      ],
    });
    expect(compileSet(set, 1, KEY).sources).toEqual([
      { source: 1, program: pathHash(KEY, '/a'), flags: 3 },
      { source: 1, program: pathHash(KEY, '/b'), flags: 1 },
      { source: 1, program: 0n, flags: 3 },
      { source: 2, program: pathHash(KEY, '/b'), flags: 1 },
      { source: 2, program: 0n, flags: 1 },
    ]);
  });

  it('head - only operations that a rule or posture can decide', () => {
    const set = setOf({ rules: [rule('x', { capabilities: ['bpf'] })] });
    const { head } = compileSet(set, 1, KEY);
    expect(head).toMatchObject({ ops: 1n << 26n, guard: null, rules: 1, unresolved: 'audit' });
  });

  const masksOf = (kind: object) => compileSet(setOf({ rules: [rule('x', kind)] }), 1, KEY).head.masks;
  const NONE = { suffixLengths: 0n, depths: 0 };

  it('masks - of the classes of operations that a rule covers, and of no other', () => {
    const suffixed = (lengths: bigint) => ({ suffixLengths: lengths, depths: 0 });
    const deep = { suffixLengths: 0n, depths: 1 << 2 };
    expect(masksOf({ file: { paths: ['/a/b'], operations: ['read'] } })).toEqual({
      execute: NONE,
      read: deep,
      change: NONE,
      unix: NONE,
    });
    expect(masksOf({ file: { suffixes: ['.key', 'a'], readOnly: true } })).toMatchObject({
      execute: NONE,
      read: NONE,
      change: suffixed(0b10010n),
    });
    expect(masksOf({ unix: { suffixes: ['x.sock'] } })).toEqual({
      execute: NONE,
      read: NONE,
      change: NONE,
      unix: suffixed(1n << 6n),
    });
    expect(masksOf({ execute: { paths: ['/a/b'] } })).toEqual({
      execute: deep,
      read: NONE,
      change: NONE,
      unix: NONE,
    });
  });

  it('depths - of rules, without the markers above denied paths', () => {
    const depths = (kind: object) => masksOf({ file: { ...kind, operations: ['read'] } }).read.depths;
    expect(depths({ paths: ['/a/b/c'] })).toBe(1 << 3);
    expect(depths({ paths: ['/a'], directories: ['/'] })).toBe((1 << 1) | 1);
    expect(depths({ suffixes: ['.key'] })).toBe(0);
    for (const components of [31, 40]) expect(depths({ paths: ['/d'.repeat(components)] })).toBe(2 ** 31);
    expect(masksOf({ execute: { anonymous: true } }).execute.depths).toBe(1);
  });

  it('bytes - keys of one map never collide, and contain the set', () => {
    const encoded = encodeSet(
      compileSet(setOf({ rules: [rule('x', { file: { paths: ['/a/b', '/a'], suffixes: ['b'] } })] }), 77, KEY),
    );
    const keys = encoded.paths.map(({ key }) => key.toString('hex'));
    expect(new Set(keys).size).toBe(keys.length);
    expect(encoded.paths.every(({ key }) => key.readUInt32LE(0) === 77)).toBe(true);
    const { digest } = SetHeadLayout;
    const written = encoded.head.value.subarray(digest.offset, digest.offset + digest.size);
    expect(written.some((byte) => byte !== 0)).toBe(true);
  });
});

describe('merging', () => {
  const mount = { rules: [rule('m', { mount: {} })] };
  const pod = { namespace: 'shop', labels: { app: 'web', tier: 'a' } };
  const holds = (input: object, container: string | null = null, namespace: string | null = null) =>
    mergePolicies([policyOf({ ...mount, ...input }, 'p', namespace)], pod, container) !== null;

  it.each<[string, object, boolean]>([
    ['nothing', {}, true],
    ['disabled', { enabled: false }, false],
    ['its namespace', { selector: { namespaces: ['shop'] } }, true],
    ['another namespace', { selector: { namespaces: ['other'] } }, false],
    ['left out', { selector: { excludeNamespaces: ['shop'] } }, false],
    ['a label', { selector: { podLabels: { matchLabels: { app: 'web' } } } }, true],
    ['a missing label', { selector: { podLabels: { matchLabels: { constructor: 'x' } } } }, false],
    [
      'In',
      { selector: { podLabels: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['a', 'b'] }] } } },
      true,
    ],
    [
      'NotIn',
      { selector: { podLabels: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['a'] }] } } },
      false,
    ],
    [
      'NotIn of a missing label',
      { selector: { podLabels: { matchExpressions: [{ key: 'x', operator: 'NotIn', values: ['a'] }] } } },
      true,
    ],
    ['Exists', { selector: { podLabels: { matchExpressions: [{ key: 'x', operator: 'Exists' }] } } }, false],
    ['DoesNotExist', { selector: { podLabels: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] } } }, true],
  ])('selector with %s', (_name, input, selected) => expect(holds(input)).toBe(selected));

  it('scope and containers - its own namespace; a named container only after its name is known', () => {
    expect([holds({}, null, 'shop'), holds({}, null, 'other')]).toEqual([true, false]);
    const one = { selector: { containers: ['main'] } };
    expect([holds(one), holds(one, 'main'), holds(one, 'side')]).toEqual([false, true, false]);
    expect(containersNamed([policyOf({ ...mount, ...one })], pod)).toEqual(['main']);
  });

  it('digest - of the content: another message is another set, another order of policies is not', () => {
    const [a, b] = [policyOf(mount, 'a'), policyOf(mount, 'b')];
    const changed = policyOf({ ...mount, message: 'x' }, 'b');
    expect(mergeSelected([a, b]).digest).toBe(mergeSelected([b, a]).digest);
    expect(mergeSelected([a, b]).digest).not.toBe(mergeSelected([a, changed]).digest);
    expect(mergeSelected([a]).digest).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('explaining', () => {
  const set = setOf(
    {
      rules: [
        rule('shadow', { file: { paths: ['/etc/shadow'] } }),
        rule('any', { file: { directories: ['/etc'] } }, 'audit'),
      ],
    },
    {
      defaultPosture: { kernel: 'block' },
      onUnresolvable: 'block',
      rules: [rule('bind', { mount: { operations: ['umount'] } }, 'allow')],
    },
  );
  it.each<[Parameters<typeof explain>[1], string | null, string]>([
    [
      onPath('read', '/etc/shadow'),
      'test-0/shadow',
      'read of /etc/shadow is blocked: rule test-0/shadow denies it (counted: test-0/any)',
    ],
    [
      onPath('read', '/etc/hosts'),
      null,
      'read of /etc/hosts passes: no rule denies it, and no policy sets a posture for file (counted: test-0/any)',
    ],
    [
      onValue('mount', 3),
      'test-1/kernel-posture',
      'mount remount is blocked: no rule allows it and test-1/kernel-posture denies it',
    ],
    [onValue('mount', 4), null, 'mount umount passes: rule test-1/bind allows it'],
    [
      { kind: 'unresolved', op: 'read' },
      'unresolved',
      'read of a path beyond the bound is blocked: onUnresolvable is block',
    ],
    [
      { kind: 'path', op: 'link', path: '/etc/shadow', oldName: true },
      'test-0/shadow',
      'link of /etc/shadow is blocked: rule test-0/shadow denies it (counted: test-0/any)',
    ],
  ])('%o - %s', (operation, decidedBy, text) => {
    expect(explain(set, operation, task())).toMatchObject({ decidedBy, text });
  });

  it('cells - rules, postures, unresolved, and no others', () => {
    expect([0, 2, 12, 13, 14, 15].map((cell) => cellName(set, cell)?.vector)).toEqual([
      'test-0/shadow',
      'test-1/bind',
      'test-1/kernel-posture',
      'unresolved',
      'unresolved',
      undefined,
    ]);
  });

  it('describeRule - source and matches as text', () => {
    expect(describeRule(set.rules[1]!)).toMatchObject({ action: 'audit', vector: 'test-0/any', from: 'any' });
    expect(describeRule(set.rules[2]!).matches).toEqual(['mount umount']);
  });
});

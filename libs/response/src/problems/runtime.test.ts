import { RUNTIME_LOSSES } from '@bailiff/bpf';
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { runtimeProblems } from './runtime.ts';

const key = (name: string) => `runtime.cluster._.${name}`;
const refused = (name: string, reason: string) => ({
  key: key(name),
  revision: 1,
  state: 'refused',
  reason,
  subjects: 0,
});
const node = (policies: unknown[], configRefused: NodeStatus['configRefused'] = []) => {
  const runtime = {
    state: 'available',
    reason: '',
    remedy: '',
    missingHooks: [],
    losses: {},
    policies,
  } as unknown as RuntimeStatus;
  return { runtime, configRefused } as unknown as NodeStatus;
};

it.each([
  ['one', [refused('a', 'too many rules')], ['refuses runtime.cluster._.a: "too many rules"']],
  [
    'many with one reason are one problem, another reason is another',
    [...['a', 'b', 'c', 'd'].map((name) => refused(name, 'no LSM')), refused('e', 'too many rules')],
    [`refuses ${key('a')}, ${key('b')} and 2 more: "no LSM"`, `refuses ${key('e')}: "too many rules"`],
  ],
  ['in force: nothing to tell', [{ ...refused('a', ''), state: 'in-force' }], []],
])('policies that a node refuses - %s', (_, policies, expected) => {
  expect(runtimeProblems('n', node(policies), []).map(({ text }) => text)).toEqual(expected);
});

it('policies that a node refuses - a value that no reader accepts is reported once, as configuration', () => {
  const configRefused = [{ key: key('a'), reason: 'x' }];
  expect(runtimeProblems('n', node([refused('a', 'x')], configRefused), [])).toEqual([]);
});

it('losses - container starts are no problem; a loss that means something has words and a remedy', () => {
  const losing = (losses: Record<string, number>) =>
    runtimeProblems(
      'n',
      { runtime: { state: 'available', missingHooks: [], policies: [], losses }, configRefused: [] } as never,
      [],
    );
  expect(losing({ unarmed: 1431, unbound: 7, orphan: 0 })).toEqual([]);
  expect(
    losing({ unarmed: 1431, 'no-cell': 3 }).map(({ severity, text, remedy }) => [severity, text, remedy !== '']),
  ).toEqual([
    [
      'warn',
      'runtime policies: decisions without a counter: enforced, but not published: 3 since the programs were loaded',
      true,
    ],
  ]);
});

it.each(['constructor', 'toString', 'unheard-of'])('losses - a name that a node chose has words: %s', (loss) => {
  const status = { ...node([]), runtime: { ...node([]).runtime, losses: { [loss]: 3 } } } as never;
  expect(runtimeProblems('n', status, []).map(({ text, remedy }) => [text, remedy])).toEqual([
    [`runtime policies: events of ${loss}: 3 since the programs were loaded`, ''],
  ]);
});

it('losses - the warning ends an hour after the last one', () => {
  const losing = (recentLosses: Record<string, number>) =>
    runtimeProblems(
      'n',
      { ...node([]), recentLosses, runtime: { ...node([]).runtime, losses: { orphan: 9 } } } as never,
      [],
    );
  expect(losing({ 'runtime-orphan': 2 }).map(({ text }) => text)).toEqual([
    expect.stringMatching(/no longer in the maps: 2 in the last hour$/),
  ]);
  expect(losing({ orphan: 2 })).toEqual([]);
});

it('losses - every loss of the kernel programs is expected or explained', () => {
  for (const loss of RUNTIME_LOSSES) {
    const node = {
      runtime: { state: 'available', missingHooks: [], policies: [], losses: { [loss]: 1 } },
      configRefused: [],
    };
    for (const { text } of runtimeProblems('n', node as never, [])) expect(text).not.toContain('events of');
  }
});

describe('a node that cannot enforce policies', () => {
  const unable = (part: Partial<RuntimeStatus>, policies: unknown[] = []) => ({
    ...node(policies),
    runtime: { ...node(policies).runtime, ...part } as RuntimeStatus,
  });
  const lacking = unable({ missingHooks: ['lsm/userns_create', 'lsm/socket_connect'] });
  const codes = (status: NodeStatus, enforced: readonly string[]) =>
    runtimeProblems('n', status, enforced).map(({ exitCode }) => exitCode);

  it.each([
    [
      'no BPF-LSM',
      unable({ state: 'unavailable', reason: 'EPERM' }),
      /LSM unavailable: "EPERM"; what is denied by a, b may/,
    ],
    ['no cgroup v2', unable({ state: 'unsupported', reason: 'cgroup v1' }), /LSM unsupported: "cgroup v1"/],
    ['switched off', unable({ state: 'off', reason: 'switched off by configuration' }), /in force: off: "switched off/],
    ['a collector without runtime policies', { ...node([]), runtime: undefined } as never, /does not support them/],
    [
      'missing hooks',
      lacking,
      /lacks hooks of runtime policies \(lsm\/userns_create, lsm\/socket_connect\): what is denied there by a, b/,
    ],
  ])('%s - is not enforced where a policy is in enforce; control: without one, no exit code', (_, status, text) => {
    const problems = runtimeProblems('n', status, ['a', 'b']);
    expect(problems).toMatchObject([{ severity: 'warn', exitCode: 10, text: expect.stringMatching(text) }]);
    expect(codes(status, []).every((code) => code === 0)).toBe(true);
  });

  it('its collector reports each policy as refused - the obstacle is reported once, as not enforced', () => {
    const all = ['a', 'b'].map((name) => refused(name, 'EPERM'));
    expect(codes(unable({ state: 'unavailable', reason: 'EPERM' }, all), ['a', 'b'])).toEqual([10]);
    // Control: a node that could enforce it refuses it.
    expect(codes(node(all), ['a', 'b'])).toEqual([6]);
  });

  it('hooks of newer kernels - whose operations other hooks judge - are no problem', () => {
    const replaced = ['file_truncate', 'inode_set_acl', 'inode_remove_acl', 'file_ioctl_compat', 'd_instantiate'];
    expect(codes(unable({ missingHooks: replaced.map((hook) => `lsm/${hook}`) }), ['a'])).toEqual([]);
  });
});

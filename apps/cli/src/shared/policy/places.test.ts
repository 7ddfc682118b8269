import { NodePlaces, policyPlaces, runtimeProblems, runtimeText } from '@bailiff/response';
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { placesExitCode, reasonsOf } from './places.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
const A = 'runtime.cluster._.a';
const B = 'runtime.namespace.shop.b';

const runtime = (part: Partial<RuntimeStatus> = {}) =>
  sampleRuntimeStatus({
    policies: [
      { key: A, revision: 3, state: 'in-force', reason: '', subjects: 4 },
      { key: B, revision: 1, state: 'in-force', reason: '', subjects: 0 },
    ],
    subjects: 4,
    sets: 1,
    ...part,
  });
const node = (nodeName: string, part: Partial<RuntimeStatus> | null = {}, ageMs = 0) =>
  ({
    nodeName,
    collectorVersion: '0.1.0',
    updatedAt: new Date(NOW_MS - ageMs).toISOString(),
    configRefused: [],
    ...(part ? { runtime: runtime(part) } : {}),
  }) as unknown as NodeStatus;

const STORED = [
  { key: A, revision: 3, enabled: true },
  { key: B, revision: 1, enabled: true },
];
function places(
  nodes: readonly (NodeStatus | [string, string])[],
  expected: string[] | null = null,
  policies = STORED,
  listAgeMs = 0,
) {
  const known = new Map<string, NodeStatus | string>(
    nodes.map((one): [string, NodeStatus | string] => (Array.isArray(one) ? one : [one.nodeName, one])),
  );
  return policyPlaces({ policies, nodes: known, expected, listAgeMs, nowMs: NOW_MS, staleMs: 60_000 });
}

describe('policy status', () => {
  it('all well - in force on every node, for the pods of all', () => {
    const all = places([node('n1'), node('n2')], ['n1', 'n2']);
    expect(all.map(({ inForce, nodes, subjects }) => [inForce, nodes, subjects])).toEqual([
      [2, 2, 8],
      [2, 2, 0],
    ]);
    expect([placesExitCode(all), reasonsOf(all)]).toEqual([0, []]);
  });

  const unable = { state: 'unavailable' as const, reason: 'EPERM', remedy: 'boot with lsm=bpf', policies: [] };
  it.each<[string, NodeStatus | [string, string] | null, string, RegExp, number]>([
    ['never reported', null, 'missing', /no collector/, 7],
    ['silent', node('n2', {}, 61_000), 'silent', /silent for 61s; its policies stay in force/, 7],
    ['unreadable', ['n2', 'not JSON'], 'missing', /cannot be read: "not JSON"/, 7],
    ['an older collector', node('n2', null), 'unavailable', /does not support runtime policies/, 3],
    ['without LSM', node('n2', unable), 'unavailable', /LSM unavailable: "EPERM"/, 3],
    ['cgroup v1', node('n2', { ...unable, state: 'unsupported' }), 'unavailable', /LSM unsupported/, 3],
    ['not wanted', node('n2', { state: 'off', policies: [] }), 'off', /disabled on the node/, 0],
    [
      'behind',
      node('n2', { policies: [{ ...runtime().policies[0]!, revision: 2 }] }),
      'pending',
      /still at revision 2/,
      7,
    ],
    ['not there yet', node('n2', { policies: [] }), 'pending', /not applied yet/, 7],
    ['without room', node('n2', { policies: [], policiesOmitted: 2 }), 'pending', /no room/, 7],
    [
      'refused',
      node('n2', { policies: [{ ...runtime().policies[0]!, state: 'refused', reason: 'x\n9 rules meet' }] }),
      'refused',
      /^"9 rules meet"$/,
      6,
    ],
    [
      'unsigned',
      { ...node('n2'), configRefused: [{ key: A, reason: 'the value is not signed' }] },
      'refused',
      /^"the value is not signed"$/,
      6,
    ],
  ])('%s - does not count, and says why', (_name, second, state, reason, exitCode) => {
    const all = places([node('n1'), ...(second ? [second] : [])], ['n1', 'n2'], STORED.slice(0, 1));
    expect(all[0]).toMatchObject({ inForce: 1, nodes: 2, subjects: 4, places: [{}, { node: 'n2', state }] });
    expect(all[0]?.places[1]?.reason).toMatch(reason);
    expect(placesExitCode(all)).toBe(exitCode);
    expect(placesExitCode(places([node('n1')], ['n1']))).toBe(0);
  });

  it.each([
    ['a former node does not count', ['n1'], 0, 1, 0],
    ['control: a silent node of the cluster', ['n1', 'n2'], 0, 2, 7],
    ['control: one that reported after the list of nodes was made', ['n1'], 100_000, 2, 7],
    ['control: the nodes of the cluster are not known', null, 0, 2, 7],
  ])('removed nodes - %s', (_, expected, listAgeMs, nodes, exitCode) => {
    const found = places([node('n1'), node('n2', {}, 120_000)], expected, STORED, listAgeMs);
    expect([found[0]?.nodes, placesExitCode(found)]).toEqual([nodes, exitCode]);
    const spoof = { key: 'spoof.cluster._.default', bucketRevision: 0 };
    const statuses = new Map([node('n1'), node('n2', {}, 120_000)].map((one) => [one.nodeName, one]));
    const input = { nodes: statuses, expected, listAgeMs, nowMs: NOW_MS, staleMs: 60_000 };
    expect(new NodePlaces(input).ofSpoof(spoof)).toHaveLength(nodes);
  });

  it('many policies - what they need of the nodes is read once, not for each of them', () => {
    let reads = 0;
    const counted = { ...node('n1') };
    const { runtime: own, updatedAt } = counted;
    const count = <T>(value: T): T => {
      reads += 1;
      return value;
    };
    Object.defineProperty(counted, 'runtime', { get: () => ({ ...own, policies: count(own?.policies) }) });
    Object.defineProperty(counted, 'updatedAt', { get: () => count(updatedAt) });
    const readsFor = (most: number): number => {
      reads = 0;
      const policies = Array.from({ length: most }, (_, n) => ({ key: `${A}-${n}`, revision: 1, enabled: true }));
      const input = { nodes: new Map([['n1', counted]]), expected: ['n1'], nowMs: NOW_MS, staleMs: 60_000 };
      const nodes = new NodePlaces(input);
      const spoof = policies.map(({ key }) => nodes.ofSpoof({ key, bucketRevision: 0 }));
      const runtime = policies.map((policy) => nodes.ofRuntime(policy));
      expect([spoof, runtime].map(({ length }) => length)).toEqual([most, most]);
      expect(policyPlaces({ ...input, policies })).toHaveLength(most);
      return reads;
    };
    expect(readsFor(1)).toBeGreaterThan(0);
    expect(readsFor(100) - readsFor(1)).toBeLessThan(100);
  });

  it('reasons - of a node once for all policies, of a policy by its nodes; none for disabled policies', () => {
    const behind = { policies: [{ key: A, revision: 3, state: 'in-force' as const, reason: '', subjects: 1 }] };
    const nodes = [node('n1', behind), node('n2', behind), node('n3', unable)];
    const reasons = reasonsOf(places(nodes)).map(({ policies, nodes: of, state }) => [policies, of, state]);
    expect(reasons).toEqual([
      [null, ['n3'], 'unavailable'],
      [[B], ['n1', 'n2'], 'pending'],
    ]);
    const off = places(nodes, null, [{ key: B, revision: 1, enabled: false }]);
    expect([reasonsOf(off), placesExitCode(off)]).toEqual([[], 0]);
  });
});

describe('runtime half of a node', () => {
  it('status - why it enforces nothing is a warning, a refused policy is shouted once', () => {
    const unable = node('n', { state: 'unavailable', reason: 'EPERM', remedy: 'boot with lsm=bpf', policies: [] });
    expect(runtimeProblems('n', unable, [])).toMatchObject([
      {
        severity: 'warn',
        text: expect.stringMatching(/LSM unavailable: "EPERM"/),
        remedy: 'the node proposes: "boot with lsm=bpf"',
        exitCode: 0,
      },
    ]);
    const refusing = node('n', { policies: [{ key: A, revision: 1, state: 'refused', reason: 'why', subjects: 0 }] });
    expect(runtimeProblems('n', refusing, [])).toMatchObject([{ severity: 'shout', exitCode: 6 }]);
    expect(runtimeProblems('n', { ...refusing, configRefused: [{ key: A, reason: 'why' }] }, [])).toEqual([]);
    const losing = node('n', { losses: { unarmed: 7, unbound: 1, orphan: 3 }, missingHooks: ['lsm/userns_create'] });
    expect(runtimeProblems('n', losing, []).map(({ text }) => text)).toEqual([
      expect.stringMatching(/userns_create/),
      expect.stringMatching(/operations denied, .*: 3 since the programs were loaded$/),
    ]);
    expect(runtimeProblems('n', node('n'), [])).toEqual([]);
    expect(runtimeText(node('n').runtime)).toBe('2 in force, for 4 pods and containers');
    expect(runtimeText(node('n', { openCacheProblem: 'the kernel has no symbol x' }).runtime)).toBe(
      '2 in force, for 4 pods and containers; opens are not cached: "the kernel has no symbol x"',
    );
    expect(runtimeText(unable.runtime)).toBe('unavailable: "EPERM"');
  });
});

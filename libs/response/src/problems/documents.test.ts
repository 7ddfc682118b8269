import type { NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import type { StreamInfo } from '../status/service-health.ts';
import { copyProblems, pendingProblems, unconfirmedProblems, unloggedProblems } from './documents.ts';
import type { StoredConfig } from './facts.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const iso = (agoMs: number) => new Date(NOW - agoMs).toISOString();
const RUNTIME = 'runtime.cluster._.no-shell';
const SPOOF = 'spoof.cluster._.default';

describe('stored policies', () => {
  const stored = (key: string, part: Partial<StoredConfig> & { enabled?: boolean } = {}): StoredConfig => {
    const { enabled = true, ...more } = part;
    return {
      key,
      json: JSON.stringify({ revision: 3, enabled }),
      refused: '',
      revision: 70,
      storedMs: NOW - 90_000,
      ...more,
    };
  };
  const node = (has: {
    policy?: number;
    spoof?: number;
    state?: string;
    startedAgoMs?: number;
    ageMs?: number;
    unsigned?: string;
  }) => {
    const { policy = 3, spoof = 70, state = 'available', startedAgoMs = 3_600_000, ageMs = 5_000, unsigned } = has;
    const policies =
      policy === 0 ? [] : [{ key: RUNTIME, revision: policy, state: 'in-force', reason: '', subjects: 1 }];
    const runtime = { state, reason: '', remedy: '', policies, policiesOmitted: 0, missingHooks: [], losses: {} };
    const times = { startedAt: iso(startedAgoMs), updatedAt: iso(ageMs) };
    return {
      ...times,
      runtime,
      spoofRevision: spoof,
      configRefused: unsigned === undefined ? [] : [{ key: unsigned, reason: 'no signature' }],
      collectorVersion: '1',
    } as unknown as NodeStatus;
  };
  const texts = (config: StoredConfig[], one: NodeStatus) => {
    const nodes = new Map([['node-a', one]]);
    const problems = pendingProblems({ config, nodes, nowMs: NOW, staleMs: 60_000 });
    for (const problem of problems) expect(problem).toMatchObject({ node: 'node-a', severity: 'shout', exitCode: 7 });
    return problems.map(({ text }) => text);
  };
  const both = [stored(RUNTIME), stored(SPOOF)];

  it('in force on the node - no problem', () => {
    expect(texts(both, node({}))).toEqual([]);
  });

  it.each([
    ['a former revision of a policy', node({ policy: 2 }), RUNTIME],
    ['a policy that it does not know', node({ policy: 0 }), RUNTIME],
    ['control: one while it refuses another', node({ policy: 0, unsigned: 'runtime.cluster._.other' }), RUNTIME],
    ['modes of an earlier revision of the bucket', node({ spoof: 69 }), SPOOF],
  ])('%s - the node does not follow the bus', (_, one, key) => {
    expect(texts(both, one)).toEqual([`has not applied ${key}, stored more than 50s ago`]);
  });

  it.each([
    ['that a node without pushes reads soon', [stored(RUNTIME, { storedMs: NOW - 47_000 })], node({ policy: 2 })],
    ['off', [stored(RUNTIME, { enabled: false })], node({ policy: 0 })],
    ['refused by every reader', [stored(RUNTIME, { refused: 'no rules' })], node({ policy: 0 })],
    ['that the node refuses for its signature', both, node({ policy: 2, unsigned: RUNTIME })],
    ['of another kind', [stored('correlation.cluster._.a')], node({})],
    ['on a node that has just started', both, node({ policy: 0, spoof: 0, startedAgoMs: 20_000 })],
    ['on a node that is silent', both, node({ policy: 0, spoof: 0, ageMs: 90_000 })],
    ['on a node that cannot enforce policies', [stored(RUNTIME)], node({ policy: 0, state: 'unavailable' })],
  ])('a policy %s - is no problem, or another one', (_, config, one) => {
    expect(texts(config, one)).toEqual([]);
  });
});

it('policies beyond the size of a status - are no problem, those in it are', () => {
  const config = ['a', 'b'].map((name) => ({
    key: `runtime.cluster._.${name}`,
    json: JSON.stringify({ revision: 2 }),
    refused: '',
    revision: 1,
    storedMs: NOW - 90_000,
  }));
  const policies = [{ key: 'runtime.cluster._.a', revision: 1, state: 'in-force', reason: '', subjects: 0 }];
  const runtime = { state: 'available', policies, policiesOmitted: 1 };
  const status = { startedAt: iso(3_600_000), updatedAt: iso(0), runtime, configRefused: [] } as unknown as NodeStatus;
  const problems = pendingProblems({ config, nodes: new Map([['n', status]]), nowMs: NOW, staleMs: 60_000 });
  expect(problems.map(({ text }) => text)).toEqual([
    expect.stringMatching(/^has not applied runtime\.cluster\._\.a, /),
  ]);
});

describe('documents that a node cannot read', () => {
  const status = (bus: object) => ({ bus: { connected: true, ...bus } }) as unknown as NodeStatus;

  it('not confirmed - the node keeps the last ones, and its own words are quoted', () => {
    const [problem, ...more] = unconfirmedProblems(
      'n',
      status({ unconfirmedForMs: 300_000, unconfirmedReason: 'refused' }),
    );
    expect(more).toEqual([]);
    expect(problem).toMatchObject({ severity: 'shout', exitCode: 7 });
    expect(problem?.text).toBe('has not read its pod list and policies for 5m; the last ones stay in force: "refused"');
    expect(unconfirmedProblems('n', status({}))).toEqual([]);
  });
});

it('configuration that services do not read - is named, unknown is no ok', () => {
  const texts = (keys: string[] | null) => unloggedProblems(keys).map(({ text, exitCode }) => [exitCode, text]);
  expect(texts([])).toEqual([]);
  expect(texts(['a', 'b', 'c'])).toEqual([
    [7, expect.stringMatching(/^services do not apply a, b and 1 more as stored/)],
  ]);
  expect(texts(null)).toEqual([[7, expect.stringMatching(/^CONFIG_LOG could not be read: it is not known/)]]);
});

describe('copies that nodes read', () => {
  const info = (name: string, part: object = {}) =>
    ({ config: { name }, created: iso(60_000), ...part }) as unknown as StreamInfo;
  const [bucket, copy] = ['KV_bailiff_pods', 'LATEST_bailiff_pods'];
  const texts = (origin: StreamInfo | null, found: StreamInfo | null) =>
    copyProblems(
      new Map([
        [bucket, origin],
        [copy, found],
        ['VIOLATIONS', info('VIOLATIONS')],
      ]),
    ).map(({ text }) => text);
  const source = (part: object) => info(copy, { sources: [{ name: bucket, lag: 0, active: 400_000_000, ...part }] });

  it.each([
    [
      'of an earlier life of the bucket',
      info(copy, { created: iso(90_000) }),
      /copy of an earlier stream of this name/,
    ],
    ['whose source fails', source({ error: { description: 'stream not found' } }), /: stream not found$/],
    ['whose source is silent', source({ active: 300e9 }), /its source has been silent for 5m$/],
  ])('a copy %s - nodes read what was before', (_, found, text) => {
    expect(texts(info(bucket), found)).toEqual([expect.stringMatching(text)]);
  });

  it('a copy with less room than its bucket - deletes keys when it is full; control: as much as it needs', () => {
    const sized = (name: string, max_bytes: number) => info(name, { config: { name, max_bytes } });
    expect(texts(sized(bucket, 2000), sized(copy, 2249))).toEqual([
      expect.stringMatching(/less room than KV_bailiff_pods/),
    ]);
    expect(texts(sized(bucket, 2000), sized(copy, 2250))).toEqual([]);
    expect(texts(sized(bucket, 2000), sized(copy, -1))).toEqual([]);
    expect(texts(sized(bucket, -1), sized(copy, 2250))).toHaveLength(1);
  });

  it('a copy that follows, an empty one, and missing streams - no problem here', () => {
    expect(texts(info(bucket), source({}))).toEqual([]);
    expect(texts(info(bucket), source({ active: -1 }))).toEqual([]);
    // Each server of a cluster has a creation time of its own for a restored stream.
    const restored = (name: string, agoMs: number, part: object = {}) =>
      info(name, { ...part, created: iso(agoMs), config: { name, metadata: { 'bailiff.dev/created': iso(180_000) } } });
    expect(texts(restored(bucket, 60_000), restored(copy, 90_000))).toEqual([]);
    expect(texts(null, source({}))).toEqual([]);
    expect(texts(info(bucket), null)).toEqual([]);
  });
});

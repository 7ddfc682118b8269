import type { TrialVerdict } from '@bailiff/correlation';
import { responsePolicy } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { planSpan } from './backtest.ts';
import { checkOf } from './report.ts';
import { compareResponses, type ListedPod, type ResponseContext, simulateResponses } from './simulated-responses.ts';
import { parseRulesFile } from './trial-rules.ts';

const MINUTE = 60_000_000;

describe('backtest - where it begins', () => {
  const ends = (firstSequence: number) => ({ firstSequence, firstMicros: 100 * MINUTE, lastMicros: 900 * MINUTE });
  const asked = (minute: number, cold = false) => ({ sinceMicros: minute * MINUTE, cold });
  it.each([
    ['a stream with its first frame', ends(1), asked(0), { readFromMicros: 0, fromMicros: 0, warmFromMicros: null }],
    [
      'within it',
      ends(1),
      asked(400),
      { readFromMicros: 340 * MINUTE, fromMicros: 400 * MINUTE, warmFromMicros: null },
    ],
    [
      'far from a beginning that was cut',
      ends(7),
      asked(400),
      { readFromMicros: 340 * MINUTE, fromMicros: 400 * MINUTE, warmFromMicros: null },
    ],
    [
      'at a beginning that was cut',
      ends(7),
      asked(0),
      { readFromMicros: 100 * MINUTE, fromMicros: 160 * MINUTE, warmFromMicros: 160 * MINUTE },
    ],
    ['the same, cold', ends(7), asked(0, true), { readFromMicros: 0, fromMicros: 0, warmFromMicros: null }],
  ])('%s', (_name, stream, request, span) => {
    expect(planSpan(stream, request, 60 * MINUTE)).toEqual(span);
  });
});

describe('backtest - answers', () => {
  const verdict = (n: number, minute: number, more: Partial<TrialVerdict> = {}): TrialVerdict => ({
    verdictId: String(n).padStart(32, '0'),
    rule: 'r',
    level: 'high',
    groupBy: 'pod',
    groupKey: `uid-${n}`,
    triggeredAt: minute * MINUTE,
    observed: 1,
    threshold: 1,
    nodeName: 'node-a',
    pod: {
      uid: `uid-${n}`,
      namespace: 'shop',
      name: `web-${n}`,
      ownerKind: 'ReplicaSet',
      ownerName: 'web',
      ownerUid: 'rs',
    },
    vectors: [],
    audited: false,
    triggerSequence: 1,
    ...more,
  });
  const listed = (kind = 'ReplicaSet'): ListedPod => ({ node: 'node-a', owners: [{ kind, name: 'web', uid: 'rs' }] });
  const world = (policy: object, pods = new Map([1, 2, 3, 4].map((n) => [`uid-${n}`, listed()]))): ResponseContext => ({
    policiesAt: () => new Map([['p', responsePolicy.parse({ steps: [{ action: 'delete' }], ...policy })]]),
    pods,
  });
  const simulated = (verdicts: TrialVerdict[], of: ResponseContext) =>
    simulateResponses(verdicts, of).map(({ action, outcome, code, atMicros }) =>
      `${atMicros / MINUTE} ${action} ${outcome} ${code}`.trim(),
    );
  const wide = { budget: { window: '10m', maxPods: 99, maxPercent: 100, maxNodes: 1 } };

  it('a deleted pod is absent for the next verdict; a dry run is simulated as a real one, and marked', () => {
    const answers = simulateResponses(
      [verdict(1, 1), verdict(1, 2, { verdictId: 'f'.repeat(32) })],
      world({ guards: wide }),
    );
    expect(answers.map(({ outcome, code, dryRun }) => [outcome, code, dryRun])).toEqual([
      ['act', '', true],
      ['act', 'already-gone', true],
    ]);
  });

  it('budget - half of four replicas in a window, and again when it is over', () => {
    const guards = { budget: { window: '10m', maxPods: 99, maxPercent: 50, maxNodes: 1 } };
    expect(simulated([verdict(1, 1), verdict(2, 2), verdict(3, 3), verdict(4, 30)], world({ guards }))).toEqual([
      '1 delete act',
      '2 delete act',
      '3 delete refuse budget-exhausted',
      '3 quarantine act',
      '30 delete act',
    ]);
  });

  it('cooldown - the action runs later; approval - it waits for a person; a static pod is quarantined', () => {
    const slow = world({ guards: { ...wide, cooldown: '5m' } });
    expect(simulated([verdict(1, 1), verdict(2, 2)], slow)).toEqual(['1 delete act', '6 delete act']);
    expect(simulated([verdict(1, 1)], world({ guards: { approval: 'required' } }))).toEqual([
      '1 delete ask approval-required',
    ]);
    const node = world({ guards: { protectedOwnerKinds: [] } }, new Map([['uid-1', listed('Node')]]));
    expect(simulated([verdict(1, 1)], node)).toEqual(['1 delete refuse static-pod', '1 quarantine act']);
  });

  it('a later quarantine step - takes the place of a refused deletion at once, as in the responder; control: after it', () => {
    const steps = [{ action: 'delete' }, { action: 'quarantine', after: '10m' }];
    const isStatic = new Map([['uid-1', { node: 'node-a', owners: [{ kind: 'Node', name: 'node-a', uid: 'n' }] }]]);
    expect(simulated([verdict(1, 1)], world({ steps }, isStatic))).toEqual([
      '1 delete refuse static-pod',
      '1 quarantine act',
    ]);
    expect(simulated([verdict(1, 1)], world({ steps }))).toEqual(['1 delete act', '11 quarantine act']);
  });

  it('storm - one deletion too many is a quarantine instead; steps of one verdict come in their order', () => {
    const guards = { ...wide, deleteStorm: { deletes: 1, window: '10m' } };
    expect(simulated([verdict(1, 1), verdict(2, 2)], world({ guards }))).toEqual([
      '1 delete act',
      '2 delete refuse delete-storm',
      '2 quarantine act',
    ]);
    const steps = [{ action: 'label' }, { action: 'delete', after: '1m' }, { action: 'observe' }];
    expect(simulated([verdict(1, 1)], world({ steps, guards: wide }))).toEqual([
      '1 label act',
      '1 observe act',
      '2 delete act',
    ]);
  });

  it('side by side - the same to the same pod is the same, whenever', () => {
    const [one, two] = [
      simulateResponses([verdict(1, 1)], world({})),
      simulateResponses([verdict(1, 5), verdict(2, 6)], world({})),
    ];
    expect(compareResponses(one, two)).toMatchObject({ both: 1, appeared: [{ atMicros: 6 * MINUTE }], vanished: [] });
    expect(compareResponses(two, one)).toMatchObject({ both: 1, appeared: [], vanished: [{ atMicros: 6 * MINUTE }] });
  });
});

describe('backtest - pods that are not listed any more', () => {
  const pod = {
    uid: 'uid-1',
    namespace: 'shop',
    name: 'web-1',
    ownerKind: 'ReplicaSet',
    ownerName: 'web',
    ownerUid: 'rs',
  };
  const said = (groupBy: TrialVerdict['groupBy'], of: Partial<typeof pod> = {}) => ({
    verdictId: groupBy,
    rule: 'r',
    level: 'high' as const,
    groupBy,
    groupKey: 'k',
    triggeredAt: MINUTE,
    observed: 1,
    threshold: 1,
    nodeName: 'node-a',
    vectors: [],
    audited: false,
    triggerSequence: 1,
    pod: { ...pod, ...of },
    digest: JSON.stringify(of),
  });
  const gone = { ownerKind: '', ownerName: '', ownerUid: '' };
  it('a pod without a snapshot - its verdict is reproduced without the owner, a verdict by owner or namespace is not; the report counts both', () => {
    const issued = [said('pod'), said('owner'), said('namespace'), said('node')];
    const check = checkOf(issued, [said('pod', gone), said('node')], MINUTE, 3);
    expect(check).toMatchObject({ published: 4, reproduced: 2, exact: 1, ownerless: 1, unlisted: 2 });
    // With every pod listed the same lack has another reason, and none is given.
    expect(checkOf(issued, [said('pod'), said('node')], MINUTE, 0)).toMatchObject({ ownerless: 0, unlisted: 0 });
  });
});

describe('backtest - a file of rules', () => {
  const rule = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 3 } };
  const policy = { steps: [{ action: 'observe' }] };
  it('three ways to write a rule, and policies beside them', () => {
    for (const document of [{ mine: rule }, { correlation: { mine: rule } }, { 'correlation.cluster._.mine': rule }]) {
      expect(Object.keys(parseRulesFile(document, 'f').rules)).toEqual(['mine']);
    }
    expect(
      parseRulesFile({ correlation: { mine: rule }, response: { p: policy } }, 'f').policies.get('p')?.dryRun,
    ).toBe(true);
  });
  it('modes of packets, by their key', () => {
    const { modes } = parseRulesFile({ 'spoof.namespace.shop.default': { modes: { tunnel: 'enforce' } } }, 'f');
    expect(modes.get('spoof.namespace.shop.default')?.modes).toEqual({ tunnel: 'enforce' });
  });
  it.each([
    [{}, /contains no rules/],
    [[], /contains no rules/],
    [null, /contains no rules/],
    [{ mine: null }, /mine: refused/],
    [{ mine: { ...rule, extra: 1 } }, /extra/],
    [{ 'Bad Name': rule }, /is not a Kubernetes name/],
    [{ 'runtime.cluster._.default': {} }, /no rule, response policy or mode of packets/],
    [{ 'spoof.cluster._.default': { modes: { tunnel: 'deny' } } }, /modes\.tunnel/],
    [{ 'spoof.cluster._.other': {} }, /is never read/],
    [{ correlation: { one: null, two: null } }, /one: refused.*\n.*two: refused/s],
    [
      { mine: rule, correlation: { mine: rule } },
      /correlation\.cluster\._\.mine is in the file twice: mine, correlation: mine/,
    ],
  ])('%j is refused', (document, message) => {
    expect(() => parseRulesFile(document, 'f')).toThrow(message);
  });
});

import { decodeProjectedFrame, encodeViolationFrame, type PodRef, ProjectedFrameRegistry } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import {
  MINUTE,
  makeFrame,
  makeViolation,
  packetSample,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  SimCollector,
  snapshotJson,
  T0,
} from '../testing.ts';
import { EVENT_TIME_BOUND_MICROS, POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';
import { RuleHistory } from './rule-history.ts';

const web = podRef('web');
const count = (gte: number, more: object = {}) => ({
  type: 'event_count',
  level: 'high',
  timespan: '60s',
  condition: { gte },
  ...more,
});
const onNodeA = () => podInventoryOf({ 'node-a': [web, podRef('db')], 'node-b': [podRef('far')] });
const engineOf = (rules: Record<string, unknown>, inventory = onNodeA(), more = {}) =>
  recordingEngine({ rules: ruleHistoryOf(rules), inventory: inventory, ...more });

/** Frames of one pod, each with the given number of packets. */
function spoofing(pod = web, more: object = {}, node = 'node-a') {
  const collector = new SimCollector(node);
  return (atMicros: number, packets: number, again: object = {}) => {
    collector.spoof(pod, packets, { ...more, ...again });
    const frame = collector.flush(atMicros);
    if (!frame) throw new Error('no increments');
    return frame;
  };
}

describe('engine - verdicts', () => {
  it('event_count - verdict at the violation that reaches the threshold, with evidence', () => {
    const { send, verdicts } = engineOf({ repeated: count(10) });
    const frame = spoofing();
    send(T0, frame(T0, 9));
    expect(verdicts).toEqual([]);
    send(T0 + SECOND, frame(T0 + SECOND, 1));
    expect(verdicts).toMatchObject([
      {
        rule: 'repeated',
        ruleType: 'event_count',
        level: 'high',
        groupBy: 'pod',
        groupKey: web.uid,
        configRevision: 1,
        triggeredAt: T0 + SECOND,
        observed: 10,
        threshold: 10,
        vectors: ['ipv4-source'],
        nodeName: 'node-a',
        pod: { uid: web.uid, namespace: 'default', name: 'web' },
        evidence: [
          { streamSequence: 1, index: 0, vector: 'ipv4-source', packets: 9 },
          { streamSequence: 2, index: 0, vector: 'ipv4-source', packets: 1 },
        ],
        evidenceOmitted: 0,
        reason: '10 packets (ipv4-source) from pod default/web on node-a within 60 s; 10 make it high',
      },
    ]);
    expect(verdicts[0]?.verdictId).toMatch(/^[0-9a-f]{32}$/);
  });

  it('event_count - packets outside the timespan do not add up', () => {
    const { send, verdicts } = engineOf({ repeated: count(10) });
    const frame = spoofing();
    for (let i = 0; i < 20; i++) send(T0 + i * 61 * SECOND, frame(T0 + i * 61 * SECOND, 9));
    expect(verdicts).toEqual([]);
  });

  it('cooldown - one verdict per epoch for a lasting attack', () => {
    const { send, verdicts } = engineOf({ repeated: count(2, { cooldown: '5m' }) });
    const frame = spoofing();
    for (let at = T0; at < T0 + 15 * MINUTE; at += 10 * SECOND) send(at, frame(at, 5));
    expect(verdicts.map(({ triggeredAt }) => Math.floor(triggeredAt / (5 * MINUTE)) - T0 / (5 * MINUTE))).toEqual([
      0, 1, 2,
    ]);
  });

  it('value_count - counts distinct claimed addresses; violations without one do not count', () => {
    const { send, verdicts } = engineOf({
      scan: { type: 'value_count', field: 'claimedAddress', level: 'critical', timespan: '60s', condition: { gte: 3 } },
    });
    const frame = spoofing();
    const claims = ['10.9.0.1', '10.9.0.1', null, '10.9.0.2', '', '10.9.0.3'];
    claims.forEach((claimedAddress, i) => {
      const sample = claimedAddress === null ? null : packetSample({ claimedAddress });
      send(T0 + i * SECOND, frame(T0 + i * SECOND, 1, { sample }));
      expect(verdicts.length).toBe(i === 5 ? 1 : 0);
    });
    expect(verdicts[0]).toMatchObject({
      observed: 3,
      evidence: [1, 2, 4, 6].map((streamSequence) => ({ streamSequence })),
    });
  });

  it('temporal_ordered - only in the given order', () => {
    const stages = [
      { name: 'spoofed', selection: { vectors: ['ipv4-source'] } },
      { name: 'confined', selection: { vectors: ['quarantine-ingress'] } },
    ];
    const rule = (type: string) => ({ type, level: 'critical', timespan: '10m', rules: stages });
    const { send, verdicts } = engineOf({ any: rule('temporal'), ordered: rule('temporal_ordered') });
    const frame = spoofing();
    send(T0, frame(T0, 1, { vector: 'quarantine-ingress' }));
    send(T0 + 1, frame(T0 + 1, 1, { vector: 'ipv4-source' }));
    expect(verdicts.map(({ rule: name }) => name)).toEqual(['any']);
    send(T0 + 2, frame(T0 + 2, 1, { vector: 'quarantine-ingress' }));
    expect(verdicts.map(({ rule: name }) => name)).toEqual(['any', 'ordered']);
  });

  it('owner and namespace - add up over pods of the group only', () => {
    const owner = { ownerKind: 'Deployment', ownerName: 'shop', ownerUid: 'owner-1' };
    const pods = [podRef('a', owner), podRef('b', owner), podRef('c', { ...owner, ownerUid: 'owner-2' })];
    const { send, verdicts } = engineOf(
      { owners: count(10, { 'group-by': 'owner' }), spaces: count(14, { 'group-by': 'namespace' }) },
      podInventoryOf({ 'node-a': pods }),
    );
    const [a, b, c] = pods.map((pod) => spoofing(pod));
    send(T0, a!(T0, 5));
    send(T0, c!(T0, 4));
    expect(verdicts).toEqual([]);
    send(T0, b!(T0, 5));
    expect(verdicts).toMatchObject([
      { rule: 'owners', groupKey: 'default/owner-1', pod: { name: 'b' } },
      { rule: 'spaces', groupKey: 'default' },
    ]);
  });

  it.each([
    ['namespace', {}],
    ['owner', { ownerKind: 'Deployment', ownerName: 'shop', ownerUid: 'owner-1' }],
  ] as const)(
    '%s - the verdict is about the pod with most packets, not about a neighbour that has the last one',
    (groupBy, owner) => {
      const pods = [podRef('a', owner), podRef('b', owner)];
      const lists = podInventoryOf({ 'node-a': pods.slice(0, 1), 'node-b': pods.slice(1) });
      const { send, verdicts } = engineOf({ group: count(10, { 'group-by': groupBy, cooldown: '1s' }) }, lists);
      const [a, b] = pods.map((pod, index) => spoofing(pod, {}, ['node-a', 'node-b'][index]));
      send(T0, a!(T0, 9));
      send(T0 + 1, b!(T0 + 1, 1));
      expect(verdicts).toMatchObject([{ nodeName: 'node-a', pod: { name: 'a' } }]);
      // Control: what has left the window counts no longer.
      const later = T0 + 3_600_000_000;
      send(later, a!(later, 4));
      send(later + 1, b!(later + 1, 6));
      expect(verdicts[1]).toMatchObject({ nodeName: 'node-b', pod: { name: 'b' } });
    },
  );

  it('node - a verdict about a node names no pod: a tenant’s violations must not be those of the neighbour that has the last one', () => {
    const { send, verdicts } = engineOf({ nodes: count(10, { 'group-by': 'node' }), pods: count(10) });
    const [tenant, neighbour] = [spoofing(podRef('db')), spoofing(web)];
    send(T0, tenant!(T0, 9));
    send(T0 + 1, neighbour!(T0 + 1, 1));
    expect(verdicts).toMatchObject([{ rule: 'nodes', groupKey: 'node-a', nodeName: 'node-a', pod: null }]);
    send(T0 + 2, tenant!(T0 + 2, 1));
    expect(verdicts[1], 'control').toMatchObject({ rule: 'pods', pod: { name: 'db' } });
  });

  it('owner - a tenant that writes the UID of another namespace’s workload above its own adds nothing to it', () => {
    const owner = { ownerKind: 'Deployment', ownerName: 'shop', ownerUid: 'owner-1' };
    const [victim, tenant, own] = [
      podRef('a', owner),
      podRef('b', { ...owner, namespace: 'tenant', ownerKind: 'Foo' }),
      podRef('c', owner),
    ];
    const inventory = podInventoryOf({ 'node-a': [victim, tenant, own] });
    const { send, verdicts } = engineOf({ owners: count(10, { 'group-by': 'owner' }) }, inventory);
    const [a, b, c] = [victim, tenant, own].map((pod) => spoofing(pod));
    send(T0, b!(T0, 9));
    send(T0, a!(T0, 1));
    expect(verdicts).toEqual([]);
    send(T0, b!(T0, 10));
    send(T0, c!(T0, 9));
    expect(verdicts, 'also in the same epoch').toMatchObject([
      { groupKey: 'tenant/owner-1', pod: { name: 'b' } },
      { groupKey: 'default/owner-1', pod: { name: 'c' } },
    ]);
    expect(new Set(verdicts.map(({ verdictId }) => verdictId)).size).toBe(2);
  });

  it('owner - ignored if the list does not have it', () => {
    const victim = podRef('victim', { ownerKind: 'Deployment', ownerName: 'shop', ownerUid: 'owner-1' });
    const inventory = podInventoryOf({ 'node-a': [web], 'node-b': [victim] });
    const { send, verdicts } = engineOf({ owners: count(10, { 'group-by': 'owner' }) }, inventory);
    send(T0, spoofing({ ...web, ownerKind: 'Deployment', ownerName: 'shop', ownerUid: 'owner-1' })(T0, 50));
    expect(verdicts).toMatchObject([{ groupKey: web.uid, pod: { uid: web.uid, ownerUid: '' } }]);
  });

  it('duplicate frame - adds nothing', () => {
    const { send, verdicts, engine } = engineOf({ repeated: count(10) });
    const frame = spoofing()(T0, 9);
    send(T0, frame);
    send(T0 + 1, frame);
    expect(verdicts).toEqual([]);
    expect(engine.counted).toMatchObject({ violations: 2, duplicates: 1, packets: 9 });
  });

  it('cap - a capped verdict follows in the next minute if the attack lasts; urgent verdicts have reserved room', () => {
    const rules = { low: count(1, { level: 'low' }), high: count(1) };
    const { send, verdicts, engine } = engineOf(rules, onNodeA(), { verdictsPerMinute: 8 });
    const [a, b] = [spoofing(), spoofing(podRef('db'))];
    send(T0, a(T0, 1));
    send(T0, b(T0, 1));
    expect(verdicts.map(({ rule, groupKey }) => [rule, groupKey])).toEqual([
      ['high', web.uid],
      ['high', 'uid-of-db'],
    ]);
    expect(engine.size.capped).toBe(2);
    send(T0 + MINUTE, a(T0 + MINUTE, 1));
    expect(verdicts.map(({ rule }) => rule)).toEqual(['high', 'high', 'low']);
  });
});

describe('engine - time', () => {
  it.each([
    ['an hour behind', -3600 * SECOND],
    ['an hour ahead', 3600 * SECOND],
  ])('a clock %s - bus time is used', (_, offset) => {
    const { send, verdicts } = engineOf({ repeated: count(10) });
    const frame = spoofing();
    send(T0, frame(T0, 5));
    send(T0 + SECOND, frame(T0 + SECOND + offset, 5));
    expect(verdicts).toMatchObject([{ triggeredAt: T0 + SECOND }]);
  });

  it('a clock that jumps - neither joins distant violations nor separates close ones', () => {
    const far = engineOf({ repeated: count(10, { timespan: '60s' }) });
    const far1 = spoofing();
    far.send(T0, far1(T0, 5));
    far.send(T0 + 70 * SECOND, far1(T0 + 1 * SECOND, 5));
    expect(far.verdicts).toEqual([]);
    const close = engineOf({ repeated: count(10, { timespan: '2s' }) });
    const close1 = spoofing();
    close.send(T0, close1(T0 + EVENT_TIME_BOUND_MICROS, 5));
    close.send(T0 + SECOND, close1(T0 + SECOND - EVENT_TIME_BOUND_MICROS, 5));
    expect(close.verdicts.length).toBe(1);
  });

  it('the bus clock steps back - stream time does not fall', () => {
    const { send, engine } = engineOf({ repeated: count(10) });
    const frame = spoofing();
    send(T0 + MINUTE, frame(T0 + MINUTE, 1));
    send(T0, frame(T0, 1));
    expect(engine.nowMicros).toBe(T0 + MINUTE);
  });

  it('memory - a counter identity finds no counter of another node and no removed counter', () => {
    const { engine, verdicts } = engineOf({ repeated: count(10) });
    const registry = new ProjectedFrameRegistry();
    const message = (frameSequence: number, nodeName = 'node-a') =>
      decodeProjectedFrame(encodeViolationFrame(spoofing()(T0, 9, { nodeName, frameSequence })), registry);
    const send = (at: number, sequence: number, node = 'node-a') =>
      engine.processFrame({ sequence, timestampMicros: at, node }, { ...message(sequence), nodeName: node });
    send(T0, 1);
    send(T0, 1);
    expect(engine.counted).toMatchObject({ violations: 2, duplicates: 1 });
    // The pod is on node-a: the same bytes from node-b do not belong to node-a's counter.
    send(T0, 2, 'node-b');
    expect(engine.counted).toMatchObject({ violations: 2, refused: 1 });
    const later = T0 + 3 * 60 * MINUTE;
    engine.advance(later);
    expect(engine.size).toMatchObject({ nodes: 0, counters: 0, windows: 0 });
    send(later, 3);
    expect([engine.counted.duplicates, verdicts.length]).toEqual([1, 0]);
  });

  it('memory - idle windows, counters and nodes are removed', () => {
    const { send, engine } = engineOf({ repeated: count(10) });
    send(T0, spoofing()(T0, 1));
    expect(engine.size).toMatchObject({ nodes: 1, counters: 1, windows: 1 });
    engine.advance(T0 + 2 * MINUTE);
    expect(engine.size).toMatchObject({ nodes: 1, counters: 1, windows: 0 });
    engine.advance(T0 + 2 * 60 * MINUTE);
    expect(engine.size).toMatchObject({ nodes: 0, counters: 0, windows: 0 });
  });
});

describe('engine - configuration', () => {
  it('a frame is processed by the rules in force one second before it', () => {
    const history = new RuleHistory({});
    const change = (gte: number) => JSON.stringify(count(gte));
    history.apply({ sequence: 1, timestampMicros: 1, key: 'correlation.cluster._.r', json: change(100) });
    history.apply({ sequence: 2, timestampMicros: T0, key: 'correlation.cluster._.r', json: change(2) });
    const { send, verdicts } = recordingEngine({ rules: history, inventory: onNodeA() });
    const frame = spoofing();
    send(T0 + SETTLE_MICROS - 1, frame(T0, 5));
    expect(verdicts).toEqual([]);
    // Packets counted under the old threshold count under the new one.
    send(T0 + SETTLE_MICROS, frame(T0 + SETTLE_MICROS, 1));
    expect(verdicts).toMatchObject([{ observed: 6, threshold: 2, configRevision: 2 }]);
  });

  it('a rule with another shape starts with empty windows, but keeps its cooldowns', () => {
    const history = new RuleHistory({});
    const change = (more: object) => JSON.stringify(count(5, { cooldown: '10m', ...more }));
    history.apply({ sequence: 1, timestampMicros: 1, key: 'correlation.cluster._.r', json: change({}) });
    history.apply({
      sequence: 2,
      timestampMicros: T0,
      key: 'correlation.cluster._.r',
      json: change({ timespan: '50s' }),
    });
    const { send, verdicts } = recordingEngine({ rules: history, inventory: onNodeA() });
    const [a, b] = [spoofing(), spoofing(podRef('db'))];
    send(T0, a(T0, 4));
    send(T0, b(T0, 5));
    expect(verdicts.length).toBe(1);
    send(T0 + 2 * SECOND, a(T0 + 2 * SECOND, 4));
    send(T0 + 2 * SECOND, b(T0 + 2 * SECOND, 5));
    expect(verdicts.length).toBe(1);
    send(T0 + 3 * SECOND, a(T0 + 3 * SECOND, 1));
    expect(verdicts.map(({ groupKey }) => groupKey)).toEqual(['uid-of-db', web.uid]);
  });
});

describe('engine - reports on foreign pods', () => {
  const rules = {
    repeated: count(10),
    liars: count(1, { level: 'critical', 'group-by': 'node', selection: { vectors: ['foreign-pod'] } }),
  };

  it.each(['name', 'namespace'] as const)(
    'another %s of an own pod - refused, also after a correct report of the same counter',
    (part) => {
      const { send, verdicts, refusals } = engineOf(rules);
      const claim = (pod: PodRef, cumulativePackets: number) =>
        makeFrame([makeViolation({ pod, counterEpoch: 'boot/7/1', cumulativePackets, count: 1 })], {
          frameSequence: cumulativePackets,
        });
      send(T0, claim(web, 1));
      send(T0 + 1, claim({ ...web, [part]: 'another' }, 2));
      expect(refusals).toMatchObject([{ reason: 'foreign-pod', sequence: 2, indexes: [0] }]);
      expect(verdicts.map(({ rule }) => rule)).toEqual(['liars']);
    },
  );

  it('another node’s pod - refused, and counts against the node; the rest of the frame is processed', () => {
    const { send, verdicts, refusals } = engineOf(rules);
    const own = makeViolation({ pod: web, cumulativePackets: 10, count: 10 });
    const foreign = makeViolation({ pod: podRef('far'), cumulativePackets: 99, count: 99 });
    send(T0, makeFrame([foreign, own]));
    expect(verdicts.map(({ rule, groupKey, pod }) => [rule, groupKey, pod?.name])).toEqual(
      [
        ['repeated', web.uid, 'web'],
        ['liars', 'node-a', undefined],
      ].sort(),
    );
    expect(refusals).toMatchObject([{ reason: 'foreign-pod', node: 'node-a', sequence: 1, indexes: [0] }]);
  });

  it('another node’s name - the frame is refused, and counts against its sender', () => {
    const { send, verdicts, refusals } = engineOf(rules);
    send(
      T0,
      makeFrame([makeViolation({ pod: podRef('far'), cumulativePackets: 99, count: 99 })], { nodeName: 'node-b' }),
      {
        node: 'node-a',
      },
    );
    expect(refusals).toMatchObject([{ reason: 'foreign-node', indexes: [] }]);
    expect(verdicts).toMatchObject([{ rule: 'liars', groupKey: 'node-a', pod: null, nodeName: 'node-a' }]);
  });

  it.each([
    ['negative count', makeViolation({ count: -1 })],
    ['negative cumulative', makeViolation({ cumulativePackets: -5 })],
    ['no counter epoch', makeViolation({ counterEpoch: '' })],
    ['pod name that is no subject token', makeViolation({ pod: podRef('a b*') })],
    ['namespace that is no subject token', makeViolation({ pod: podRef('a', { namespace: '>' }) })],
    ['empty uid', makeViolation({ pod: podRef('a', { uid: '' }) })],
  ])('invalid - %s: refused and not counted', (_, violation) => {
    const { send, refusals, engine } = engineOf(rules);
    send(T0, makeFrame([violation]));
    expect(refusals).toMatchObject([{ reason: 'invalid-violation' }]);
    expect(engine.counted.violations).toBe(0);
  });

  it('no pod - counts only for the node', () => {
    const { send, verdicts } = engineOf({ pods: count(1), nodes: count(1, { 'group-by': 'node' }) });
    send(T0, makeFrame([makeViolation({ pod: null, state: 'unknown' })]));
    expect(verdicts).toMatchObject([{ rule: 'nodes', groupKey: 'node-a', pod: null }]);
  });

  it('not yet listed - pending, then processed in order when the snapshot arrives', () => {
    const inventory = onNodeA();
    const young = podRef('young');
    const { send, verdicts, engine } = engineOf(rules, inventory);
    const frame = spoofing(young);
    send(T0, frame(T0, 6));
    send(T0 + SECOND / 10, frame(T0 + SECOND / 10, 6));
    expect([verdicts.length, engine.size.pending, engine.nextDeadlineMicros()]).toEqual([
      0,
      2,
      T0 + POD_GRACE_MICROS + SETTLE_MICROS,
    ]);
    const json = snapshotJson('node-a', [web, podRef('db'), young], 2);
    const listedAt = T0 + SECOND / 2;
    inventory.apply({ node: 'node-a', timestampMicros: listedAt, revision: 9, previousRevision: 1, json });
    expect(engine.nextDeadlineMicros()).toBe(listedAt + SETTLE_MICROS);
    engine.advance(listedAt + SETTLE_MICROS - 1);
    expect(verdicts).toEqual([]);
    engine.advance(listedAt + SETTLE_MICROS);
    expect(verdicts).toMatchObject([{ triggeredAt: T0 + SECOND / 10, observed: 12 }]);
    expect([engine.size.pending, engine.nextDeadlineMicros()]).toEqual([0, null]);
  });

  it('never listed - refused after the grace period, by a frame or by advancing time, and does not count against the node', () => {
    const { send, verdicts, refusals, engine } = engineOf(rules);
    send(T0, makeFrame([makeViolation({ pod: podRef('ghost') })]));
    engine.advance(T0 + POD_GRACE_MICROS);
    expect(refusals).toEqual([]);
    send(T0 + MINUTE, makeFrame([makeViolation({ pod: web })]));
    expect(refusals).toMatchObject([{ reason: 'unproven-pod', sequence: 1, indexes: [0] }]);
    expect(verdicts).toEqual([]);
  });

  it('a flood of invented pods - uses only the share of its node', () => {
    const { send, refusals, engine } = engineOf(rules);
    for (let i = 0; i < 50; i++) {
      const invented = Array.from({ length: 64 }, (_, k) =>
        makeViolation({ pod: podRef(`ghost-${i}-${k}`, { namespace: `ghost-${i}-${k}` }) }),
      );
      send(T0, makeFrame(invented));
    }
    expect(engine.size.pending).toBe(2048);
    expect(refusals.every(({ reason }) => reason === 'unproven-pod')).toBe(true);
    expect(refusals.reduce((sum, { indexes }) => sum + indexes.length, 0)).toBe(50 * 64 - 2048);
  });
});

import type { PlacedPod } from '@bailiff/insight';
import type { ClusterFacts, ClusterReport, NodeReport } from '@bailiff/response';
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { coverageView, statusView } from './status-view.ts';

const NOW_MS = Date.parse('2026-01-01T00:10:00Z');
const STALE_MS = 30_000;
const shop = (namespace: string | null) => namespace === 'shop';

const listed = (name: string, nodeName: string, part: Partial<PlacedPod> = {}): PlacedPod =>
  ({
    ...{ uid: `uid-${name}`, namespace: 'shop', name, nodeName, hostNetwork: false },
    interfaces: [{ name: 'eth0', addresses: ['10.1.0.7'], mac: null }],
    ...part,
  }) as PlacedPod;

const reported = (name: string, part: Partial<InterfaceStatus> = {}): InterfaceStatus =>
  ({
    ...{ interfaceName: `veth-${name}`, coverage: 'guarded', reason: '' },
    ...{ podUid: `uid-${name}`, podNamespace: 'shop', podName: name, ...part },
  }) as InterfaceStatus;

const AHEAD = new Date(NOW_MS + 1).toISOString();
const node = (interfaces: InterfaceStatus[], part: Partial<NodeStatus> = {}): NodeStatus =>
  ({ updatedAt: new Date(NOW_MS).toISOString(), disarmedUntil: null, interfaces, ...part }) as NodeStatus;

const factsOf = (nodes: Record<string, NodeStatus | string>, config: unknown[] = []) =>
  ({ nodes: new Map(Object.entries(nodes)), config, nowMs: NOW_MS, staleMs: STALE_MS }) as unknown as ClusterFacts;

function view(nodes: Record<string, NodeStatus | string>, pods: PlacedPod[], isWhole = true) {
  const facts = factsOf(nodes);
  const { ok, headline, guarded, guardable, nodes: table } = coverageView(facts, { pods, isWhole }, shop);
  const rows = table.rows.map(({ cells }) => cells.map((cell) => (typeof cell === 'string' ? cell : cell.text)));
  return { ok, headline, counts: [guarded, guardable], rows };
}

describe('whether the pods of a namespace are guarded', () => {
  it('every one is, by the word of its own node', () => {
    expect(view({ a: node([reported('web')]) }, [listed('web', 'a')])).toEqual({
      ok: true,
      headline: 'Every pod that you may see is guarded',
      counts: [1, 1],
      rows: [],
    });
  });

  it.each<[string, Record<string, NodeStatus | string>, string, string]>([
    ['its node never reported', {}, 'unknown', 'its node has not reported'],
    ['its report cannot be read', { b: 'not JSON' }, 'unknown', 'the report of its node cannot be read'],
    [
      'its node is silent',
      { b: node([reported('db')], { updatedAt: new Date(NOW_MS - STALE_MS - 1).toISOString() }) },
      'unknown',
      'its node has not reported for a while',
    ],
    ['its node does not name it', { b: node([]) }, 'unknown', 'the report of its node does not name it'],
    [
      'another node says that it is',
      { b: node([]), a: node([reported('web'), reported('db')]) },
      'unknown',
      'the report of its node does not name it',
    ],
    ['it is not', { b: node([reported('db', { coverage: 'not-covered', reason: 'why' })]) }, 'no', 'why'],
    ['its node is disarmed', { b: node([reported('db')], { disarmedUntil: AHEAD }) }, 'no', 'its node is disarmed'],
    [
      'its namespace is disarmed there',
      { b: node([reported('db')], { disarmedNamespaces: [{ namespace: 'shop', disarmedUntil: AHEAD }] }) },
      'no',
      'its namespace is disarmed there',
    ],
  ])('one is not known to be: %s', (_, nodes, guarded, why) => {
    expect(view({ a: node([reported('web')]), ...nodes }, [listed('web', 'a'), listed('db', 'b')])).toEqual({
      ok: false,
      headline: 'Not known to be guarded: 1 of 2 interfaces of your pods',
      counts: [1, 2],
      rows: [['shop/db', guarded, why]],
    });
  });

  it('not every one is, while a pod list cannot be read', () => {
    const headline = 'A pod list cannot be read: pods of yours may be missing here';
    const nodes = { a: node([reported('web')]) };
    expect(view(nodes, [listed('web', 'a')], false)).toMatchObject({ ok: false, headline, counts: [1, 1] });
  });

  it('a node that invents pods changes nothing, and pods without an interface are not counted', () => {
    const lies = Array.from({ length: 50 }, (_, n) => reported(`ghost-${n}`, { coverage: 'not-covered' }));
    const pods = [
      listed('web', 'a'),
      listed('host', 'a', { hostNetwork: true }),
      listed('gone', 'a', { ended: true }),
      listed('pending', 'a', { interfaces: [] }),
      listed('other', 'a', { namespace: 'payments' }),
    ];
    expect(view({ a: node([reported('web')]), bad: node(lies) }, pods).counts).toEqual([1, 1]);
    expect(view({ bad: node(lies) }, [])).toMatchObject({ ok: false, counts: [0, 0] });
  });
});

describe('interfaces that are guarded and enforced', () => {
  const reportOf = (...nodes: Partial<NodeReport>[]) =>
    ({
      ...{ ok: true, exitCode: 0, problems: [] },
      nodes: nodes.map((part) => {
        return { node: 'a', health: 'ok', ageMs: 0, status: null, guarded: 2, guardable: 2, notEnforced: 0, ...part };
      }),
    }) as unknown as ClusterReport;
  const enforced = (report: ClusterReport) => {
    const facts = { ...factsOf({}), services: null, streams: new Map(), deadLetters: null } as unknown as ClusterFacts;
    return statusView(facts, report, []).enforced;
  };

  it.each<[string, Partial<NodeReport>, number]>([
    ['all', {}, 2],
    ['one is in audit', { health: 'not-enforced', notEnforced: 1 }, 1],
    ['the node is disarmed', { health: 'disarmed' }, 0],
    ['the node is silent', { health: 'silent' }, 0],
  ])('%s', (_name, node, expected) => {
    expect(enforced(reportOf(node))).toBe(expected);
  });

  it('a viewer of one namespace - a vector in audit counts against its own pods', () => {
    const key = 'spoof.namespace.shop.default';
    const facts = (json: object) =>
      factsOf({ a: node([reported('web')]) }, [{ key, json: JSON.stringify(json), refused: '' }]);
    const of = (json: object) => {
      const {
        guarded,
        enforced: fully,
        summary,
      } = coverageView(facts(json), { pods: [listed('web', 'a')], isWhole: true }, shop);
      return [guarded, fully, summary.includes('not fully enforced')];
    };
    expect(of({ modes: { 'ipv4-source': 'audit' } })).toEqual([1, 0, true]);
    // The control.
    expect(of({})).toEqual([1, 1, false]);
  });
});

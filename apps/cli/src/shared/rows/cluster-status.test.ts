import { disarmOf, parseJson } from '@bailiff/insight';
import { type ClusterFacts, judge, type ServiceHealth, type ServiceStatus } from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import { nodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import {
  disarmLines,
  nodeDetails,
  nodeTable,
  problemLines,
  streamLine,
  summaryLine,
  withoutRemoved,
} from './cluster-status.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const iso = (agoMs: number) => new Date(NOW - agoMs).toISOString();

function iface(name: string, part: Partial<NodeStatus['interfaces'][0]> = {}): NodeStatus['interfaces'][0] {
  return {
    interfaceName: `veth-${name}`,
    ifindex: 1,
    generation: 1,
    coverage: 'guarded',
    reason: '',
    state: 'programmed',
    podUid: name,
    podNamespace: 'shop',
    podName: name,
    addresses: ['10.0.0.1'],
    mac: '02:00:00:00:00:01',
    packetsBeforeGuard: 0,
    quarantinedUntil: null,
    ...part,
  };
}

function status(part: Partial<NodeStatus> = {}): NodeStatus {
  return {
    nodeName: 'n',
    bootId: 'b',
    collectorVersion: '0.1.0',
    updatedAt: iso(3_000),
    startedAt: iso(3_600_000),
    hook: 'tcx',
    features: [{ name: 'bpf-lsm', available: false, reason: 'EPERM', remedy: 'a kernel that permits it' }],
    interfaces: [iface('web'), iface('cart')],
    snapshotRevision: 1,
    snapshotRefused: '',
    configRefused: [],
    disarmedUntil: null,
    maps: [{ name: 'ifaces', used: 2, capacity: 512 }],
    losses: { ringFull: 0, noCounter: 0, noIface: 0 },
    bus: { connected: true, unackedFrames: 0, publishedFrames: 1, resentFrames: 0 },
    ...part,
  };
}

const HEALTH: ServiceHealth = {
  running: 1,
  ready: 1,
  notReady: '',
  notReadyForMs: 0,
  silent: 0,
  silentForMs: 0,
  leading: 1,
  crashed: 0,
  leadingNow: 1,
  ledAgoMs: 1_000,
  runningForMs: 3_600_000,
  waiting: { count: 0, oldestAtMs: 0, atLeast: false },
  behindMs: 0,
  heardMs: 1_000,
  newer: 0,
  stalledMs: 0,
};
const SERVICES: ServiceStatus = {
  atMs: NOW,
  cut: false,
  ipamSync: HEALTH,
  siemRelay: null,
  busAuth: null,
  evidenceLog: null,
  correlator: {
    ...HEALTH,
    newestFrameAtMs: null,
    newestVerdictAtMs: null,
    newestVerdictDelayMs: null,
    skipped: [],
    missingVerdicts: null,
  },
  responder: {
    ...HEALTH,
    newestResponseAtMs: null,
    due: 0,
    dryRuns: 0,
    unanswered: 0,
    oldestUnansweredAtMs: null,
    unansweredIds: [],
    failed: [],
    refused: [],
    removed: [],
  },
};

const SENT = { connected: true, unackedFrames: 0, publishedFrames: 1, resentFrames: 0 };
const NOT_SENT = { ...SENT, unackedFrames: 1, unackedForMs: 120_000, unackedReason: 'the stream is sealed' };
const LOST = { ringFull: 5, noCounter: 6, noIface: 7 };
const lacking = (name: string) => ({ name, available: false, reason: '', remedy: '' });
const quarantined = iface('web', { quarantinedUntil: iso(-600_000) });
const unjudged = (unjudgedFrames: number, recentUnjudgedFrames: number) =>
  iface('web', { unjudgedFrames, recentUnjudgedFrames });

const report = (nodes: Record<string, NodeStatus | string>, part: Partial<ClusterFacts> = {}) =>
  judge({
    nodes: new Map(Object.entries(nodes)),
    expected: Object.keys(nodes),
    config: [],
    unsigned: [],
    unlogged: [],
    disarms: [],
    instances: [],
    services: SERVICES,
    streams: new Map(),
    deadLetters: { counts: [], cut: false },
    certificates: [],
    nowMs: NOW,
    staleMs: 60_000,
    ...part,
  });

describe('report', () => {
  it('all well - exit 0 and nothing to say', () => {
    const { exitCode, problems, nodes } = report({ a: status(), b: status() });
    expect([exitCode, problems, nodes.map(({ health }) => health)]).toEqual([0, [], ['ok', 'ok']]);
    expect(nodes[0]).toMatchObject({ guarded: 2, guardable: 2, ageMs: 3_000, lost: 0 });
  });

  it('services whose status could not be read are no success, unless the bus is not set up, which is reported', () => {
    const unread = report({ a: status() }, { services: null });
    expect([unread.ok, unread.exitCode, unread.problems.map(({ node }) => node)]).toEqual([false, 7, ['services']]);
    const absent = report({ a: status() }, { services: null, streams: new Map([['VERDICTS', null]]) });
    expect(absent.problems.map(({ node }) => node)).toEqual(['bus']);
  });

  it('what the signers of the reader refuse is a problem, whatever nodes report', () => {
    const unsigned = [{ key: 'spoof.cluster._.default', reason: 'the value is not signed' }];
    const { exitCode, problems } = report({ a: status() }, { unsigned });
    expect([exitCode, problems]).toMatchObject([
      6,
      [{ node: 'signers', text: 'do not allow what the bus has of spoof.cluster._.default: the value is not signed' }],
    ]);
  });

  it('a silent node that was removed from the cluster is no problem, and fills no row', () => {
    const nodes = { a: status(), b: status({ updatedAt: iso(3_600_000) }) };
    const removed = report(nodes, { expected: ['a'] });
    expect([removed.exitCode, removed.problems, removed.nodes[1]?.health]).toEqual([0, [], 'removed']);
    expect(nodeTable(withoutRemoved(removed), NOW, { width: 0 })).toHaveLength(2);
    expect(summaryLine(removed)).toBe('1 of 1 node reports, 2 of 2 interfaces guarded; 1 removed node is not shown');
    // Controls: the API server has it; nothing says so now; it reports.
    const led = (leading: number, ledAgoMs: number | null = null) => ({
      ...SERVICES,
      ipamSync: { ...HEALTH, leading, ledAgoMs, runningForMs: 1_000 },
    });
    expect(report(nodes, { expected: ['a', 'b'] }).exitCode).toBe(7);
    expect(report(nodes, { expected: ['a'], services: led(0) }).nodes[1]?.health).toBe('silent');
    expect(report({ ...nodes, b: status() }, { expected: ['a'] }).nodes[1]?.health).toBe('ok');
    // The lease changes hands: the former leader knew that it was removed, unless it reported until then.
    const atHandover = (silentMs: number) =>
      report({ a: status(), b: status({ updatedAt: iso(silentMs) }) }, { expected: ['a'], services: led(0, 20_000) });
    expect(atHandover(3_600_000)).toMatchObject({ exitCode: 0, problems: [] });
    expect(atHandover(70_000).nodes[1]?.health).toBe('silent');
  });

  it('interfaces beyond the limit of the status are counted, and are a problem if they are not guarded', () => {
    const interfacesOmitted = { guarded: 300, partial: 0, 'not-covered': 0, 'not-applicable': 7 };
    const well = report({ a: status({ interfacesOmitted }) });
    expect([well.exitCode, well.problems]).toEqual([0, []]);
    expect(well.nodes[0]).toMatchObject({ health: 'ok', guarded: 302, guardable: 302 });
    expect(summaryLine(well)).toContain('302 of 302 interfaces guarded');
    const text = nodeDetails(status({ interfacesOmitted }), NOW, { width: 0 }).join('\n');
    expect(text).toContain('300 guarded, 7 not-applicable');

    const partly = report({ a: status({ interfacesOmitted: { ...interfacesOmitted, partial: 2 } }) });
    expect(partly.exitCode).toBe(10);
    expect(partly.nodes[0]).toMatchObject({ health: 'partial', guarded: 302, guardable: 304 });
    expect(partly.problems.map(({ text }) => text)).toEqual([expect.stringMatching(/^2 further .* partly covered/)]);

    const bare = report({ a: status({ interfacesOmitted: { ...interfacesOmitted, 'not-covered': 1 } }) });
    expect(bare.exitCode).toBe(3);
    expect(bare.nodes[0]).toMatchObject({ health: 'uncovered', guarded: 302, guardable: 303 });
  });

  it('an interface without a pod has a remedy: it can be excluded', () => {
    const reason = 'no pod found for it: judged as unknown';
    const { problems } = report({ a: status({ interfaces: [iface('vm0', { coverage: 'partial', reason })] }) });
    expect(problems.map(({ remedy }) => remedy)).toEqual([expect.stringContaining('EXCLUDE_INTERFACES')]);
  });

  it('an orphaned interface is named with its former pod and a remedy; it is not partly covered', () => {
    const reason = 'its pod has ended, and what it sends is dropped';
    const orphan = iface('web', { coverage: 'partial', reason, orphaned: true });
    const { problems, nodes, exitCode } = report({ a: status({ interfaces: [orphan, iface('cart')] }) });
    expect([nodes[0]?.health, exitCode]).toEqual(['partial', 0]);
    expect(problems).toMatchObject([
      { text: `shop/web (veth-web) orphaned: "${reason}"`, remedy: expect.stringContaining('ip link del') },
    ]);
  });

  it('a pod with links beside its guard is named with them and a remedy', () => {
    const links = ['own0 (macvlan on br0)', 'own1 (vxlan)'];
    const web = iface('web', { coverage: 'partial', reason: 'its pod has links', foreignLinks: links });
    const { problems, nodes } = report({ a: status({ interfaces: [web, iface('cart')] }) });
    expect(nodes[0]?.health).toBe('partial');
    expect(problems).toMatchObject([
      {
        text: 'no guard judges these links of shop/web (veth-web) in the network of the node: "own0 (macvlan on br0), own1 (vxlan)"',
        remedy: expect.stringContaining('hostUsers: false'),
      },
    ]);
  });

  it('a quarantine that does not block all traffic is named, with the reason; one that does is none', () => {
    const quarantinedUntil = iso(-3_600_000);
    const of = (...interfaces: NodeStatus['interfaces']) => {
      const { problems, exitCode } = report({ a: status({ interfaces }) });
      return [exitCode, problems.map(({ text }) => text)];
    };
    const onNode = { coverage: 'not-applicable', reason: "on the host's network" } as const;
    expect(of(iface('web', { quarantinedUntil, ...onNode }))).toEqual([
      10,
      [`quarantine blocks no traffic of shop/web (veth-web): "on the host's network"`],
    ]);
    const past = { pastGuardFrames: 7 };
    expect(of(iface('web', { quarantinedUntil, ...past }), iface('cart', past))).toEqual([
      10,
      [expect.stringMatching(/^shop\/web \(veth-web\) in quarantine, but .* only what the pod sends is dropped$/)],
    ]);
    // Before anything is in quarantine, it is a restriction.
    expect(of(iface('web'), iface('cart', past))).toEqual([
      0,
      [expect.stringMatching(/past their guards \(shop\/cart \(veth-cart\)\): a quarantine would drop only/)],
    ]);
    expect(of(iface('web', { quarantinedUntil }), iface('cart', onNode))).toEqual([0, []]);
    const lines = nodeDetails(status({ interfaces: [iface('web', past)] }), NOW, { width: 200 });
    expect(lines.join('\n')).toMatch(/shop\/web .* receives past the guard: 7/);
  });

  it('interfaces whose frames are not compared are named, so that no count of unjudged frames passes for a check', () => {
    const [notCompared, other] = ['GRO merges frames', 'an XDP program'];
    const interfaces = [iface('web', { notCompared }), iface('cart', { notCompared: other }), iface('db')];
    const { problems, nodes } = report({ a: status({ interfaces }) });
    expect(nodes[0]?.health).toBe('ok');
    expect(problems.map(({ text }) => text)).toEqual([
      `unjudged frames of shop/web (veth-web) would not be found: "${notCompared}"`,
      `unjudged frames of shop/cart (veth-cart) would not be found: "${other}"`,
    ]);
    const lines = nodeDetails(status({ interfaces }), NOW, { width: 200 });
    expect(lines.filter((line) => line.includes('frames not compared'))).toHaveLength(2);
  });

  it.each([
    ['silent', status({ updatedAt: iso(61_000) }), 7, /silent for 61s/],
    ['unreadable', 'bus: Required', 7, /cannot be read: "bus/],
    [
      'uncovered',
      status({ interfaces: [iface('web', { coverage: 'not-covered', reason: 'E2BIG' })] }),
      3,
      /shop\/web .*not covered: "E2BIG/,
    ],
    ['uncovered', status({ hook: 'none' }), 3, /nothing is attached/],
    ['refused', status({ snapshotRefused: 'it names no pod of ours' }), 6, /refuses its pod snapshot/],
    [
      'refused',
      status({ configRefused: [{ key: 'spoof.cluster._.default', reason: 'x: refused\nmodes.a: no' }] }),
      6,
      /modes\.a: no/,
    ],
    [
      'partial',
      status({ interfaces: [iface('web', { coverage: 'partial', reason: 'no MAC' }), iface('cart')] }),
      10,
      /partly covered: "no MAC/,
    ],
    ['outdated', status({ bus: { ...SENT, unconfirmedForMs: 240_000 } }), 7, /has not read its pod list .* for 4m/],
    ['partial', status({ features: [lacking('checksum-offload')] }), 10, /hides what the vector checksum-offload/],
    ['ok', status({ features: [lacking('probe-sockets')] }), 0, null],
    ['partial', status({ features: [lacking('state-files')] }), 0, /cannot write its state: /],
    ['partial', status({ features: [lacking('probe-sockets')], interfaces: [quarantined] }), 10, /serve pods on the/],
    ['disarmed', status({ disarmedUntil: iso(-600_000) }), 10, /is disarmed for 10m/],
    ['ok', status({ disarmedUntil: iso(1_000) }), 0, null],
    [
      'ok',
      status({ interfaces: [iface('host', { coverage: 'not-applicable', reason: "on the host's network" })] }),
      0,
      null,
    ],
    ['ok', status({ maps: [{ name: 'ifaces', used: 90, capacity: 100 }] }), 0, /90 % full/],
    ['ok', status({ losses: { ringFull: 5, noCounter: 0, noIface: 0 } }), 0, /5 samples were lost .* exact/],
    ['ok', status({ losses: { ringFull: 0, noCounter: 1, noIface: 0 } }), 0, /not counted since the programs/],
    ['partial', status({ losses: { ringFull: 0, noCounter: 0, noIface: 2 } }), 10, /2 packets came .* passed unjudged/],
    ['ok', status({ losses: LOST, recentLosses: {} }), 0, null],
    ['ok', status({ losses: LOST, recentLosses: { 'ring-full': 3 } }), 0, /^3 samples .* in the last hour;/],
    ['partial', status({ losses: LOST, recentLosses: { 'no-iface': 4 } }), 10, /^4 packets came .* in the last hour/],
    ['partial', status({ interfaces: [iface('web', { unjudgedFrames: 5 })] }), 10, /5 frames of .* being judged$/],
    ['partial', status({ interfaces: [unjudged(5, 2)] }), 10, /2 frames of .* being judged in the last hour/],
    ['ok', status({ interfaces: [unjudged(5, 0)] }), 0, null],
    ['ok', status({ bus: { connected: true, unackedFrames: 60, publishedFrames: 1, resentFrames: 0 } }), 0, /behind/],
    ['ok', status({ bus: { ...SENT, unackedFrames: 1, unackedForMs: 19_000 } }), 0, null],
    [
      'unsent',
      status({ bus: { ...SENT, unackedFrames: 1, unackedForMs: 21_000 } }),
      7,
      /have not reached the bus for 21s/,
    ],
    ['unsent', status({ bus: NOT_SENT }), 7, /have not reached the bus for 2m: .* judged: "the stream is sealed"/],
    [
      'ok',
      status({ bus: { connected: false, unackedFrames: 0, publishedFrames: 1, resentFrames: 0 } }),
      0,
      /disconnected from the bus/,
    ],
  ] as [string, NodeStatus | string, number, RegExp | null][])('%s', (health, found, exitCode, problem) => {
    const seen = report({ a: found });
    expect(seen.nodes[0]?.health).toBe(health);
    expect(seen.exitCode).toBe(exitCode);
    const said = seen.problems.map(({ text }) => text).join('\n');
    if (problem) expect(said).toMatch(problem);
    else expect(said).toBe('');
  });

  it('siem-relay - one that stopped more than an hour ago is reported; one that never ran is not', () => {
    const of = (messages: number, agoMs: number, siemRelay: ServiceStatus['siemRelay'] = null) => {
      const info = {
        config: { name: 'KV_bailiff_siem' },
        state: { messages, last_ts: iso(agoMs), first_ts: iso(agoMs) },
      };
      const streams = new Map([['KV_bailiff_siem', { ...info, ts: iso(0) }]]) as unknown as ClusterFacts['streams'];
      const { problems, exitCode } = report({ a: status() }, { streams, services: { ...SERVICES, siemRelay } });
      expect(exitCode).toBe(0);
      return problems.map(({ node, text }) => `${node}: ${text}`);
    };
    expect(of(3, 25_000)).toEqual([expect.stringMatching(/^siem-relay: 0 running .* 25s old: .* no events$/)]);
    expect(of(3, 25_000, { ...HEALTH, outputs: [] })).toEqual([]);
    expect(of(0, 25_000)).toEqual([]);
  });

  it('missing - a node of the cluster without a collector is shouted', () => {
    const seen = report({ a: status() }, { expected: ['a', 'b'] });
    expect(seen.nodes.map(({ node, health }) => [node, health])).toEqual([
      ['a', 'ok'],
      ['b', 'missing'],
    ]);
    expect(seen.exitCode).toBe(7);
    expect(report({ a: status() }, { expected: null }).exitCode).toBe(0);
  });

  it('no nodes - a cluster in which no node ever reported is not healthy', () => {
    expect(report({}, { expected: null })).toMatchObject({
      exitCode: 7,
      problems: [{ node: 'cluster' }, { node: 'bus' }],
    });
  });

  it('order - unreachable nodes before uncovered interfaces', () => {
    const uncovered = status({ hook: 'none' });
    expect(report({ a: uncovered, b: status({ snapshotRefused: 'x' }) }).exitCode).toBe(3);
    expect(report({ a: uncovered, b: status({ updatedAt: iso(90_000) }) }).exitCode).toBe(7);
  });
});

describe('a node that is disarmed', () => {
  it.each([
    ['another node', 'node b', true],
    ['a namespace', 'namespace shop', true],
    ['the node', 'node a', false],
    ['all', 'the whole cluster', false],
  ])('beside a stored disarm of %s - named, unless that explains it', (_, scope, isNamed) => {
    const disarm = { scope, untilMs: NOW + 600_000, by: 'me', reason: '' };
    const { problems } = report({ a: status({ disarmedUntil: iso(-600_000) }) }, { disarms: [disarm] });
    expect(problems.some(({ text }) => text === 'is disarmed for 10m')).toBe(isNamed);
  });

  it.each([
    ['no stored disarm', '', 10, 'is disarmed in namespace shop for 10m'],
    ['one of another namespace', 'namespace bank', 10, 'is disarmed in namespace shop for 10m'],
    ['one of the namespace', 'namespace shop', 10, ''],
    ['one of the node', 'node a', 10, ''],
  ])('in a namespace, with %s - named, unless that explains it', (_, scope, exitCode, text) => {
    const disarms = scope === '' ? [] : [{ scope, untilMs: NOW + 600_000, by: 'me', reason: '' }];
    const held = status({ disarmedNamespaces: [{ namespace: 'shop', disarmedUntil: iso(-600_000) }] });
    const seen = report({ a: held }, { disarms });
    expect(seen.exitCode).toBe(exitCode);
    expect(seen.problems.flatMap((one) => (one.node === 'a' ? [one.text] : []))).toEqual(text === '' ? [] : [text]);
    expect(seen.nodes).toMatchObject([{ health: text === '' ? 'not-enforced' : 'partial', notEnforced: 2 }]);
    const omitting = { interfacesOmitted: { guarded: 3, partial: 0, 'not-covered': 0, 'not-applicable': 0 } };
    expect(report({ a: { ...held, ...omitting } }, { disarms }).nodes).toMatchObject([{ guarded: 5, notEnforced: 2 }]);
    const whole = status({ disarmedUntil: iso(-600_000), ...omitting });
    expect(report({ a: whole }, { disarms }).nodes).toMatchObject([{ guarded: 5, notEnforced: 5 }]);
    const other = status({ disarmedNamespaces: [{ namespace: 'bank', disarmedUntil: iso(-600_000) }] });
    expect(report({ a: other }, { disarms }).nodes).toMatchObject([{ notEnforced: 0 }]);
    // After its end.
    const ended = status({ disarmedNamespaces: [{ namespace: 'shop', disarmedUntil: iso(1) }] });
    expect(report({ a: ended })).toMatchObject({ exitCode: 0, problems: [] });
  });

  it('initial mode audit, without a policy of the cluster - no node is ok, and the way to enforce is named', () => {
    const seen = report({ a: status({ initialMode: 'audit' }), b: status({ initialMode: 'audit' }) });
    expect(seen).toMatchObject({ exitCode: 10, nodes: [{ health: 'not-enforced', notEnforced: 2 }, {}] });
    expect(problemLines(seen.problems, { width: 0 })).toEqual([
      '! a, b: has no spoof.cluster._.default, and its initialMode is audit: forged packets are counted, and pass',
      "  → bailiff doctor --would-drop --since 7d, then bailiff config set spoof.cluster._.default 'modes={}'",
    ]);
  });

  it('a value that this command alone refuses - is not said to be refused by the cluster', () => {
    const key = 'spoof.cluster._.default';
    const value = { key, json: '{"modes":{"newer":"audit"}}', refused: 'why', revision: 1, storedMs: 0 };
    const { problems, exitCode } = report({ a: status() }, { config: [{ ...value, refusedHere: true }] });
    expect(exitCode).toBe(10);
    expect(problems.map(({ node, text }) => `${node} ${text}`)).toEqual([
      `this command is of another version than the cluster, and cannot read ${key}, which the cluster accepts: what is weaker there is not listed here`,
    ]);
    expect(report({ a: status() }, { config: [value] })).toMatchObject({
      exitCode: 6,
      problems: [{ node: 'all readers' }],
    });
  });

  it('in more namespaces than its status names - says so', () => {
    const { problems, exitCode } = report({ a: status({ disarmedNamespaces: [], disarmedNamespacesOmitted: 3 }) });
    expect(exitCode).toBe(10);
    expect(problems.map(({ text }) => text)).toEqual(['is disarmed in 3 further namespaces, omitted from its status']);
  });
});

describe('render', () => {
  const plain = { width: 0 };

  it('table - one line a node', () => {
    const seen = report(
      { 'node-a': status(), b: status({ disarmedUntil: iso(-600_000) }) },
      { expected: ['node-a', 'b', 'c'] },
    );
    expect(nodeTable(seen, NOW, plain)).toEqual([
      'NODE    STATE         GUARDED  HOOK  MAPS  LOST  UNACKED  REPORTED  VERSION',
      'b       disarmed 10m      2/2  tcx     1%     0        0        3s  0.1.0',
      'c       missing             -  -        -     -        -     never',
      'node-a  ok                2/2  tcx     1%     0        0        3s  0.1.0',
    ]);
    expect(summaryLine(seen)).toBe('2 of 3 nodes report, 4 of 4 interfaces guarded, 2 of them not fully enforced');
  });

  it('problems - shouts first, a remedy once for all that need it, and a bound', () => {
    const silent = status({ updatedAt: iso(90_000) });
    const lines = problemLines(
      report({ a: status({ losses: { ringFull: 1, noCounter: 0, noIface: 0 } }), b: silent, c: silent }).problems,
      plain,
    );
    expect(lines.map((line) => line.slice(0, 12))).toEqual(['✗ b, c: sile', '  → check it', '! a: 1 sampl']);
    const nodes = Array.from({ length: 40 }, (_, index) => index);
    const many = Object.fromEntries(
      nodes.map((index) => [`n${index}`, status({ updatedAt: iso(90_000 + index * 60_000) })]),
    );
    expect(problemLines(report(many).problems, plain).at(-1)).toBe('  … and 16 more: --json has all');
  });

  it('problems - the bus before services before nodes', () => {
    const correlator = { ...SERVICES.correlator, running: 0, ready: 0 };
    const { problems } = report(
      { a: status({ updatedAt: iso(90_000) }) },
      { services: { ...SERVICES, correlator }, streams: new Map([['VERDICTS', null]]) },
    );
    const lines = problemLines(problems, plain).filter((line) => line.startsWith('✗'));
    expect(lines.map((line) => line.split(':')[0])).toEqual(['✗ bus', '✗ correlator', '✗ a']);
  });

  it('problems - one node does not displace those of others by many of its own', () => {
    const bare = (count: number) =>
      Array.from({ length: count }, (_, at) => iface(`p${at}`, { coverage: 'not-covered', reason: `reason ${at}` }));
    const shownOf = (count: number) => {
      const silent = status({ updatedAt: iso(90_000) });
      const lossy = status({ losses: { ringFull: 1, noCounter: 0, noIface: 0 } });
      const { problems } = report({ a: status({ interfaces: bare(count) }), b: silent, c: lossy });
      return problemLines(problems, plain).filter((line) => !line.startsWith('  →'));
    };
    const many = shownOf(300);
    expect(many).toHaveLength(25);
    expect(many.slice(-3)).toEqual([
      expect.stringMatching(/^✗ b: silent/),
      expect.stringMatching(/^! c: 1 sample/),
      '  … and 278 more: --json has all',
    ]);
    expect(shownOf(9).filter((line) => line.startsWith('✗ a:'))).toHaveLength(9);
  });

  it('problems - equal ones of several nodes are one line; different ones are not', () => {
    const silent = status({ updatedAt: iso(90_000) });
    const other = status({ hook: 'none' });
    const { problems } = report({ a: silent, b: silent, c: silent, d: silent, e: silent, f: other });
    const lines = problemLines(problems, plain).filter((line) => line.startsWith('✗'));
    expect(lines).toEqual([
      expect.stringMatching(/^✗ a, b, c and 2 more: silent for /),
      expect.stringMatching(/^✗ f: nothing is attached/),
    ]);
  });

  it('details - interfaces, features with their remedy, maps', () => {
    const one = status({ interfaces: [iface('web', { quarantinedUntil: iso(-60_000), packetsBeforeGuard: 4 })] });
    const text = nodeDetails(one, NOW, plain).join('\n');
    expect(text).toMatch(/shop\/web .*guarded .*quarantined until 12:01:00.000 +10\.0\.0\.1 +4 /);
    expect(text).toMatch(/! bpf-lsm: "EPERM": the node proposes: "a kernel that permits it"/);
    expect(text).toMatch(/ifaces +2 +512/);
  });

  it('streams and disarms', () => {
    const streams = [
      { name: 'VIOLATIONS', messages: 3, bytes: 1, newestMs: NOW - 240_000 },
      { name: 'VERDICTS', messages: 0, bytes: 0, newestMs: null },
      { name: 'RESPONSES', messages: null, bytes: 0, newestMs: null },
    ];
    expect(streamLine(streams, NOW)).toBe('on the bus: VIOLATIONS 3 (newest 4m ago), VERDICTS 0, RESPONSES is missing');
    const until = new Date(NOW + 600_000).toISOString();
    const value = JSON.stringify({ until, duration: '10m', reason: 'incident', by: 'me' });
    const disarm = disarmOf('disarm.namespace.shop.all', value, NOW);
    expect(disarmLines(disarm ? [disarm] : [], NOW, plain)).toEqual([
      '! DISARMED: namespace shop for 10m by me: incident',
    ]);
    expect(disarmOf('disarm.namespace.shop.all', value, NOW + 600_000)).toBeNull();
    expect(disarmOf('disarm.namespace.shop.all', '{}', NOW)).toBeNull();
    expect(disarmOf('nonsense', value, NOW)).toBeNull();
  });

  it('an invalid status names the wrong field', () => {
    expect(parseJson('{', nodeStatus)).toBe('not JSON');
    expect(parseJson('{}', nodeStatus)).toMatch(/^nodeName: /);
    expect(parseJson(JSON.stringify(status()), nodeStatus)).toMatchObject({ nodeName: 'n' });
  });
});

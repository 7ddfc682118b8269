import { Tally } from '@bailiff/insight';
import { type ClusterFacts, type ClusterReport, fillProblems } from '@bailiff/response';
import { sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { kubeconfigOf } from '../../shared/session.ts';
import { type Audited, adviceOf } from '../../shared/would-drop.ts';
import { runCli } from '../../testing.ts';
import { clusterFindings, problemFindings, serverFinding } from './bus-rules.ts';
import { isHere } from './canary.ts';
import { exitCodeOf, fail, groupLines, ok, skip, verdictLine, warn } from './finding.ts';
import {
  capabilitiesIn,
  mountFindings,
  mountsIn,
  pinFinding,
  privilegeFinding,
  probeFindings,
  unprobed,
} from './machine-rules.ts';
import { infoFindings } from './redis.ts';

describe('canary', () => {
  const eth0 = {
    family: 'IPv4' as const,
    internal: false,
    address: '10.1.0.11',
    netmask: '255.255.0.0',
    cidr: null,
    mac: '02:00:00:00:00:11',
  };
  const here = { lo: [{ ...eth0, internal: true, address: '127.0.0.1' }], eth0: [eth0] };
  it.each([
    [['10.1.0.11', 'fd00::11'], true],
    [['10.1.0.1'], false],
    [[], false],
  ])('a pod with %j - runs here: %s', (addresses, expected) => {
    expect(isHere(here, addresses)).toBe(expected);
  });
});

describe('machine', () => {
  it.each([
    ['000001ffffffffff', 'ok'],
    ['000000c000001000', 'ok'],
    ['0000008000001000', 'fail'],
    ['0000000000201000', 'ok'],
    ['0000008000000000', 'fail'],
    ['0000000000200000', 'fail'],
    ['0000000000000000', 'fail'],
  ])('capabilities %s: %s', (bits, state) => {
    const finding = privilegeFinding(capabilitiesIn(`Name:\tnode\nCapEff:\t${bits}\nCapBnd:\tffff\n`));
    expect(finding.state).toBe(state);
    if (state === 'fail') expect(finding.exitCode).toBe(4);
  });

  it('mounts - a missing mount has a remedy', () => {
    const all = 'bpf /sys/fs/bpf bpf rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n';
    expect(mountFindings(mountsIn(all)).map(({ state }) => state)).toEqual(['ok', 'ok']);
    expect(mountFindings(mountsIn('x / ext4 rw 0 0')).map(({ state }) => state)).toEqual(['fail', 'warn']);
    expect(mountFindings([])[0]?.remedy).toMatch(/^as root: mount -t bpf bpf \/sys\/fs\/bpf; .*fstab/);
    // A hybrid layout: cgroup v2 is mounted, but not where the collector looks.
    const hybrid =
      'bpf /sys/fs/bpf bpf rw 0 0\ntmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
    expect(mountFindings(mountsIn(hybrid))[1]).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(/^mounted at \/sys\/fs\/cgroup\/unified, not at \/sys\/fs\/cgroup/),
      remedy: expect.stringContaining('BAILIFF_COLLECTOR_CGROUP_ROOT=/sys/fs/cgroup/unified'),
    });
    const elsewhere = mountFindings(mountsIn('bpf /run/node/bpf bpf rw 0 0'))[0];
    expect(elsewhere).toMatchObject({ state: 'warn', exitCode: 0, detail: expect.stringContaining('/run/node/bpf') });
  });

  it.each([
    ['attached programs', [3, 3, 12], 'ok', /^2 interfaces, by pins under \/pins/],
    [
      'an empty directory, left by a collector that could not load',
      [],
      'skip',
      /^no attachment is pinned under \/pins/,
    ],
    ['a directory of root', 'hidden', 'skip', /^\/pins is not readable/],
  ] as const)('guarded - %s', (_, attached, state, detail) => {
    expect(pinFinding('/pins', attached)).toMatchObject({ state, detail: expect.stringMatching(detail) });
  });

  it('probes - a missing optional feature is a warning, a missing required one a failure', () => {
    const probe = (feature: string, errnoName: string | null) => ({
      feature,
      available: errnoName === null,
      errnoName,
      hint: null,
    });
    const findings = probeFindings([
      probe('map:hash', null),
      probe('tcx', 'EINVAL'),
      probe('bpf-lsm', 'EPERM'),
      probe('map:ringBuffer', 'EINVAL'),
      probe('program:schedCls', 'EPERM'),
    ]);
    expect(findings.map(({ name, state, exitCode }) => [name, state, exitCode])).toEqual([
      ['kernel features', 'ok', 0],
      ['tcx', 'warn', 0],
      ['bpf-lsm', 'warn', 0],
      ['map:ringBuffer', 'fail', 3],
      ['program:schedCls', 'fail', 4],
    ]);
  });
});

describe('machine, without privileges', () => {
  it('kernel features - are not probed, because the result would be wrong', () => {
    expect(unprobed()).toMatchObject({ state: 'skip', remedy: 'run it as root' });
    const denied = { feature: 'bpf-lsm', available: false, errnoName: 'EPERM', hint: 'look at lsm=' };
    expect(probeFindings([denied])[0]?.remedy).toBe('look at lsm=');
  });
});

describe('bus and Redis', () => {
  const OLD = /lacks security fixes/;
  const TRACING = /message tracing \(CVE-2026-33249\)/;
  it.each([
    ['2.9.25', 'fail', /too old/],
    ['2.10.0', 'warn', OLD],
    ['2.10.27', 'warn', OLD],
    ['2.11.0', 'warn', TRACING],
    ['2.11.14', 'warn', TRACING],
    ['2.11.15', 'warn', OLD],
    ['2.12.0', 'warn', TRACING],
    ['2.12.5', 'warn', TRACING],
    ['2.12.6', 'warn', OLD],
    ['2.14.2', 'warn', OLD],
    ['2.14.3', 'ok', /^2\.14\.3$/],
    ['3.0.0', 'ok', /^3\.0\.0$/],
    ['', 'fail', /too old/],
  ] as const)('nats-server %s: %s', (version, state, text) => {
    const finding = serverFinding(version);
    expect([finding.state, finding.detail]).toEqual([state, expect.stringMatching(text)]);
  });

  it('nats-server - in a cluster it warns of message tracing and of stopped streams', () => {
    expect(serverFinding('2.15.1', true)).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(/in a cluster, lets .* stop a stream for good by one message, and store texts/),
    });
  });

  it.each([
    ['refuses new messages, filled to four fifths', { bytes: 80 }, 'ok', ''],
    ['refuses new messages, above four fifths', { bytes: 81 }, 'warn', 'raise its max_bytes'],
    ['refuses new messages, full', { bytes: 100 }, 'fail', 'raise its max_bytes'],
    ['refuses new messages, the next one does not fit', { bytes: 99.6 }, 'fail', 'raise its max_bytes'],
    ['refuses new messages, full by number', { bytes: 10, messages: 7, maxMessages: 7 }, 'fail', 'raise its max_msgs'],
    ['refuses new messages, no limit', { bytes: 99, maxBytes: -1, messages: 9 }, 'ok', ''],
    ['deletes the oldest, full, as VIOLATIONS', { bytes: 100, refusesNew: false }, 'ok', ''],
    [
      'deletes the oldest before their age limit',
      { bytes: 99, refusesNew: false, trimmed: { keptMs: 18_000_000, maxAgeMs: 777_600_000 } },
      'warn',
      'find the namespace that fills it, and raise its max_bytes',
    ],
  ])('streams - %s', (_name, more, state, remedy) => {
    const none = { name: 'VERDICTS', messages: 0, maxMessages: -1, maxBytes: 100, refusesNew: true, trimmed: null };
    const stream = { ...none, ...more };
    // If the stream is full, it determines the exit code.
    const [problem] = fillProblems([stream]);
    const [finding] = problemFindings(problem ? [problem] : []);
    expect([finding?.state ?? 'ok', finding?.remedy.split(';')[0] ?? '']).toEqual([state, remedy]);
    expect([problem?.severity, problem?.exitCode]).toEqual(
      { ok: [undefined, undefined], warn: ['warn', 0], fail: ['shout', 7] }[state],
    );
    if (state === 'fail') expect(problem?.text).toBe('full, new messages are refused: no more verdicts are published');
  });

  it('Redis - version and eviction policy', () => {
    const states = (info: string) => infoFindings(info).map(({ state }) => state);
    expect(states('redis_version:8.0.2\r\nmaxmemory_policy:noeviction\r\n')).toEqual(['ok']);
    expect(states('redis_version:7.0.0\r\nmaxmemory_policy:allkeys-lru\r\n')).toEqual(['ok', 'warn']);
    expect(states('redis_version:5.0.0\r\n')).toEqual(['fail']);
    expect(states('redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n')).toEqual(['ok']);
  });

  it('kubeconfig - as kubectl would look for it', () => {
    expect(kubeconfigOf('/named', { env: { KUBECONFIG: '/env' }, home: '/none' })).toBe('/named');
    expect(kubeconfigOf(undefined, { env: { KUBECONFIG: '/env' }, home: '/none' })).toBe('/env');
    expect(kubeconfigOf(undefined, { env: {}, home: '/none' })).toBeNull();
  });
});

describe('findings', () => {
  const groups = [
    {
      title: 'T',
      findings: [ok('a', 'fine'), warn('b', 'less', 'do b'), fail('c', 'none', 'do c', 7), skip('d', 'no')],
    },
  ];

  it('exit code - a failure of the machine takes precedence', () => {
    expect(exitCodeOf(groups)).toBe(7);
    const worse = [...groups, { title: 'U', findings: [fail('e', '', '', 3), fail('f', '', '', 4)] }];
    expect(exitCodeOf(worse)).toBe(4);
    expect(exitCodeOf([{ title: 'V', findings: [ok('a'), warn('b', '')] }])).toBe(0);
  });

  it('text - sign, finding and remedy, wrapped to the terminal', () => {
    expect(groupLines(groups[0] as never, { width: 0 })).toEqual([
      'T',
      '  ✓ a: fine',
      '  ! b: less',
      '    → do b',
      '  ✗ c: none',
      '    → do c',
      '  - d: no',
    ]);
    expect(verdictLine(groups)).toBe('1 ok, 1 warning, 1 failed, 1 not checked; exit code 7: c');
    expect(verdictLine([{ title: 'T', findings: [ok('a')] }])).toBe('1 ok');
    const long = { title: 'T', findings: [fail('name', 'word '.repeat(30).trim(), 'more '.repeat(30).trim(), 7)] };
    for (const line of groupLines(long, { width: 40 })) expect(line.length).toBeLessThanOrEqual(40);
  });
});

describe('would drop', () => {
  it('advice - how to enforce each vector, and how to spare a namespace', () => {
    const tally = new Tally<Audited>(({ vector }) => vector);
    const violation = sampleViolation();
    const key = { pod: violation.pod, interfaceName: 'veth0', nodeName: 'n' };
    const at = (sequence: number) => ({ sequence, nodeName: 'n' });
    tally.add({ ...key, vector: 'tunnel-other' }, violation, at(1));
    tally.add(
      { ...key, pod: null, vector: 'unknown-interface' },
      sampleViolation({ counterEpoch: 'x', pod: null }),
      at(2),
    );
    expect(adviceOf(tally.groups())).toEqual([
      'To drop these packets:',
      '  bailiff config set spoof.cluster._.default modes.tunnel-other=enforce',
      'To drop packets of unknown interfaces:',
      '  bailiff config set spoof.cluster._.default unknown=enforce',
      'To exempt default:',
      '  bailiff config set spoof.namespace.default.default modes.tunnel-other=audit',
    ]);
    expect(adviceOf([])).toEqual([]);
    const disarmed = new Tally<Audited>(({ vector }) => vector);
    disarmed.add({ ...key, vector: 'ipv4-source' }, violation, at(1));
    expect(adviceOf(disarmed.groups())).toEqual([
      'ipv4-source is dropped by default; to find the exceptions:',
      '  bailiff config list --kind spoof; bailiff disarm',
    ]);
    // A node chooses the vector.
    const foreign = new Tally<Audited>(({ vector }) => vector);
    foreign.add({ ...key, vector: 'run: x' }, violation, at(1));
    expect(adviceOf(foreign.groups())[0]).toMatch(/^"run: x" is dropped /);
  });
});

it('a service that is not ready for a moment - is no ✓, and has a remedy; control: one that is ready', () => {
  const lineOf = (ready: number, notReady: string) => {
    const health = { running: 1, ready, notReady, notReadyForMs: 3_000, silent: 0, waiting: null, behindMs: 0 };
    const services = { correlator: health, responder: { ...health, due: 0 }, ipamSync: { ...health, leading: 1 } };
    const optional = { siemRelay: null, busAuth: null, evidenceLog: null };
    const facts = { services: { ...services, ...optional }, streams: new Map(), config: [], certificates: [] };
    const found = clusterFindings(
      { ...facts, instances: [] } as unknown as ClusterFacts,
      {
        nodes: [],
        problems: [],
      } as unknown as ClusterReport,
    );
    return found.find(({ name }) => name === 'responder');
  };
  expect(lineOf(1, '')).toMatchObject({ state: 'ok', remedy: '' });
  expect(lineOf(0, 'redis: Redis is not reachable')).toMatchObject({
    state: 'warn',
    detail: expect.stringContaining('not ready (redis: Redis is not reachable)'),
    remedy: expect.stringContaining('bailiff doctor --only redis --redis-url'),
  });
});

describe('a part without an address', () => {
  it.each(['bus', 'redis', 'kubernetes'])('%s - asked for by --only is no success', async (part) => {
    const { exitCode, stdout } = await runCli(['doctor', '--only', part]);
    expect([exitCode, stdout]).toEqual([
      2,
      expect.stringMatching(/✗ not checked: [\s\S]*→ [\s\S]*1 failed; exit code 2/),
    ]);
  });

  it('not asked for - is left out (the control)', async () => {
    const { stdout } = await runCli(['doctor']);
    for (const part of ['Bus', 'Redis', 'Kubernetes'])
      expect(stdout).toMatch(new RegExp(`${part}\\n  - not checked: `));
  });
});

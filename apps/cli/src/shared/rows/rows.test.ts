import { CounterHulls } from '@bailiff/correlation';
import {
  claimOf,
  destinationOf,
  type EventFilter,
  type EventRow,
  eventJson,
  eventRows,
  matchesResponse,
  matchesVerdict,
  type NodeFrame,
  operationText,
  outcomeOf,
  programText,
  responseJson,
  responseText,
  verdictJson,
} from '@bailiff/insight';
import type { Violation, ViolationFrame } from '@bailiff/schemas';
import {
  sampleFrame,
  sampleLsmViolation,
  sampleOperation,
  sampleResponse,
  sampleVerdict,
  sampleViolation,
} from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { parsePod } from '../arguments.ts';
import { eventCells, eventColumns } from './event-cells.ts';
import { responseCells } from './response-cells.ts';
import { verdictCells } from './verdict-cells.ts';

const NOW_MS = 1_790_000_000_500;
const STORED = { sequence: 9, timestampMicros: 1_790_000_000_200_000 };
const trusted = (frame: ViolationFrame): NodeFrame => ({
  node: frame.nodeName,
  frame,
  refused: [],
  refusedWhole: null,
});
const rows = (filter: EventFilter = {}) => eventRows(trusted(sampleFrame()), STORED, filter, new CounterHulls());

describe('events', () => {
  it('rows - one a violation, and one for each interface that sent before it was guarded', () => {
    expect(rows().map((row) => row.kind)).toEqual(['spoof', 'spoof', 'gap']);
    const quiet = sampleFrame();
    quiet.coverage[0] = { ...(quiet.coverage[0] as (typeof quiet.coverage)[0]), packetsBeforeGuard: 0 };
    expect(eventRows(trusted(quiet), STORED, {}, new CounterHulls())).toHaveLength(2);
  });

  it.each([
    [{ pod: parsePod('default/attacker-0', '--pod') }, ['ipv4-source']],
    [{ pod: parsePod('other', '--pod') }, []],
    [{ namespace: 'default' }, ['ipv4-source']],
    [{ vector: 'arp-sender' }, ['arp-sender']],
    [{ action: 'audit' }, []],
    [{ node: 'node-1.example', kind: 'spoof' }, ['ipv4-source', 'arp-sender']],
    [{ node: 'node-2' }, []],
    [{ kind: 'lsm' }, []],
    [{ kind: 'gap' }, ['gap']],
  ] as [EventFilter, string[]][])('filter - %o', (filter, expected) => {
    expect(rows(filter).map((row) => (row.kind === 'gap' ? 'gap' : row.violation.vector))).toEqual(expected);
  });

  it.each([
    // Not decided yet: an operator sees this right after deleting a pod.
    ['unlisted', 'waits'],
    ['foreign-pod', 'refused'],
  ])('a violation that is not counted, because %s - %s', (reason, action) => {
    const frame = { ...sampleFrame(), violations: [sampleViolation()], coverage: [] };
    const refused = { ...trusted(frame), refused: [{ reason, detail: '' }] };
    const cells = eventRows(refused, STORED, {}, new CounterHulls()).map((row) => eventCells(row, NOW_MS));
    expect(cells.map((row) => [row[3], row[4]])).toEqual([[expect.objectContaining({ text: action }), '-']]);
  });

  it('packets - rows add up to the truth, also if an increment is in two frames', () => {
    const hulls = new CounterHulls();
    const shown = [
      { cumulativePackets: 100, count: 1, suppressed: 99 },
      // Its acknowledgement was lost, so the next row contains it; and one frame comes twice.
      { cumulativePackets: 250, count: 1, suppressed: 249 },
      { cumulativePackets: 250, count: 1, suppressed: 249 },
      { cumulativePackets: 300, count: 1, suppressed: 49 },
    ].map((part) => {
      const frame = { ...sampleFrame(), violations: [sampleViolation(part)], coverage: [] };
      return eventRows(trusted(frame), STORED, {}, hulls).map((row) => eventCells(row, NOW_MS)[4]);
    });
    expect(shown.flat()).toEqual(['100', '150', '0', '50']);
  });

  it('filter - a runtime policy by its name, or one of its rules', () => {
    const { vector } = sampleLsmViolation();
    const [policy = ''] = vector.split('/');
    const frame = { ...sampleFrame(), violations: [sampleViolation(), sampleLsmViolation()] };
    const found = (wanted: string) => eventRows(trusted(frame), STORED, { vector: wanted }, new CounterHulls()).length;
    expect([vector, policy, policy.slice(0, -1), `${policy}/other`].map(found)).toEqual([1, 1, 0, 0]);
  });

  it('claims - the address, the MAC where that is judged, or what was found in words', () => {
    const { sample } = sampleViolation();
    const of = (part: Partial<Violation>) => claimOf(sampleViolation(part));
    expect(of({})).toBe('192.0.2.7');
    expect(of({ vector: 'source-mac' })).toBe('02:00:00:00:00:01');
    expect(of({ vector: 'arp-sender', sample: sample && { ...sample, claimedMac: '02:ff:00:00:00:00' } })).toBe(
      '192.0.2.7 at 02:ff:00:00:00:00',
    );
    expect(of({ sample: null, detail: 'moved from ns 4' })).toBe('moved from ns 4');
    expect(of({ sample: null })).toBe('not sampled');
    expect(of({ sample: null, final: true })).toBe('not sampled');
    expect(of({ sample: null, final: true, count: 0, suppressed: 0 })).toBe('final count');
  });

  it('destination - with its port and protocol by name', () => {
    const { sample } = sampleViolation();
    const to = (part: object) => destinationOf(sampleViolation({ sample: sample && { ...sample, ...part } }));
    expect(to({})).toBe('10.1.0.5:53 udp');
    expect(to({ destinationAddress: 'fd00::1', l4Protocol: 6, destinationPort: 443 })).toBe('[fd00::1]:443 tcp');
    expect(to({ destinationPort: 0, l4Protocol: 1 })).toBe('10.1.0.5 icmp');
    expect(to({ destinationPort: 0, l4Protocol: 200 })).toBe('10.1.0.5 proto 200');
  });

  it('cells and JSON - an unbound interface has its name, times are RFC 3339, bytes are hexadecimal', () => {
    const [known, unknown, gap] = rows() as [EventRow, EventRow, EventRow & { kind: 'gap' }];
    expect(eventCells(known, NOW_MS)[4]).toBe('321');
    expect(eventCells(unknown, NOW_MS)[1]).toBe('? (veth1a2b3c4d)');
    expect(eventCells(gap, NOW_MS)).toContain('guarded after 0.8 ms');
    const before = { ...gap, gap: { ...gap.gap, appearedToGuardedMicros: -1 } };
    expect(eventCells(before, NOW_MS)).toContain('existed before the collector');
    expect(eventCells(gap, NOW_MS)[1]).toBe('? (veth1a2b3c4d)');
    expect(eventCells({ ...gap, pod: 'shop/web-0' }, NOW_MS)[1]).toBe('shop/web-0');
    const json = JSON.parse(JSON.stringify(eventJson(known)));
    expect(json).toMatchObject({
      type: 'violation',
      sequence: 9,
      index: 0,
      nodeName: 'node-1.example',
      suppressed: 320,
    });
    expect(json.packets).toBe(321);
    expect(json.lastSeenAt).toBe('2026-09-21T14:13:20.123456Z');
    expect(json.sample.head).toMatch(/^000102/);
    expect(eventJson(gap)).toMatchObject({ type: 'guardGap', packetsBeforeGuard: 3 });
  });
});

describe('operations', () => {
  it.each([
    [{}, 'write /sys/fs/cgroup/release_agent'],
    [
      { operation: 'connect', subject: '', address: '169.254.169.254', port: 80, protocol: 6 },
      'connect 169.254.169.254:80 tcp',
    ],
    [{ operation: 'send', subject: '', address: 'fd00::1', port: 53, protocol: 17 }, 'send [fd00::1]:53 udp'],
    [{ operation: 'capability', subject: 'net_raw' }, 'capability net_raw'],
    [{ operation: 'mount', subject: 'bind /mnt' }, 'mount bind /mnt'],
  ])('%o', (part, text) => {
    expect(operationText(sampleOperation(part))).toBe(text);
  });

  it('program - with its arguments, user and what started it; of one without a path its short name', () => {
    expect(programText(sampleOperation())).toBe('/bin/sh -c id, uid 0, from /usr/bin/node');
    const bare = sampleOperation({ executable: '', arguments: [], parentExecutable: '', uid: 33 });
    expect(programText(bare)).toBe('sh, uid 33');
  });

  it('row - policy, rule, outcome, count, operation, process', () => {
    const frame = sampleFrame({
      violations: [
        sampleLsmViolation(),
        sampleLsmViolation({ counterEpoch: 'unsampled', operation: null }),
        sampleLsmViolation({
          counterEpoch: 'audited',
          action: 'audit',
          operation: sampleOperation({ outcome: 'audit' }),
        }),
        sampleLsmViolation({ counterEpoch: 'killed', operation: sampleOperation({ outcome: 'kill' }) }),
      ],
    });
    const [blocked, unsampled, audited, killed] = eventRows(
      trusted(frame),
      STORED,
      { kind: 'lsm' },
      new CounterHulls(),
    ).map((row) => eventCells(row, NOW_MS));
    expect(blocked?.slice(1, 7)).toEqual([
      'default/attacker-0',
      'escape-guard/release-agent',
      { text: 'block', style: 'red' },
      '321',
      'write /sys/fs/cgroup/release_agent',
      '/bin/sh -c id, uid 0, from /usr/bin/node',
    ]);
    expect(unsampled?.slice(3, 7)).toEqual([{ text: 'denied', style: 'red' }, '321', 'not sampled', '']);
    expect(audited?.[3]).toEqual({ text: 'audit', style: 'yellow' });
    expect(killed?.[3]).toEqual({ text: 'kill', style: 'red' });
    expect(eventColumns('lsm').map(({ title }) => title)).toContain('POLICY/RULE');
    expect(outcomeOf(sampleViolation())).toEqual({ text: 'drop', style: 'red' });
  });

  it('JSON - the operation with its time as RFC 3339', () => {
    const [row] = eventRows(
      trusted(sampleFrame({ violations: [sampleLsmViolation()] })),
      STORED,
      {},
      new CounterHulls(),
    );
    expect(eventJson(row as never)).toMatchObject({
      kind: 'lsm',
      policy: 'runtime.cluster._.escape-guard',
      operation: { operation: 'write', outcome: 'block', observedAt: '2026-09-21T14:13:20.123456Z' },
      sample: null,
    });
  });
});

describe('verdicts', () => {
  it('filter and words', () => {
    const verdict = sampleVerdict();
    expect(matchesVerdict(verdict, { level: 'medium', rule: 'repeated-spoofing', node: 'node-1.example' })).toBe(true);
    expect(matchesVerdict(verdict, { level: 'critical' })).toBe(false);
    expect(matchesVerdict(verdict, { rule: 'other' })).toBe(false);
    expect(matchesVerdict({ ...verdict, pod: null }, { namespace: 'default' })).toBe(false);
    const row = { sequence: 3, storedAtMicros: 1, verdict };
    expect(verdictCells(row, NOW_MS)).toContain('321/10');
    expect(verdictCells({ ...row, verdict: { ...verdict, pod: null } }, NOW_MS)[2]).toBe('node node-1.example');
    expect(verdictJson(row)).toMatchObject({ sequence: 3, triggeredAt: '2026-09-21T14:13:20.123456Z' });
  });
});

describe('responses', () => {
  it('filter and words', () => {
    const response = sampleResponse();
    expect(matchesResponse(response, { action: 'delete', phase: 'succeeded', verdict: '5f1d' })).toBe(true);
    expect(matchesResponse(response, { phase: 'started' })).toBe(false);
    expect(matchesResponse(response, { verdict: '5f1e' })).toBe(false);
    expect(matchesResponse(response, { pod: parsePod('default/attacker-0', '--pod') })).toBe(true);
    expect(responseJson({ sequence: 1, storedAtMicros: 1, response }).expiresAt).toBeNull();
    const ofNode = sampleResponse({ podName: '', podNamespace: '' });
    expect(responseCells({ sequence: 1, storedAtMicros: 1, response: ofNode }, NOW_MS)[1]).toBe('node node-1.example');
  });

  it('why - the reason, else the request, with its end', () => {
    const words = (part: object) => responseText(sampleResponse({ reason: '', ...part }), NOW_MS);
    expect(words({})).toBe('DELETE pods/attacker-0 → 200');
    expect(words({ reason: 'because' })).toBe('because');
    expect(words({ apiVerb: '', reasonCode: 'found-done' })).toBe('found-done');
    expect(words({ apiVerb: '', expiresAt: NOW_MS * 1000 })).toBe('until 14:13:20.500');
    expect(words({ apiPath: '/apis/networking.k8s.io/v1/namespaces/x/networkpolicies', apiVerb: 'POST' })).toBe(
      'POST networkpolicies → 200',
    );
  });
});

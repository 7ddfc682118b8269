// The rules that neither half has alone, as they are shipped: operations of a pod and packets of it, judged together.
import { describe, expect, it } from 'vitest';
import { RuleBook } from './rule-book.ts';
import {
  makeFrame,
  makeViolation,
  membersOf,
  operationSample,
  packetSample,
  podRef,
  recordingFold,
  SECOND,
  T0,
} from './testing.ts';

const web = podRef('web');
const other = podRef('db');

/** A violation of a runtime policy by one of its rules. */
function lsm(policy: string, rule: string, operation: Parameters<typeof operationSample>[0], more = {}) {
  const vector = `${policy}/${rule}`;
  const counterEpoch = `boot/lsm/9/${web.uid}/${vector}`;
  const found = { operation: operationSample(operation), sample: null, severity: 'high', pod: web };
  return makeViolation({ kind: 'lsm', vector, counterEpoch, ...found, ...more });
}

/** Judges violations a second apart, by the shipped rules; verdicts by rule. */
function judge(...violations: ReturnType<typeof makeViolation>[]) {
  const fold = recordingFold({ rules: new RuleBook(), members: membersOf({ 'node-a': [web, other] }) });
  violations.forEach((violation, index) => {
    const at = T0 + (index + 1) * SECOND;
    fold.send(at, makeFrame([{ ...violation, lastSeenAt: at }], { frameSequence: index + 1 }));
  });
  return new Map(fold.verdicts.map((verdict) => [verdict.rule, verdict]));
}

const RAW = { operation: 'socket', subject: 'inet/raw/udp', executable: '/usr/bin/python3', tgid: 4711 };
const rawSocket = lsm('no-raw-sockets', 'raw', RAW, { action: 'audit' });
const spoofed = makeViolation({ pod: web, action: 'drop' });

describe('fused rules', () => {
  it('raw socket, then spoofed packets - critical, and the verdict names the process', () => {
    const verdict = judge(rawSocket, spoofed).get('raw-socket-then-spoofing');
    expect(verdict).toMatchObject({
      level: 'critical',
      pod: { name: 'web' },
      vectors: ['ipv4-source', 'no-raw-sockets/raw'],
    });
    expect(verdict?.evidence[0]?.process).toMatchObject({
      executable: '/usr/bin/python3',
      tgid: 4711,
      operation: 'socket',
    });
    expect(verdict?.reason).toContain('by /usr/bin/python3 (pid 4711) in container app');
  });

  it('the maker of the socket on the packet itself is named as well', () => {
    const process = {
      madeAt: T0,
      tgid: 99,
      uid: 0,
      comm: 'nc',
      executable: '/bin/nc',
      cgroupId: '7',
      containerName: '',
    };
    const packet = makeViolation({ pod: web, sample: packetSample({ process }) });
    const verdict = judge(rawSocket, packet).get('raw-socket-then-spoofing');
    expect(verdict?.evidence.at(-1)?.process).toMatchObject({ executable: '/bin/nc', tgid: 99, operation: '' });
  });

  it.each([
    { name: 'the packets alone', violations: [spoofed] },
    { name: 'the socket alone', violations: [rawSocket] },
    { name: 'packets before the socket', violations: [spoofed, rawSocket] },
    { name: 'packets of another pod', violations: [rawSocket, makeViolation({ pod: other })] },
  ])('control - $name make no such verdict', ({ violations }) => {
    expect(judge(...violations).has('raw-socket-then-spoofing')).toBe(false);
  });

  const escaping = (rule: string, action: 'drop' | 'audit' = 'drop') =>
    lsm('escape-guard', rule, { operation: 'write' }, { action });
  it('blocked escape attempts - three distinct kinds are high, one kind again and again is not', () => {
    const three = judge(escaping('core-pattern'), escaping('release-agent'), escaping('mounts'));
    expect(three.get('escape-attempts')).toMatchObject({ level: 'high', observed: 3 });
    expect(judge(escaping('mounts'), escaping('mounts'), escaping('mounts')).has('escape-attempts')).toBe(false);
    const audited = ['core-pattern', 'release-agent', 'mounts'].map((rule) => escaping(rule, 'audit'));
    expect(judge(...audited).has('escape-attempts')).toBe(false);
  });

  it('drift, then a connection - high; the other way round is not', () => {
    const drift = lsm('immutable-image', 'new-programs', { operation: 'drift', subject: 'layer /tmp/x' });
    const connect = lsm('no-crypto-miners', 'pools', { operation: 'connect', address: '192.0.2.1', port: 3333 });
    expect(judge(drift, connect).get('drift-then-connect')).toMatchObject({ level: 'high' });
    expect(judge(connect, drift).has('drift-then-connect')).toBe(false);
  });

  it('one counter of several operations - each violation is judged by its own', () => {
    const posture = (operation: string) => lsm('base', 'network-posture', { operation });
    const drift = lsm('immutable-image', 'new-programs', { operation: 'drift' });
    expect(judge(drift, posture('bind')).has('drift-then-connect')).toBe(false);
    const grown = { ...posture('connect'), cumulativePackets: 2 };
    expect(judge(drift, posture('bind'), grown).has('drift-then-connect')).toBe(true);
  });
});

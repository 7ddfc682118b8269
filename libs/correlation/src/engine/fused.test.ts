// Built-in rules that combine operations and packets of a pod. The violations are those of the
// policies in policies/: a policy rule that is renamed there but not in the correlation rules fails
// here.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { BUILT_IN_RULES, type RuntimeRule } from '@bailiff/policy';
import { loadPolicyFile } from '@bailiff/runtime';
import { describe, expect, it } from 'vitest';
import {
  makeFrame,
  makeViolation,
  operationSample,
  packetSample,
  podInventoryOf,
  podRef,
  recordingEngine,
  SECOND,
  T0,
} from '../testing.ts';
import { RuleHistory } from './rule-history.ts';

const web = podRef('web');
const other = podRef('db');

const folder = path.resolve(import.meta.dirname, '../../../../policies');
const readyMade = new Map(
  readdirSync(folder)
    .flatMap((file) => loadPolicyFile(readFileSync(path.join(folder, file), 'utf8'), file))
    .map(({ name, policy }) => [name, policy]),
);
const rulesOf = (policy: string) => readyMade.get(policy)?.rules ?? [];

/** A violation of a runtime policy by one of its rules. */
function lsm(policy: string, rule: string, operation: Parameters<typeof operationSample>[0], more = {}) {
  const vector = `${policy}/${rule}`;
  const counterEpoch = `boot/lsm/9/${web.uid}/${vector}`;
  const found = { operation: operationSample(operation), sample: null, severity: 'high', pod: web };
  return makeViolation({ kind: 'lsm', vector, counterEpoch, ...found, ...more });
}

/** The kernel's name of a rule's first operation. */
function operationOf(rule: RuntimeRule): string {
  if (rule.socket) return 'socket';
  if (rule.capabilities) return 'capability';
  if (rule.drift) return 'drift';
  if (rule.network) return rule.network.operations?.[0] ?? 'connect';
  if (rule.execute) return rule.execute.operations?.[0] ?? 'execute';
  if (rule.mount) return 'mount';
  if (rule.kernel) return 'kernel';
  return rule.unix ? 'unix-connect' : 'write';
}

/** A violation of a policy in policies/. */
function seenBy(policy: string, rule: string, operation: Parameters<typeof operationSample>[0] = {}, more = {}) {
  const found = rulesOf(policy).find(({ name }) => name === rule);
  if (found === undefined) throw new Error(`policies/${policy}.yaml has no rule ${rule}`);
  return lsm(policy, rule, { operation: operationOf(found), ...operation }, more);
}

/** Verdicts of the built-in rules by name, for violations one second apart. */
function verdictsOf(...violations: ReturnType<typeof makeViolation>[]) {
  const engine = recordingEngine({ rules: new RuleHistory(), inventory: podInventoryOf({ 'node-a': [web, other] }) });
  violations.forEach((violation, index) => {
    const at = T0 + (index + 1) * SECOND;
    engine.send(at, makeFrame([{ ...violation, lastSeenAt: at }], { frameSequence: index + 1 }));
  });
  return new Map(engine.verdicts.map((verdict) => [verdict.rule, verdict]));
}

const RAW = { subject: 'inet/raw/udp', executable: '/usr/bin/python3', tgid: 4711 };
const rawSocket = seenBy('no-raw-sockets', 'raw', RAW, { action: 'audit' });
const spoofed = makeViolation({ pod: web, action: 'drop' });

describe('fused rules', () => {
  it('raw socket, then spoofed packets - critical, and the verdict names the process', () => {
    const verdict = verdictsOf(rawSocket, spoofed).get('raw-socket-then-spoofing');
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

  it('policies and rules that the built-in rules name - exist in policies/', () => {
    const selections = Object.values(BUILT_IN_RULES).flatMap((rule) =>
      rule.type === 'temporal' || rule.type === 'temporal_ordered'
        ? rule.rules.map(({ selection }) => selection)
        : [rule.selection],
    );
    const known = [...readyMade].flatMap(([name, { rules }]) => rules.map((rule) => [name, rule.name] as const));
    const named = selections.flatMap(({ policies = [], rules = [] }) => [...policies, ...rules]);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !known.some((pair) => pair.includes(name)))).toEqual([]);
  });

  it.each(rulesOf('no-raw-sockets').map(({ name }) => name))(
    'no-raw-sockets/%s, then spoofed packets - critical, audited or blocked',
    (rule) => {
      for (const action of ['audit', 'drop']) {
        const verdicts = verdictsOf(seenBy('no-raw-sockets', rule, {}, { action }), spoofed);
        expect(verdicts.get('raw-socket-then-spoofing')).toMatchObject({
          level: 'critical',
          pod: { name: 'web' },
          audited: action === 'audit',
        });
      }
    },
  );

  it('the verdict names the process that created the packet’s socket', () => {
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
    const verdict = verdictsOf(rawSocket, packet).get('raw-socket-then-spoofing');
    expect(verdict?.evidence.at(-1)?.process).toMatchObject({ executable: '/bin/nc', tgid: 99, operation: '' });
  });

  it.each([
    { name: 'the packets alone', violations: [spoofed] },
    { name: 'the socket alone', violations: [rawSocket] },
    { name: 'a socket that forges no packets', violations: [seenBy('af-alg', 'alg-socket'), spoofed] },
    { name: 'a capability of another kind', violations: [seenBy('escape-guard', 'namespaces'), spoofed] },
    { name: 'packets before the socket', violations: [spoofed, rawSocket] },
    { name: 'packets of another pod', violations: [rawSocket, makeViolation({ pod: other })] },
  ])('control - $name make no such verdict', ({ violations }) => {
    expect(verdictsOf(...violations).has('raw-socket-then-spoofing')).toBe(false);
  });

  const escaping = (rule: string, action: 'drop' | 'audit' = 'drop') => seenBy('escape-guard', rule, {}, { action });
  it('blocked escape attempts - three distinct kinds are high, one repeated kind is not', () => {
    const three = verdictsOf(escaping('core-pattern'), escaping('release-agent'), escaping('mounts'));
    expect(three.get('escape-attempts')).toMatchObject({ level: 'high', observed: 3 });
    expect(verdictsOf(escaping('mounts'), escaping('mounts'), escaping('mounts')).has('escape-attempts')).toBe(false);
    const audited = ['core-pattern', 'release-agent', 'mounts'].map((rule) => escaping(rule, 'audit'));
    expect(verdictsOf(...audited).has('escape-attempts')).toBe(false);
  });

  const drift = seenBy('immutable-image', 'drift', { subject: 'layer /tmp/x' });
  it.each([
    ['no-crypto-miners', 'pool-ports'],
    ['metadata-guard', 'metadata'],
  ])('drift, then a connection that %s/%s names - high; the other way round is not', (policy, rule) => {
    const connect = seenBy(policy, rule, { address: '192.0.2.1', port: 3333 });
    expect(verdictsOf(drift, connect).get('drift-then-connect')).toMatchObject({ level: 'high' });
    expect(verdictsOf(connect, drift).has('drift-then-connect')).toBe(false);
  });

  it('one counter of several operations - each violation is matched by its own operation', () => {
    const posture = (operation: string) => lsm('base', 'network-posture', { operation });
    expect(verdictsOf(drift, posture('bind')).has('drift-then-connect')).toBe(false);
    const grown = { ...posture('connect'), cumulativePackets: 2 };
    expect(verdictsOf(drift, posture('bind'), grown).has('drift-then-connect')).toBe(true);
  });
});

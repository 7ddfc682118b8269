// Which violations rules count: those that say something about the sender, and that were prevented.
import { correlationRule } from '@bailiff/policy';
import type { Violation } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import {
  makeFrame,
  makeViolation,
  packetSample,
  podInventoryOf,
  podRef,
  recordingEngine,
  ruleHistoryOf,
  SECOND,
  T0,
} from '../testing.ts';
import { RuleHistory } from './rule-history.ts';
import { selects } from './rules.ts';

const web = podRef('web');

/** Verdicts on violations one second apart, by the built-in rules or by these. */
function verdictsOf(violations: readonly Partial<Violation>[], rules = new RuleHistory()) {
  const engine = recordingEngine({ rules, inventory: podInventoryOf({ 'node-a': [web] }) });
  violations.forEach((more, index) => {
    const at = T0 + (index + 1) * SECOND;
    const violation = makeViolation({
      pod: web,
      ...more,
      cumulativePackets: index + 1,
      lastSeenAt: at,
      firstSeenAt: at,
    });
    engine.send(at, makeFrame([violation], { frameSequence: index + 1 }));
  });
  return engine.verdicts.map(({ rule, level, audited }) => ({ rule, level, audited }));
}

const from = (address: string, more: Partial<Violation> = {}): Partial<Violation> => ({
  ...more,
  sample: packetSample({ claimedAddress: address }),
});
const clients = Array.from({ length: 17 }, (_, index) => `10.7.0.${index + 1}`);
const spoofed = from('10.9.0.1');
/** Pings of 17 clients to a pod in quarantine. */
const honest = clients.map((client) => from(client, { vector: 'quarantine-egress' }));
/** What a pod in quarantine sends: a router solicitation of its kernel, a retry of its program. */
const own = Array.from({ length: 17 }, () => from('10.0.0.2', { vector: 'quarantine-ingress' }));

describe('rules count violations that are evidence against the sender', () => {
  it('traffic to a quarantined pod, and what it sends under its own identity: no verdict', () => {
    expect(verdictsOf([spoofed, ...honest, ...own])).toEqual([]);
  });

  it('control: rules that name these vectors raise the level to critical', () => {
    const vectors = ['ipv4-source', 'quarantine-ingress', 'quarantine-egress'];
    const any = { timespan: '60s', level: 'critical' };
    const rules = ruleHistoryOf({
      many: { ...any, type: 'value_count', field: 'claimedAddress', condition: { gte: 16 }, selection: { vectors } },
      breach: {
        ...any,
        type: 'temporal_ordered',
        rules: [
          { name: 'spoofed', selection: { vectors: ['ipv4-source'] } },
          { name: 'sends', selection: { vectors: ['quarantine-ingress'] } },
        ],
      },
    });
    const verdicts = verdictsOf([spoofed, ...honest, ...own], rules);
    expect(verdicts.map(({ rule, level }) => `${rule} ${level}`).sort()).toEqual(['breach critical', 'many critical']);
  });

  it.each([
    ['other-interface', []],
    ['ipv4-source', ['many-identities', 'repeated-spoofing']], // control
  ])('answers from addresses of other interfaces, dropped as %s: %j', (vector, rules) => {
    const answers = clients.map((address) => from(address, { vector, action: 'drop' }));
    expect(
      verdictsOf(answers)
        .map(({ rule }) => rule)
        .sort(),
    ).toEqual(rules);
  });

  it('a quarantined pod that goes on spoofing: critical', () => {
    expect(verdictsOf([spoofed, honest[0] as Partial<Violation>, spoofed])).toEqual([
      { rule: 'spoofed-then-quarantine-breach', level: 'critical', audited: false },
    ]);
  });

  it.each([
    'quarantine-ingress',
    'quarantine-egress',
    'provocation',
    'other-interface',
    'unknown-interface',
    'orphaned',
    'identity-mismatch',
    'interface-moved',
    'unjudged',
  ])('%s counts only by name', (vector) => {
    const facts = { ...makeViolation({ vector }), operation: '' };
    expect(selects({ kinds: ['spoof'], actions: ['drop', 'audit'] }, facts)).toBe(false);
    expect(selects({ vectors: [vector as 'orphaned'] }, facts)).toBe(true);
    expect(selects({ kinds: ['spoof'] }, { ...facts, vector: 'ipv4-source' })).toBe(true);
  });

  it('what user space finds has no mode: a rule that names it needs no action', () => {
    const facts = { ...makeViolation({ vector: 'interface-moved', action: 'audit' }), operation: '' };
    expect(selects({ vectors: ['interface-moved'] }, facts)).toBe(true);
  });
});

describe('rules count what was prevented', () => {
  // A VPN gateway and a NAT gateway, as the guides advise: their vectors are audited.
  const vpn = clients.map((client) => from(client, { vector: 'tunnel', action: 'audit' }));
  const nat = clients.map((client) => from(client, { vector: 'ipv4-source', action: 'audit' }));

  it('audited vectors: one low verdict, marked as audited', () => {
    expect(verdictsOf([...vpn, ...nat])).toEqual([{ rule: 'audited-spoofing', level: 'low', audited: true }]);
  });

  it('enforced vectors: high and critical, not marked', () => {
    expect(verdictsOf(nat.map((violation) => ({ ...violation, action: 'drop' })))).toEqual([
      { rule: 'repeated-spoofing', level: 'high', audited: false },
      { rule: 'many-identities', level: 'critical', audited: false },
    ]);
  });

  const many = {
    type: 'value_count',
    field: 'claimedAddress',
    level: 'critical',
    timespan: '60s',
    condition: { gte: 16 },
  } as const;
  it('a rule of an operator counts audited packets only if it says so; its verdict is marked', () => {
    expect(verdictsOf(nat, ruleHistoryOf({ many: { ...many, selection: { kinds: ['spoof'] } } }))).toEqual([]);
    const said = correlationRule.parse({ ...many, selection: { kinds: ['spoof'], actions: ['audit', 'drop'] } });
    expect(verdictsOf(nat, ruleHistoryOf({ many: said }))).toEqual([
      { rule: 'many', level: 'critical', audited: true },
    ]);
    expect(
      verdictsOf(
        nat.map((violation) => ({ ...violation, action: 'drop' })),
        ruleHistoryOf({ many: said }),
      ),
    ).toEqual([{ rule: 'many', level: 'critical', audited: false }]);
  });

  it('the mark ends when the audited packets have left the window', () => {
    const rule = { type: 'event_count', level: 'high', timespan: '5s', condition: { gte: 3 } };
    const rules = ruleHistoryOf({ rule: { ...rule, selection: { actions: ['audit', 'drop'] } } });
    const audited = { ...spoofed, action: 'audit' } as const;
    expect(verdictsOf([audited, audited, ...Array.from({ length: 7 }, () => spoofed)], rules)).toMatchObject([
      { audited: true },
    ]);
    expect(verdictsOf([audited], rules)).toEqual([]);
  });
});

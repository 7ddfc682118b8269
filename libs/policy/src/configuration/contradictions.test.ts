import { describe, expect, it } from 'vitest';
import { BUILT_IN_RULES } from '../documents/correlation.ts';
import { BUILT_IN_RESPONSE_POLICIES } from '../documents/response.ts';
import { ConfigError, parseConfigKey } from './keys.ts';
import { checkConfigWrite, parseConfigValue } from './values.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const RESPONSE = 'response.cluster._.mine';
const RULE = 'correlation.cluster._.mine';
const SPOOF = 'spoof.cluster._.default';
const DISARM = 'disarm.cluster._.all';

const deletes = { enabled: true, dryRun: false, steps: [{ action: 'label' }, { action: 'delete' }] };
const cordons = { ...deletes, steps: [{ action: 'cordon' }] };
const rule = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 5 } };
const values = { ...rule, type: 'value_count', condition: { gte: 2 } };
const stages = (...selections: object[]) => ({
  type: 'temporal',
  level: 'high',
  timespan: '60s',
  rules: selections.map((selection, index) => ({ name: `s${index}`, selection })),
});
const budget = (part: object, more: object = {}) => ({ guards: { budget: part, ...more } });

/** Invalid paths of a write. Empty if it is accepted. Readers accept all of them. */
function refused(key: string, value: object): readonly string[] {
  const parsed = parseConfigKey(key);
  expect(() => parseConfigValue(parsed, JSON.stringify(value))).not.toThrow();
  try {
    checkConfigWrite(parsed, JSON.stringify(value), NOW);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ code: 'CONFIG_CONTRADICTION' });
    const { fields, message } = error as ConfigError;
    for (const field of fields) expect(message).toContain(`${field}: `);
    return fields;
  }
}

describe('contradictions - a write is refused, with the field; the same without the contradiction is accepted', () => {
  it.each<[string, string, object, string[], object]>([
    [
      'a budget of 0 pods and a delete',
      RESPONSE,
      { ...deletes, ...budget({ maxPods: 0 }) },
      ['guards.budget.maxPods'],
      { ...deletes, ...budget({ maxPods: 1 }) },
    ],
    [
      'the same in a dry run, or disabled, is no contradiction',
      RESPONSE,
      { ...deletes, ...budget({ maxPods: 0, maxNodes: 0 }) },
      ['guards.budget.maxPods'],
      { ...deletes, dryRun: true, ...budget({ maxPods: 0 }) },
    ],
    [
      'a budget of 0 quarantines',
      RESPONSE,
      { ...deletes, steps: [{ action: 'quarantine' }], ...budget({ maxQuarantines: 0 }) },
      ['guards.budget.maxQuarantines'],
      { ...deletes, steps: [{ action: 'quarantine' }], ...budget({ maxPods: 0 }) },
    ],
    [
      'a budget of 0 pods that also limits quarantines',
      RESPONSE,
      { ...deletes, steps: [{ action: 'quarantine' }], ...budget({ maxPods: 0, exhausted: 'refuse' }) },
      ['guards.budget.maxPods'],
      { ...deletes, steps: [{ action: 'quarantine' }], ...budget({ maxPods: 1, exhausted: 'refuse' }) },
    ],
    [
      'a budget of 0 nodes and a cordon',
      RESPONSE,
      { ...cordons, ...budget({ maxNodes: 0 }) },
      ['guards.budget.maxNodes'],
      { ...cordons, ...budget({ maxPods: 0 }) },
    ],
    [
      'a budget of 0 pods per namespace',
      RESPONSE,
      { ...deletes, ...budget({ maxPodsPerNamespace: 0 }) },
      ['guards.budget.maxPodsPerNamespace'],
      { ...deletes, ...budget({ maxPodsPerNamespace: 1, maxPercent: 0 }, { minHealthyReplicas: 1 }) },
    ],
    [
      'only protected namespaces',
      RESPONSE,
      { ...deletes, dryRun: true, match: { namespaces: ['kube-system'] } },
      ['match.namespaces'],
      { ...deletes, match: { namespaces: ['kube-system', 'shop'] } },
    ],
    [
      'the same with observe only',
      RESPONSE,
      { steps: [{ action: 'label' }], match: { namespaces: ['kube-system'] } },
      ['match.namespaces'],
      { steps: [{ action: 'observe' }], match: { namespaces: ['kube-system'] } },
    ],
    [
      'a capture there',
      RESPONSE,
      { steps: [{ action: 'capture' }], match: { namespaces: ['kube-system'] } },
      ['match.namespaces'],
      { steps: [{ action: 'capture' }], match: { namespaces: ['shop'] } },
    ],
    [
      'packets by a field of operations',
      RULE,
      { ...rule, selection: { kinds: ['spoof'], operations: ['execute'] } },
      ['selection.operations'],
      { ...rule, selection: { operations: ['execute'] } },
    ],
    [
      'a vector and a policy',
      RULE,
      { ...rule, selection: { vectors: ['ipv4-source'], policies: ['no-shell'] } },
      ['selection.policies'],
      { ...rule, selection: { kinds: ['lsm'], policies: ['no-shell'] } },
    ],
    [
      'operations by vectors',
      RULE,
      { ...rule, selection: { kinds: ['lsm'], vectors: ['redirect'] } },
      ['selection.vectors'],
      { ...rule, selection: { kinds: ['lsm', 'spoof'], vectors: ['redirect'] } },
    ],
    [
      'in a stage',
      RULE,
      stages({ kinds: ['spoof'] }, { kinds: ['lsm'], vectors: ['redirect'] }),
      ['rules.1.selection.vectors'],
      stages({ kinds: ['spoof'] }, { vectors: ['redirect'] }),
    ],
    [
      'all namespaces excluded',
      RULE,
      { ...rule, selection: { namespaces: ['shop'], excludeNamespaces: ['shop', 'bank'] } },
      ['selection.excludeNamespaces'],
      { ...rule, selection: { namespaces: ['shop', 'web'], excludeNamespaces: ['shop'] } },
    ],
    [
      'foreign claims by pod',
      RULE,
      { ...rule, selection: { vectors: ['foreign-pod'] } },
      ['group-by'],
      { ...rule, 'group-by': 'node', selection: { vectors: ['foreign-pod'] } },
    ],
    [
      'addresses of operations',
      RULE,
      { ...values, field: 'claimedAddress', selection: { kinds: ['lsm'] } },
      ['field'],
      { ...values, field: 'claimedAddress' },
    ],
    [
      'programs of packets',
      RULE,
      { ...values, field: 'executable', selection: { vectors: ['redirect'] } },
      ['field'],
      { ...values, field: 'executable', selection: { operations: ['execute'] } },
    ],
    [
      'more vectors than are selected',
      RULE,
      { ...values, field: 'vector', selection: { vectors: ['redirect', 'redirect'] } },
      ['condition.gte'],
      { ...values, field: 'vector', selection: { vectors: ['redirect', 'tunnel'] } },
    ],
    [
      'a policy without pods',
      'runtime.cluster._.mine',
      {
        selector: { namespaces: ['shop'], excludeNamespaces: ['shop'] },
        rules: [{ name: 'x', action: 'block', mount: {} }],
      },
      ['selector.excludeNamespaces'],
      { selector: { namespaces: ['shop'] }, rules: [{ name: 'x', action: 'block', mount: {} }] },
    ],
    [
      'a port of two protocols',
      SPOOF,
      { tunnelPorts: { geneve: [6081, 8472] } },
      ['tunnelPorts.geneve.1'],
      { tunnelPorts: { geneve: [6081, 6082] } },
    ],
    [
      'a quarantine without effect',
      SPOOF,
      { quarantine: { allow: ['10.0.0.0/8', '::/0'] } },
      ['quarantine.allow.1'],
      { quarantine: { allow: ['10.0.0.0/8', 'fd00::/8'] } },
    ],
    [
      'a disarm longer than its duration; one that has ended',
      DISARM,
      { until: '2026-11-25T18:00:00Z', duration: '30m' },
      ['until'],
      { until: '2026-11-25T11:00:00Z', duration: '30m' },
    ],
  ])('%s', (_name, key, wrong, fields, right) => {
    expect(refused(key, wrong)).toEqual(fields);
    expect(refused(key, right)).toEqual([]);
  });

  it('built-in values have no contradictions', () => {
    for (const [name, value] of Object.entries(BUILT_IN_RULES))
      expect(refused(`correlation.cluster._.${name}`, value), name).toEqual([]);
    for (const [name, value] of Object.entries(BUILT_IN_RESPONSE_POLICIES)) {
      expect(refused(`response.cluster._.${name}`, { ...value, dryRun: false }), name).toEqual([]);
    }
    expect(refused(SPOOF, {})).toEqual([]);
  });
});

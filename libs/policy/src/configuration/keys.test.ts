import { describe, expect, it } from 'vitest';
import { type ConfigError, formatConfigKey, parseConfigKey } from './keys.ts';
import { parseConfigValue } from './values.ts';

const errorOf = (run: () => unknown): ConfigError => {
  try {
    run();
  } catch (error) {
    return error as ConfigError;
  }
  throw new Error('nothing was thrown');
};

describe('config keys', () => {
  it.each([
    ['spoof.cluster._.default', { kind: 'spoof', scope: 'cluster', namespace: null, name: 'default' }],
    ['spoof.workload.shop.web', { kind: 'spoof', scope: 'workload', namespace: 'shop', name: 'web' }],
    ['runtime.cluster._.no-shell', { kind: 'runtime', scope: 'cluster', namespace: null, name: 'no-shell' }],
    ['disarm.node._.node-1_lab', { kind: 'disarm', scope: 'node', namespace: null, name: 'node-1.lab' }],
  ])('%s - parsed and formatted', (text, key) => {
    expect(parseConfigKey(text)).toEqual(key);
    expect(formatConfigKey(parseConfigKey(text))).toBe(text);
  });

  it.each([
    'spoof',
    'spoof.cluster._',
    'spoof.cluster._.a.b',
    'spoon.cluster._.default',
    'spoof.planet._.default',
    'spoof.namespace._.default',
    'spoof.cluster.shop.default',
    'correlation.namespace.shop.x',
    'runtime.workload.shop.x',
    'spoof.namespace.Shop.default',
    'spoof.cluster._.-x',
  ])('%s - refused', (text) => {
    expect(errorOf(() => parseConfigKey(text)).code).toBe('CONFIG_KEY');
  });
});

describe('config values', () => {
  const rule = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 5 } };
  const policy = { steps: [{ action: 'delete' }] };

  it.each([
    ['spoof.cluster._.default', {}],
    ['spoof.namespace.shop.default', { modes: { tunnel: 'off' } }],
    ['correlation.cluster._.mine', rule],
    ['correlation.cluster._.many', { ...rule, type: 'value_count', field: 'vector', 'group-by': 'owner' }],
    ['response.cluster._.mine', policy],
    ['disarm.cluster._.all', { until: '2026-01-01T00:00:00Z', duration: '30m' }],
  ])('%s - accepted, with defaults filled in', (key, value) => {
    expect(parseConfigValue(parseConfigKey(key), JSON.stringify(value))).toMatchObject(value);
  });

  it.each<[string, unknown, string]>([
    ['spoof.cluster._.default', { mode: {} }, 'mode'],
    ['spoof.cluster._.default', { modes: { tunnel: 'drop' } }, 'modes.tunnel'],
    ['spoof.cluster._.default', { modes: { 'quarantine-ingress': 'off' } }, 'modes.quarantine-ingress'],
    ['spoof.cluster._.default', { sampling: { burst: 0 } }, 'sampling.burst'],
    ['spoof.cluster._.default', { unguardedNodes: { after: '30s' } }, 'unguardedNodes.after'],
    ['spoof.cluster._.default', { unguardedNodes: { maxPercent: 100 } }, 'unguardedNodes.maxPercent'],
    [
      'spoof.cluster._.default',
      { allowedPrefixes: [{ namespace: 'shop', prefixes: ['10.0.0.0'] }] },
      'allowedPrefixes.0.prefixes.0',
    ],
    ['spoof.namespace.shop.default', { unknown: 'off' }, 'unknown'],
    ['correlation.cluster._.mine', { ...rule, timespan: 60 }, 'timespan'],
    ['correlation.cluster._.mine', { ...rule, timespan: '60' }, 'timespan'],
    ['correlation.cluster._.mine', { ...rule, timespan: '60 min' }, 'timespan'],
    ['correlation.cluster._.mine', { ...rule, timespan: '25h' }, 'timespan'],
    ['correlation.cluster._.mine', { ...rule, condition: { gte: 0 } }, 'condition.gte'],
    ['correlation.cluster._.mine', { ...rule, selection: { vectors: ['ip-source'] } }, 'selection.vectors.0'],
    ['correlation.cluster._.mine', { ...rule, groupBy: 'pod' }, 'groupBy'],
    ['correlation.cluster._.mine', { ...rule, type: 'temporal', rules: [] }, 'rules'],
    ['response.cluster._.mine', { steps: [{ action: 'explode' }] }, 'steps.0.action'],
    ['response.cluster._.mine', { steps: [{ action: 'delete', expires: '1h' }] }, 'steps.0.expires'],
    ['response.cluster._.mine', { steps: [{ action: 'label', gracePeriodSeconds: 1 }] }, 'steps.0.gracePeriodSeconds'],
    ['response.cluster._.mine', { ...policy, guards: { budget: { maxPercent: 101 } } }, 'guards.budget.maxPercent'],
    ['disarm.cluster._.all', { until: 'tomorrow', duration: '30m' }, 'until'],
    ['disarm.cluster._.all', { until: '2026-01-01T00:00:00Z', duration: '30' }, 'duration'],
  ])('%s %j - refused with the path of the field', (key, value, field) => {
    const error = errorOf(() => parseConfigValue(parseConfigKey(key), JSON.stringify(value)));
    expect(error.code).toBe('CONFIG_SCHEMA');
    expect(error.fields).toContain(field);
    expect(error.message).toContain(key);
  });

  it('not JSON - refused as such', () => {
    expect(errorOf(() => parseConfigValue(parseConfigKey('spoof.cluster._.default'), '{')).code).toBe('CONFIG_JSON');
  });
});

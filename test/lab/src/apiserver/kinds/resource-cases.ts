/**
 * Specs of custom resources, each with whether it is right: what is wrong is refused by the API server, by the shipped definitions, and by the
 * mirror, by the schemas. Against the stand-in's reading of the definitions by shipped-crds.test.ts, against servers by
 * test/cluster/shipped-resources.test.ts.
 */
import type { ResourceKind } from '@bailiff/policy';
import type { JsonObject } from '../types.ts';

const rule = (more: JsonObject) => ({ rules: [{ name: 'a', action: 'block', ...more }] });
const allow = (more: JsonObject, posture: JsonObject = {}) => ({
  defaultPosture: posture,
  rules: [{ name: 'a', action: 'allow', ...more }],
});
const count = { type: 'event_count', level: 'low', timespan: '60s', condition: { gte: 1 } };
const stages = [
  { name: 'a', selection: {} },
  { name: 'b', selection: {} },
];
const steps = (...list: JsonObject[]) => ({ steps: list });
const expression = (operator: string, more: JsonObject) => ({
  ...rule({ kernel: { operations: ['bpf'] } }),
  selector: { podLabels: { matchExpressions: [{ key: 'app', operator, ...more }] } },
});

/**
 * kind, spec, and whether it is right. What is wrong is refused by the server and by the mirror, each by its own means; `mirror`: by the mirror
 * alone, because no rule of a definition can say it.
 */
export const RESOURCE_CASES: [ResourceKind, JsonObject, boolean | 'mirror'][] = [
  ['SpoofPolicy', {}, true],
  ['SpoofPolicy', { modes: { tunnel: 'audit' } }, true],
  ['SpoofPolicy', { modes: { tunnel: 'maybe' } }, false],
  ['SpoofPolicy', { modes: { tunel: 'audit' } }, false],
  ['SpoofPolicy', { target: { namespace: 'shop' }, modes: { tunnel: 'off' } }, true],
  ['SpoofPolicy', { target: { namespace: 'shop', workload: 'web' } }, true],
  ['SpoofPolicy', { target: { namespace: 'Shop' } }, false],
  ['SpoofPolicy', { target: { namespace: 'shop' }, unknown: 'audit' }, false],
  ['SpoofPolicy', { target: { namespace: 'shop' }, sampling: { burst: 8 } }, true],
  ['SpoofPolicy', { target: { namespace: 'shop' }, sampling: { burst: 0 } }, false],
  ['SpoofPolicy', { tunnelPorts: { vxlan: [0] } }, false],
  ['SpoofPolicy', { allowedPrefixes: [{ namespace: 'a', prefixes: ['10.0.0.0/8', 'fd00::/8'] }] }, true],
  ['SpoofPolicy', { allowedPrefixes: [{ namespace: 'a', prefixes: ['10.0.0.0/33'] }] }, false],
  ['SpoofPolicy', { quarantine: { allow: ['somewhere'] } }, false],
  ['SpoofPolicy', { unguardedNodes: { taint: 'NoSchedule', after: '90s', nodeLabels: { 'a.b/c': 'd' } } }, true],
  ['SpoofPolicy', { unguardedNodes: { taint: 'NoExecute' } }, false],
  ['SpoofPolicy', { unguardedNodes: { after: '59s' } }, false],
  ['SpoofPolicy', { unguardedNodes: { maxPercent: 51 } }, false],
  ['SpoofPolicy', { target: { namespace: 'shop' }, unguardedNodes: { taint: 'NoSchedule' } }, false],
  ['RuntimePolicy', {}, false],
  ['RuntimePolicy', { defaultPosture: { file: 'audit' } }, true],
  ['RuntimePolicy', { defaultPosture: { file: 'deny' } }, false],
  ['RuntimePolicy', rule({}), false],
  ['RuntimePolicy', rule({ drift: {} }), true],
  ['RuntimePolicy', rule({ drift: {}, mount: {} }), false],
  ['RuntimePolicy', rule({ fille: { paths: ['/a'] } }), false],
  ['RuntimePolicy', { rules: [...rule({ drift: {} }).rules, ...rule({ mount: {} }).rules] }, false],
  ['RuntimePolicy', allow({ drift: {} }, { execute: 'block' }), false],
  ['RuntimePolicy', allow({ file: { paths: ['/a'] } }), false],
  ['RuntimePolicy', allow({ file: { paths: ['/a'] } }, { file: 'block' }), true],
  ['RuntimePolicy', allow({ unix: { paths: ['/a'] } }, { network: 'block' }), false],
  ['RuntimePolicy', allow({ execute: { paths: ['/a'] } }, { file: 'block' }), false],
  ['RuntimePolicy', allow({ socket: {} }, { network: 'audit' }), true],
  ['RuntimePolicy', allow({ capabilities: ['net_raw'] }), false],
  ['RuntimePolicy', allow({ kernel: { operations: ['bpf'] } }), false],
  ['RuntimePolicy', allow({ mount: {} }), false],
  [
    'RuntimePolicy',
    { rules: [...allow({ mount: {} }).rules, { name: 'b', action: 'block', file: { paths: ['/a'] } }] },
    true,
  ],
  ['RuntimePolicy', rule({ file: { operations: ['read'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a'], recursive: true } }), false],
  ['RuntimePolicy', rule({ file: { directories: ['/a/'], recursive: true } }), true],
  ['RuntimePolicy', rule({ file: { paths: ['/a'], operations: ['read'], readOnly: true } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a/../b'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a/./b'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a//b'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a/'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/a/*'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['a'] } }), false],
  ['RuntimePolicy', rule({ file: { paths: ['/', '/...', '/.a/..b', '/é'] } }), true],
  ['RuntimePolicy', rule({ file: { paths: ['/a', '/a'] } }), false],
  ['RuntimePolicy', rule({ file: { suffixes: ['.so'] } }), true],
  ['RuntimePolicy', rule({ file: { suffixes: ['lib/x'] } }), false],
  ['RuntimePolicy', rule({ execute: { anonymous: true } }), true],
  ['RuntimePolicy', rule({ execute: { anonymous: false } }), false],
  ['RuntimePolicy', rule({ unix: { abstract: ['@x'] } }), false],
  ['RuntimePolicy', rule({ unix: { abstract: ['x'] } }), true],
  [
    'RuntimePolicy',
    rule({ network: { cidrs: ['10.0.0.0/8'], ports: [80, '8000-8999'], protocols: ['tcp', 6] } }),
    true,
  ],
  ['RuntimePolicy', rule({ network: { ports: [65536] } }), false],
  ['RuntimePolicy', rule({ network: { ports: ['http'] } }), false],
  ['RuntimePolicy', rule({ network: { ports: ['9-8'] } }), 'mirror'],
  ['RuntimePolicy', rule({ network: { ports: ['8-65536'] } }), 'mirror'],
  ['RuntimePolicy', rule({ network: { protocols: ['tpc'] } }), false],
  ['RuntimePolicy', rule({ network: { protocols: [256] } }), false],
  ['RuntimePolicy', rule({ socket: { protocols: ['icmp'] } }), false],
  ['RuntimePolicy', rule({ socket: { families: ['inet', 40], protocols: ['icmp'] } }), true],
  ['RuntimePolicy', rule({ capabilities: ['CAP_NET_RAW'] }), false],
  ['RuntimePolicy', expression('In', {}), false],
  ['RuntimePolicy', expression('In', { values: ['a'] }), true],
  ['RuntimePolicy', expression('Exists', { values: ['a'] }), false],
  ['CorrelationRule', count, true],
  ['CorrelationRule', { ...count, timespan: '60' }, false],
  ['CorrelationRule', { ...count, timespan: '100ms' }, false],
  ['CorrelationRule', { ...count, timespan: '24h' }, true],
  ['CorrelationRule', { ...count, timespan: '2d' }, false],
  ['CorrelationRule', { ...count, condition: { gte: 0 } }, false],
  ['CorrelationRule', { ...count, condition: undefined }, false],
  ['CorrelationRule', { ...count, condition: { gte: 257 } }, true],
  ['CorrelationRule', { ...count, field: 'vector' }, false],
  ['CorrelationRule', { ...count, rules: stages }, false],
  ['CorrelationRule', { ...count, type: 'value_count', field: 'vector' }, true],
  ['CorrelationRule', { ...count, type: 'value_count', field: 'vector', condition: { gte: 257 } }, false],
  ['CorrelationRule', { ...count, type: 'value_count' }, false],
  ['CorrelationRule', { ...count, type: 'temporal', condition: undefined, rules: stages }, true],
  ['CorrelationRule', { ...count, type: 'temporal', rules: stages }, false],
  ['CorrelationRule', { ...count, type: 'temporal', condition: undefined, rules: stages, selection: {} }, false],
  ['CorrelationRule', { ...count, type: 'temporal_ordered', condition: undefined }, false],
  ['ResponsePolicy', steps({ action: 'observe' }), true],
  ['ResponsePolicy', steps(), false],
  ['ResponsePolicy', steps({ action: 'observe' }, { action: 'observe' }), false],
  ['ResponsePolicy', steps({ action: 'label', expires: '1h' }), true],
  ['ResponsePolicy', steps({ action: 'delete', expires: '1h' }), false],
  ['ResponsePolicy', steps({ action: 'label', gracePeriodSeconds: 1 }), false],
  ['ResponsePolicy', steps({ action: 'delete', gracePeriodSeconds: 1, after: '0s' }), true],
  ['ResponsePolicy', { ...steps({ action: 'observe' }), guards: { budget: { window: '25h' } } }, false],
];

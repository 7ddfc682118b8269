// The shipped definitions against the schemas that everything else is checked by: what the API server would take, and what it refuses.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  ConfigError,
  keyOfResource,
  parseConfigValue,
  RESOURCE_KINDS,
  RESOURCE_PLURALS,
  type ResourceKind,
  valueOfResource,
} from '@bailiff/policy';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { admitCustom, resourcesOf } from './crds.ts';
import { ApiError } from './errors.ts';
import { type JsonObject, type KubeObject, textAt } from './types.ts';

const root = path.resolve(import.meta.dirname, '../../../..');

/** As kubectl reads it. */
function objectsIn(directory: string): [string, KubeObject][] {
  const files = readdirSync(path.join(root, directory)).filter((file) => file !== 'kustomization.yaml');
  return files.flatMap((file) =>
    parseAllDocuments(readFileSync(path.join(root, directory, file), 'utf8'), { version: '1.1' }).map(
      (document): [string, KubeObject] => {
        const object = document.toJS() as KubeObject;
        return [`${directory}/${file} ${object.metadata.name}`, object];
      },
    ),
  );
}

const definitions = new Map(objectsIn('k8s/crds').map(([, crd]) => [textAt(crd, 'spec', 'names', 'kind'), crd]));

/** The object as stored, or the fields that the server refuses. */
function served(kind: ResourceKind, spec: JsonObject): { spec: JsonObject } | { refused: string } {
  const crd = definitions.get(kind)!;
  const object = { apiVersion: 'bailiff.dev/v1alpha1', kind, metadata: { name: 'x' }, spec } as unknown as KubeObject;
  try {
    return { spec: admitCustom(resourcesOf(crd)[0]!, crd, object, true).spec as JsonObject };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { refused: error.message };
  }
}

/** What the mirror makes of it; the message when it refuses. */
function mirrored(kind: ResourceKind, spec: JsonObject): { value: unknown } | { refused: string } {
  try {
    const value = parseConfigValue(keyOfResource(kind, 'x', spec), JSON.stringify(valueOfResource(kind, spec)));
    return { value };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { refused: error.message };
  }
}

describe('shipped definitions', () => {
  test('there is one of each kind', () => {
    expect([...definitions.keys()].sort()).toEqual([...RESOURCE_KINDS].sort());
    for (const kind of RESOURCE_KINDS)
      expect(definitions.get(kind)?.metadata.name).toBe(`${RESOURCE_PLURALS[kind]}.bailiff.dev`);
  });

  test.each([...objectsIn('k8s/examples'), ...objectsIn('policies')])('%s - is taken by both', (_, object) => {
    const kind = object.kind as ResourceKind;
    const stored = served(kind, object.spec as JsonObject);
    expect(stored).not.toHaveProperty('refused');
    // The defaults that the server sets are those that every reader assumes.
    expect(mirrored(kind, (stored as { spec: JsonObject }).spec)).toEqual(mirrored(kind, object.spec as JsonObject));
    expect(mirrored(kind, object.spec as JsonObject)).not.toHaveProperty('refused');
  });
});

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
const CASES: [ResourceKind, JsonObject, boolean | 'mirror'][] = [
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

test.each(CASES)('judged alike - %s %j: %s', (kind, given, right) => {
  const spec = JSON.parse(JSON.stringify(given)) as JsonObject;
  const answers = { server: !('refused' in served(kind, spec)), mirror: !('refused' in mirrored(kind, spec)) };
  expect(answers).toEqual(right === 'mirror' ? { server: true, mirror: false } : { server: right, mirror: right });
});

/**
 * Generates the four CustomResourceDefinitions from the configuration schemas. Pure.
 *
 * `revision` is not a field of a resource, because the mirror counts it. A SpoofPolicy has no
 * defaults, so that missing fields are inherited. The other kinds show their defaults.
 */
import * as z from 'zod';
import {
  RESOURCE_GROUP,
  RESOURCE_KINDS,
  RESOURCE_PLURALS,
  RESOURCE_VERSION,
  type ResourceKind,
} from '../configuration/custom-resources.ts';
import { correlationRule } from '../documents/correlation.ts';
import { responsePolicy } from '../documents/response.ts';
import { runtimePolicy } from '../documents/runtime.ts';
import { spoofCluster } from '../documents/spoof.ts';
import { kubeName } from '../documents/units.ts';
import { CRD_DESCRIPTIONS, CRD_LIST_KEYS, CRD_RULES } from './rules.ts';
import { addRule, type Schema, structural, withoutDefaults } from './structural.ts';

const SCHEMAS: Readonly<Record<ResourceKind, z.ZodType>> = {
  SpoofPolicy: z.strictObject({
    target: z
      .strictObject({
        namespace: kubeName.describe('pods of this namespace'),
        workload: kubeName.describe('of these, the pods of the owner of this name; absent: all').optional(),
      })
      .optional()
      .describe('whose pods; absent: those of the whole cluster'),
    ...spoofCluster.shape,
  }),
  RuntimePolicy: runtimePolicy,
  CorrelationRule: correlationRule,
  ResponsePolicy: responsePolicy,
};

const SHORT_NAMES: Readonly<Record<ResourceKind, string>> = {
  SpoofPolicy: 'spp',
  RuntimePolicy: 'rtp',
  CorrelationRule: 'crr',
  ResponsePolicy: 'rsp',
};

interface Column {
  name: string;
  type: 'string' | 'integer' | 'boolean' | 'date';
  jsonPath: string;
  description?: string;
  priority?: number;
}

const text = (name: string, jsonPath: string, priority = 0): Column => ({
  name,
  type: 'string',
  jsonPath,
  ...(priority > 0 ? { priority } : {}),
});
const flag = (name: string, jsonPath: string): Column => ({ name, type: 'boolean', jsonPath });

const OWN_COLUMNS: Readonly<Record<ResourceKind, readonly Column[]>> = {
  SpoofPolicy: [text('Namespace', '.spec.target.namespace'), text('Workload', '.spec.target.workload')],
  RuntimePolicy: [text('Mode', '.spec.mode'), text('Severity', '.spec.severity'), flag('Enabled', '.spec.enabled')],
  CorrelationRule: [
    text('Type', '.spec.type'),
    text('Level', '.spec.level'),
    text('Timespan', '.spec.timespan'),
    flag('Enabled', '.spec.enabled'),
  ],
  ResponsePolicy: [flag('Dry-Run', '.spec.dryRun'), flag('Enabled', '.spec.enabled')],
};

const STATUS_COLUMNS: readonly Column[] = [
  text('Accepted', '.status.conditions[?(@.type=="Accepted")].status'),
  text('Reason', '.status.conditions[?(@.type=="Accepted")].reason'),
  { ...text('In Force', '.status.inForce'), description: 'Nodes or replicas that apply it, and their total.' },
  { name: 'Revision', type: 'integer', jsonPath: '.status.configRevision' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  text('Key', '.status.configKey', 1),
];

const CONDITION: Schema = {
  type: 'object',
  required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
  properties: {
    type: { type: 'string', maxLength: 316, pattern: '^[A-Z][A-Za-z]*$' },
    status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
    observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
    lastTransitionTime: { type: 'string', format: 'date-time' },
    reason: { type: 'string', minLength: 1, maxLength: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' },
    message: { type: 'string', maxLength: 32768 },
  },
};

const STATUS: Schema = {
  type: 'object',
  description: 'Written by ipam-sync.',
  properties: {
    observedGeneration: {
      type: 'integer',
      format: 'int64',
      description: 'Generation of the spec that this status describes.',
    },
    configKey: { type: 'string', description: 'Configuration key of this resource.' },
    configRevision: { type: 'integer', format: 'int64', description: 'Revision of the value under that key.' },
    inForce: { type: 'string', description: 'n/m: number of nodes or replicas that apply it, and their total.' },
    conditions: {
      type: 'array',
      items: CONDITION,
      maxItems: 8,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
    },
  },
};

/** Schema at a path such as `rules[].file`. */
function at(spec: Schema, path: string): Schema {
  let current = spec;
  for (const step of path.split(/\.|(?=\[\])/).filter(Boolean)) {
    const next = step === '[]' ? current['items'] : (current['properties'] as Schema | undefined)?.[step];
    if (next === undefined) throw new Error(`no schema at ${path}`);
    current = next as Schema;
  }
  return current;
}

/** Schema of the spec of a kind. */
export function specOf(kind: ResourceKind): Schema {
  const raw = structural(z.toJSONSchema(SCHEMAS[kind], { io: 'input', reused: 'inline' }) as Schema, kind);
  const spec = kind === 'SpoofPolicy' ? withoutDefaults(raw) : raw;
  delete (spec['properties'] as Schema)['revision'];
  for (const [path, rules] of Object.entries(CRD_RULES[kind])) for (const rule of rules) addRule(at(spec, path), rule);
  for (const [path, key] of Object.entries(CRD_LIST_KEYS[kind]))
    Object.assign(at(spec, path), { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] });
  return { ...spec, description: CRD_DESCRIPTIONS[kind] };
}

/** A definition as it is applied to the cluster. */
export function definitionOf(kind: ResourceKind): Schema {
  const plural = RESOURCE_PLURALS[kind];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${RESOURCE_GROUP}`, labels: { 'app.kubernetes.io/part-of': 'bailiff' } },
    spec: {
      group: RESOURCE_GROUP,
      scope: 'Cluster',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [SHORT_NAMES[kind]],
        categories: ['bailiff'],
      },
      versions: [
        {
          name: RESOURCE_VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [...OWN_COLUMNS[kind], ...STATUS_COLUMNS],
          schema: {
            openAPIV3Schema: {
              type: 'object',
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: specOf(kind),
                status: STATUS,
              },
            },
          },
        },
      ],
    },
  };
}

/** All definitions, by file name. */
export function definitions(): { file: string; definition: Schema }[] {
  return RESOURCE_KINDS.map((kind) => ({ file: `${RESOURCE_PLURALS[kind]}.yaml`, definition: definitionOf(kind) }));
}

// The admission policy of docs/operations.md about pods of tenants that keep pods of Bailiff away.
import { readFileSync } from 'node:fs';
import { Environment } from '@marcbachmann/cel-js';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Json } from './rendered.ts';

const PAGE = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const BLOCKS = [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].flatMap(([, text]) =>
  parseAllDocuments(text as string).map((document) => document.toJSON() as Json),
);
const POLICY = BLOCKS.find(
  ({ kind, metadata }) => kind === 'ValidatingAdmissionPolicy' && metadata?.name === 'bailiff-replaced-pods',
) as Json;
const cel = new Environment({ unlistedVariablesAreDyn: true, enableOptionalTypes: true });

/** First message of a refusal, or null. */
function refusal(operation: 'CREATE' | 'DELETE', object: Json | null, options: Json = {}, namespace = 'shop') {
  const variables: Json = {};
  const given = { request: { operation, namespace, options }, object, variables };
  const { matchConditions, variables: named, validations } = POLICY.spec;
  if (!matchConditions.every(({ expression }: Json) => cel.evaluate(expression, given))) return null;
  for (const { name, expression } of named) variables[name] = cel.evaluate(expression, given);
  return validations.find(({ expression }: Json) => cel.evaluate(expression, given) !== true)?.message ?? null;
}
const pod = (spec: Json): Json => ({ kind: 'Pod', spec: { terminationGracePeriodSeconds: 30n, ...spec } });
const apartFrom = (term: Json): Json =>
  pod({ affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } });
const evicted = (seconds: bigint): Json => ({ kind: 'Eviction', deleteOptions: { gracePeriodSeconds: seconds } });
const AFFINITY = expect.stringMatching(/anti-affinity/);
const GRACE = expect.stringMatching(/grace period/);

it.each([
  ['anti-affinity to pods of all namespaces', 'CREATE', apartFrom({ namespaceSelector: {} }), {}, AFFINITY],
  ['anti-affinity to pods of a named one', 'CREATE', apartFrom({ namespaces: ['bailiff-system'] }), {}, AFFINITY],
  ['a long grace period', 'CREATE', pod({ terminationGracePeriodSeconds: 301n }), {}, GRACE],
  ['a deletion with a long one', 'DELETE', null, { gracePeriodSeconds: 86_400n }, GRACE],
  ['an eviction with a long one', 'CREATE', evicted(86_400n), {}, GRACE],
  ['anti-affinity within the namespace', 'CREATE', apartFrom({ labelSelector: {} }), {}, null],
  ['the same, by its name', 'CREATE', apartFrom({ namespaces: ['shop'] }), {}, null],
  ['preferred anti-affinity', 'CREATE', pod({ affinity: { podAntiAffinity: {} } }), {}, null],
  ['a plain pod', 'CREATE', pod({}), {}, null],
  ['a plain deletion', 'DELETE', null, {}, null],
  ['an eviction without options', 'CREATE', { kind: 'Eviction' }, {}, null],
] as const)('pods of tenants - %s', (_, operation, object, options, expected) => {
  expect(refusal(operation, object, options)).toEqual(expected);
  expect(refusal(operation, object, options, 'bailiff-system')).toBeNull();
});

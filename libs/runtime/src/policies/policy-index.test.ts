import type { RuntimePolicyInput } from '@bailiff/policy';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { policyOf } from '../testing.ts';
import { PolicyIndex } from './policy-index.ts';
import { type PodFacts, selectsPod } from './select.ts';

const rules: RuntimePolicyInput['rules'] = [{ name: 'bpf', action: 'block', capabilities: ['bpf'] }];
const selecting = (index: number, selector: RuntimePolicyInput['selector'], namespace: string | null = null) =>
  policyOf({ rules, selector }, `p${index}`, namespace);

const namespace = fc.constantFrom('shop', 'other', 'constructor');
const label = fc.constantFrom('app', 'tier', 'constructor');
const value = fc.constantFrom('', 'a', 'b');
const expression = fc.oneof(
  fc.record({
    key: label,
    operator: fc.constantFrom('In' as const, 'NotIn' as const),
    values: fc.uniqueArray(value, { minLength: 1 }),
  }),
  fc.record({ key: label, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
);
const selector = fc.record(
  {
    namespaces: fc.uniqueArray(namespace, { minLength: 1 }),
    excludeNamespaces: fc.uniqueArray(namespace, { minLength: 1 }),
    podLabels: fc.record(
      { matchLabels: fc.dictionary(label, value), matchExpressions: fc.array(expression, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);
const pods: fc.Arbitrary<PodFacts> = fc.record({ namespace, labels: fc.dictionary(label, value) });

it('property - the candidates have the policies that select the pod, in the same order', () => {
  const scoped = fc.tuple(selector, fc.option(namespace));
  fc.assert(
    fc.property(fc.array(scoped, { maxLength: 12 }), fc.array(pods, { maxLength: 4 }), (selectors, all) => {
      const policies = selectors.map(([one, scope], index) => selecting(index, one, scope));
      const index = new PolicyIndex(policies);
      for (const pod of all) {
        const found = index.candidates(pod).filter((named) => selectsPod(named, pod));
        expect(found).toEqual(policies.filter((named) => selectsPod(named, pod)));
      }
    }),
  );
});

it('many policies, of which each selects by namespace or label - a pod has few candidates', () => {
  const byLabel = (index: number) => ({ podLabels: { matchLabels: { app: `app-${index}` } } });
  const policies = Array.from({ length: 3_000 }, (_, index) =>
    index % 3 === 0
      ? selecting(index, byLabel(index))
      : index % 3 === 1
        ? selecting(index, { namespaces: [`ns-${index}`], ...byLabel(0) })
        : selecting(index, {}, `ns-${index}`),
  );
  const index = new PolicyIndex([...policies, selecting(3_000, {})]);
  const names = (pod: PodFacts) => index.candidates(pod).map(({ name }) => name);
  expect(names({ namespace: 'ns-4', labels: { app: 'app-3' } })).toEqual(['p3', 'p3000']);
  expect(names({ namespace: 'ns-4', labels: { app: 'app-0' } })).toEqual(['p0', 'p4', 'p3000']);
  expect(names({ namespace: 'ns-5', labels: {} })).toEqual(['p5', 'p3000']);
});

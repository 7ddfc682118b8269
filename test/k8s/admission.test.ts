// Admission policies of the components: which writes they check, and whether the names in them are
// those of the code. test/cluster/admission.test.ts tries what they refuse and that they admit the
// apps' own writes.

import { UNGUARDED_TAINT_KEY, UNGUARDED_TAINTS } from '@bailiff/policy';
import {
  CORDONED_BY,
  EVERY_ACTION,
  QUARANTINE_LABEL,
  responderRules,
  VERDICT_ID,
  VERDICT_LABEL,
} from '@bailiff/response';
import { describe, expect, it } from 'vitest';
import { TAINT_RULES } from '../support/kube-rules.ts';
import { type Json, named, objectsWith, ofKind, workloadsOf } from './rendered.ts';

interface Right {
  apiGroups: readonly string[];
  resources: readonly string[];
  verbs: readonly string[];
}
const COMPONENTS = [
  { name: 'taint-unguarded', app: 'ipam-sync', rights: TAINT_RULES as readonly Right[], free: [] as string[] },
  {
    name: 'responder-narrowed',
    app: 'responder',
    rights: responderRules(EVERY_ACTION) as readonly Right[],
    // An Event only reports about a pod and changes nothing.
    free: ['/events'],
  },
];
const KIND = 'ValidatingAdmissionPolicy';

/** Quoted words of all expressions of a policy. */
function wordsOf({ spec }: Json): Set<string> {
  const expressions = [...(spec.variables ?? []), ...spec.validations].map(({ expression }: Json) => expression);
  return new Set(
    expressions.flatMap((text: string) => [...text.matchAll(/'([^']*)'/g)].map(([, word]) => word as string)),
  );
}
const ofBailiff = (policy: Json): string[] => [...wordsOf(policy)].filter((word) => word.includes('bailiff')).sort();

describe.each(COMPONENTS)('$name', ({ name, app, rights, free }) => {
  const objects = objectsWith('included', [name]);
  const policies = ofKind(objects, KIND);

  it('each policy is bound, refuses, and fails closed', () => {
    expect(policies.length).toBeGreaterThan(0);
    expect(ofKind(objects, `${KIND}Binding`)).toHaveLength(policies.length);
    for (const { metadata, spec } of policies) {
      const binding = named(objects, `${KIND}Binding`, metadata.name);
      expect(binding.spec).toEqual({ policyName: metadata.name, validationActions: ['Deny'] });
      expect(spec.failurePolicy).toBe('Fail');
    }
  });

  it('they match the account of the app in any namespace, and no other account', () => {
    const account = workloadsOf(objects).find(({ component }) => component === app)?.pod.serviceAccountName;
    for (const { spec } of policies) {
      expect(spec.matchConditions.map(({ expression }: Json) => expression)).toEqual([
        `request.userInfo.username.startsWith('system:serviceaccount:') && request.userInfo.username.endsWith(':${account}')`,
      ]);
    }
  });

  it('all writes that the app may make are checked, with subresources and every verb', () => {
    const judged = policies.flatMap(({ spec }) => spec.matchConstraints.resourceRules as Json[]);
    for (const { apiVersions, operations } of judged) expect([apiVersions, operations]).toEqual([['*'], ['*']]);
    const covered = judged.flatMap(({ apiGroups, resources }) =>
      apiGroups.flatMap((group: string) => resources.map((resource: string) => `${group}/${resource}`)),
    );
    const writes = rights
      .filter(({ verbs }) => verbs.some((verb) => !['get', 'list', 'watch'].includes(verb)))
      .flatMap(({ apiGroups, resources }) => apiGroups.flatMap((group) => resources.map((one) => `${group}/${one}`)));
    const wanted = writes.filter((one) => !free.includes(one)).map((one) => one.replace(/(.*\/.*)\/.*/, '$1'));
    expect(new Set(covered)).toEqual(new Set(wanted.flatMap((one) => [one, `${one}/*`])));
  });
});

describe('the names in them', () => {
  it('taint-unguarded - key and effect are those that ipam-sync sets', () => {
    const [policy] = ofKind(objectsWith('included', ['taint-unguarded']), KIND);
    expect(ofBailiff(policy)).toEqual([UNGUARDED_TAINT_KEY]);
    const effects = UNGUARDED_TAINTS.filter((effect) => effect !== 'off');
    expect([...wordsOf(policy)].filter((word) => /^(No|Prefer)/.test(word))).toEqual(effects);
  });

  it('responder-narrowed - labels, annotations and names are those that the actions write', () => {
    const objects = objectsWith('included', ['responder-narrowed']);
    const words = (name: string) => ofBailiff(named(objects, KIND, name));
    expect(words('bailiff-responder-pods')).toEqual([QUARANTINE_LABEL, VERDICT_LABEL, VERDICT_ID]);
    expect(words('bailiff-responder-nodes')).toEqual([CORDONED_BY]);
    expect(words('bailiff-responder-network-policies')).toEqual(['bailiff-quarantine-', QUARANTINE_LABEL]);
  });
});

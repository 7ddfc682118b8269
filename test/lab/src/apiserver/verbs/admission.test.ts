import { expect, test } from 'vitest';
import { ApiError } from '../errors.ts';
import { builtinResources } from '../kinds/resources.ts';
import { Store } from '../store/store.ts';
import type { JsonObject, KubeObject } from '../types.ts';
import { type AdmissionReview, admissionBindingStorage, admissionPolicyStorage, admitByPolicies } from './admission.ts';

const nodes = builtinResources.find(({ plural }) => plural === 'nodes') as AdmissionReview['def'];
const object = (name: string, more: object = {}): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'X',
    metadata: { name, uid: name, resourceVersion: '', creationTimestamp: '' },
    ...more,
  }) as KubeObject;

const NODES = { apiGroups: [''], apiVersions: ['*'], operations: ['*'], resources: ['nodes'] };

/** The policy's message for an update of node `a` by anna; null if it is admitted. */
function messageOf(spec: JsonObject, binding: JsonObject = {}, more: Partial<AdmissionReview> = {}): string | null {
  const store = new Store({ historyLimit: 10 });
  const whole = {
    matchConstraints: { resourceRules: [NODES] },
    validations: [{ expression: 'false', message: 'no' }],
    ...spec,
  };
  store.put(admissionPolicyStorage, 'p', object('p', { spec: whole }));
  const bound = { policyName: 'p', validationActions: ['Deny'], ...binding };
  store.put(admissionBindingStorage, 'b', object('b', { spec: bound }));
  const [now, before] = [object('a', { spec: { n: 2 } }), object('a', { spec: { n: 1 } })];
  const review: AdmissionReview = {
    operation: 'UPDATE',
    def: nodes,
    subresource: '',
    namespace: '',
    name: 'a',
    dryRun: false,
    object: now,
    oldObject: before,
    user: { user: 'anna', groups: ['ops'] },
    ...more,
  };
  try {
    admitByPolicies(store, review);
    return null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return `${error.httpStatus} ${error.code} ${error.message}`;
  }
}

const DENIED = `422 Invalid nodes "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: `;
const rule = (expression: string, more: JsonObject = {}) => ({ validations: [{ expression, ...more }] });

test.each<[string, JsonObject, string | null]>([
  ['a failed expression', {}, `${DENIED}no`],
  ['what holds', rule('true'), null],
  ['without a message', rule('object.spec.n < 2'), `${DENIED}failed expression: object.spec.n < 2`],
  [
    'with a reason',
    rule('false', { reason: 'Forbidden', message: 'no' }),
    `${DENIED.replace('422 Invalid', '403 Forbidden')}no`,
  ],
  ['old and new', rule('object.spec.n == 2 && oldObject.spec.n == 1'), null],
  ['who asks', rule("request.userInfo.username == 'anna' && 'ops' in request.userInfo.groups"), null],
  [
    'attributes of the request',
    rule("request.operation == 'UPDATE' && !has(request.subResource) && request.name == 'a'"),
    null,
  ],
  [
    'a variable of a variable',
    {
      ...rule('variables.b == 3'),
      variables: [
        { name: 'a', expression: '2' },
        { name: 'b', expression: 'variables.a + 1' },
      ],
    },
    null,
  ],
  [
    'an unused variable may be invalid',
    { ...rule('true'), variables: [{ name: 'a', expression: 'oldObject.none.x' }] },
    null,
  ],
  ['a failed condition', { matchConditions: [{ name: 'c', expression: "request.userInfo.username == 'bob'" }] }, null],
  ['a satisfied condition', { matchConditions: [{ name: 'c', expression: 'true' }] }, `${DENIED}no`],
  ['ignored when it cannot be evaluated', { ...rule('object.none.x'), failurePolicy: 'Ignore' }, null],
  ['another resource', { matchConstraints: { resourceRules: [{ ...NODES, resources: ['pods', 'nodes/*'] }] } }, null],
  ['another verb', { matchConstraints: { resourceRules: [{ ...NODES, operations: ['CREATE'] }] } }, null],
  ['another name', { matchConstraints: { resourceRules: [{ ...NODES, resourceNames: ['b'] }] } }, null],
  ['taken out', { matchConstraints: { resourceRules: [NODES], excludeResourceRules: [NODES] } }, null],
  ['an unsupported part', { paramKind: { kind: 'X' } }, `${DENIED}the stand-in does not know paramKind`],
])('policy - %s', (_, spec, expected) => {
  expect(messageOf(spec)).toBe(expected);
});

test('policy - an evaluation error rejects the write', () => {
  expect(messageOf(rule('object.none.x'))).toMatch(/denied request: expression 'object\.none\.x' resulted in error: /);
  expect(messageOf({ ...rule('true'), matchConditions: [{ name: 'c', expression: 'object.none.x' }] })).toContain(
    'match condition',
  );
});

test('policy - a binding to another policy, or one that only audits, rejects nothing', () => {
  expect(messageOf({}, { policyName: 'q' })).toBeNull();
  expect(messageOf({}, { validationActions: ['Audit', 'Warn'] })).toBeNull();
});

test('policy - a subresource matches by its name or *', () => {
  const judged = (resources: string[]) =>
    messageOf({ matchConstraints: { resourceRules: [{ ...NODES, resources }] } }, {}, { subresource: 'status' }) !==
    null;
  expect([['nodes'], ['nodes/status'], ['nodes/*'], ['*/*'], ['*'], ['pods/*']].map(judged)).toEqual([
    ...[false, true, true, true],
    ...[false, false],
  ]);
});

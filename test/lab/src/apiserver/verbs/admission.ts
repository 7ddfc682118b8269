/**
 * ValidatingAdmissionPolicies: evaluates stored policies with bindings on writes. A policy without
 * a denying binding rejects nothing. Parameters, namespace and object selectors, message
 * expressions and the authorizer are unsupported: a policy with one of them rejects every matching
 * write, so that no test passes with half of a policy. Evaluation errors reject too, unless
 * failurePolicy is Ignore.
 */
import { ApiError, qualified } from '../errors.ts';
import { celValue, evaluate } from '../kinds/cel.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import type { Store } from '../store/store.ts';
import { at, isObject, type JsonObject, type KubeObject, listAt, textAt } from '../types.ts';

export const admissionPolicyStorage = 'validatingadmissionpolicies.admissionregistration.k8s.io';
export const admissionBindingStorage = 'validatingadmissionpolicybindings.admissionregistration.k8s.io';

/** A write before it is stored. */
export interface AdmissionReview {
  operation: 'CREATE' | 'UPDATE' | 'DELETE';
  def: ResourceDef;
  subresource: string;
  namespace: string;
  name: string;
  /** null on a delete. */
  object: KubeObject | null;
  /** null on a create. */
  oldObject: KubeObject | null;
  dryRun: boolean;
  user: { user: string; uid?: string; groups?: string[] };
}

type Bindings = Record<string, unknown>;

/** Throws the 422 of a real server (or the rule's reason) if a bound policy rejects the write. */
export function admitByPolicies(store: Store, review: AdmissionReview): void {
  for (const policy of store.list(admissionPolicyStorage)) {
    const { name } = policy.metadata;
    const binding = store
      .list(admissionBindingStorage)
      .find(({ spec }) => spec?.['policyName'] === name && listAt<string>(spec, 'validationActions').includes('Deny'));
    if (binding === undefined || !isMatched(policy, review)) continue;
    const refusal = refusalOf(policy, binding, review);
    if (refusal !== null) throw denied(review, name, binding.metadata.name, refusal);
  }
}

function isMatched(policy: KubeObject, review: AdmissionReview): boolean {
  const covers = (rule: JsonObject) => ruleCovers(rule, review);
  const constraints = policy.spec?.['matchConstraints'];
  return listAt(constraints, 'resourceRules').some(covers) && !listAt(constraints, 'excludeResourceRules').some(covers);
}

function ruleCovers(rule: JsonObject, { def, subresource, operation, name }: AdmissionReview): boolean {
  const has = (field: string, value: string) => {
    const list = listAt<string>(rule, field);
    return list.includes('*') || list.includes(value);
  };
  const full = subresource === '' ? def.plural : `${def.plural}/${subresource}`;
  const resources = listAt<string>(rule, 'resources');
  const wild = subresource === '' ? ['*', '*/*'] : ['*/*', `${def.plural}/*`, `*/${subresource}`];
  const names = listAt<string>(rule, 'resourceNames');
  return (
    has('apiGroups', def.group) &&
    has('apiVersions', def.version) &&
    has('operations', operation) &&
    [full, ...wild].some((one) => resources.includes(one)) &&
    (names.length === 0 || names.includes(name))
  );
}

/** An unsupported part of a policy or binding. */
function unknownPart(policy: KubeObject, binding: KubeObject): string | undefined {
  const isSet = (value: unknown) => isObject(value) && Object.keys(value).length > 0;
  const constraints = policy.spec?.['matchConstraints'];
  const texts = listAt(policy, 'spec', 'validations');
  return [
    ['paramKind', isSet(policy.spec?.['paramKind'])],
    ['namespaceSelector', isSet(at(constraints, 'namespaceSelector'))],
    ['objectSelector', isSet(at(constraints, 'objectSelector'))],
    ['messageExpression', texts.some((one) => textAt(one, 'messageExpression') !== '')],
    ['matchResources of the binding', isSet(binding.spec?.['matchResources'])],
  ].find(([, used]) => used)?.[0] as string | undefined;
}

interface Refusal {
  reason: string;
  message: string;
}

/** null: admitted. */
function refusalOf(policy: KubeObject, binding: KubeObject, review: AdmissionReview): Refusal | null {
  const unknown = unknownPart(policy, binding);
  if (unknown !== undefined) return { reason: '', message: `the stand-in does not know ${unknown}` };
  const ignores = textAt(policy, 'spec', 'failurePolicy') === 'Ignore';
  const bindings = bindingsOf(policy, review);
  try {
    for (const condition of listAt(policy, 'spec', 'matchConditions'))
      if (evaluate(textAt(condition, 'expression'), bindings) !== true) return null;
  } catch (error) {
    return ignores ? null : { reason: '', message: `match condition: ${firstLine(error)}` };
  }
  for (const rule of listAt(policy, 'spec', 'validations')) {
    const expression = textAt(rule, 'expression');
    try {
      if (evaluate(expression, bindings) === true) continue;
      const message = textAt(rule, 'message') || `failed expression: ${expression}`;
      return { reason: textAt(rule, 'reason'), message };
    } catch (error) {
      if (!ignores) return { reason: '', message: `expression '${expression}' resulted in error: ${firstLine(error)}` };
    }
  }
  return null;
}

const firstLine = (error: unknown): string => (error as Error).message.split('\n')[0] as string;

/**
 * `request`, `object`, `oldObject` and the policy's variables, which are evaluated on first use.
 */
function bindingsOf(policy: KubeObject, review: AdmissionReview): Bindings {
  const { def, user, subresource, object, oldObject, operation, namespace, name, dryRun } = review;
  const { group, version, kind, plural } = def;
  const request = {
    kind: { group, version, kind },
    resource: { group, version, resource: plural },
    ...(subresource === '' ? {} : { subResource: subresource }),
    name,
    ...(namespace === '' ? {} : { namespace }),
    operation,
    userInfo: { username: user.user, ...(user.uid ? { uid: user.uid } : {}), groups: user.groups ?? [] },
    dryRun,
  };
  const variables = {};
  const bindings: Bindings = {
    request: celValue(request),
    object: celValue(object),
    oldObject: celValue(oldObject),
    variables,
  };
  for (const variable of listAt(policy, 'spec', 'variables')) {
    let known: { value: unknown } | undefined;
    Object.defineProperty(variables, textAt(variable, 'name'), {
      enumerable: true,
      get() {
        known ??= { value: evaluate(textAt(variable, 'expression'), bindings) };
        return known.value;
      },
    });
  }
  return bindings;
}

/** Reasons of rules with their codes. */
const CODES: Readonly<Record<string, number>> = { Unauthorized: 401, Forbidden: 403, RequestEntityTooLarge: 413 };

function denied(review: AdmissionReview, policy: string, binding: string, { reason, message }: Refusal): ApiError {
  const { def, name } = review;
  const why = `ValidatingAdmissionPolicy '${policy}' with binding '${binding}' denied request: ${message}`;
  return new ApiError(CODES[reason] ?? 422, reason || 'Invalid', `${qualified(def)} "${name}" is forbidden: ${why}`, {
    name,
    ...(def.group === '' ? {} : { group: def.group }),
    kind: def.plural,
    causes: [{ reason: '', message: why }],
  });
}

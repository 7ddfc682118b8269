/**
 * Label and field selectors: query text or LabelSelector → predicate. Pure. Labels follow
 * apimachinery's grammar (=, ==, !=, in, notin, exists, !exists, gt, lt). Fields are limited to
 * those that a real server supports; others are rejected, because an ignored selector returns too
 * much.
 */
import { badRequest } from '../errors.ts';
import { at, isObject, type JsonObject, type KubeObject, listAt, textAt } from '../types.ts';

export type Labels = { [key: string]: string };
export type LabelPredicate = (labels: Labels) => boolean;
export type ObjectPredicate = (object: KubeObject) => boolean;

/** Limit of a selector's text. */
export const maxSelectorLength = 8192;

const requirement =
  /^\s*(?:(!)\s*([^\s!=,()<>]+)|([^\s!=,()<>]+)\s*(?:(==|=|!=)\s*([^\s,()]*)|\s(in|notin)\s*\(([^()]*)\)|\s*([<>])\s*(-?\d+))?)\s*(,|$)/;

/** Predicate of a labelSelector query value. Throws 400 for invalid text. */
export function parseLabelSelector(text: string): LabelPredicate {
  if (text.length > maxSelectorLength) throw badRequest('the label selector is too long');
  if (text.trim() === '') return () => true;
  const tests: LabelPredicate[] = [];
  let rest = text;
  while (rest.trim() !== '') {
    const match = requirement.exec(rest);
    if (match === null) throw badRequest(`unable to parse requirement: unexpected text at "${rest.trim()}"`);
    tests.push(requirementPredicate(match));
    rest = rest.slice(match[0].length);
    if (match[10] === ',' && rest.trim() === '')
      throw badRequest('unable to parse requirement: found end of text after ","');
  }
  return (labels) => tests.every((test) => test(labels));
}

function requirementPredicate(match: RegExpExecArray): LabelPredicate {
  const [, , absentKey, key, operator, value = '', setOperator, setText = '', comparison, bound] = match;
  if (absentKey !== undefined) return (labels) => labels[absentKey] === undefined;
  const name = key!;
  if (operator === '=' || operator === '==') return (labels) => labels[name] === value;
  if (operator === '!=') return (labels) => labels[name] !== value;
  if (setOperator !== undefined) {
    const values = new Set(setText.split(',').map((item) => item.trim()));
    if (setOperator === 'in') return (labels) => labels[name] !== undefined && values.has(labels[name]);
    return (labels) => labels[name] === undefined || !values.has(labels[name]);
  }
  if (comparison !== undefined) {
    const limit = Number(bound);
    return (labels) => {
      const number = Number(labels[name]);
      if (labels[name] === undefined || Number.isNaN(number)) return false;
      return comparison === '>' ? number > limit : number < limit;
    };
  }
  return (labels) => labels[name] !== undefined;
}

/** Predicate of a LabelSelector object. An empty one selects all; an absent one selects nothing. */
export function labelSelectorPredicate(selector: unknown): LabelPredicate {
  if (!isObject(selector)) return () => false;
  const wanted = Object.entries(isObject(selector['matchLabels']) ? selector['matchLabels'] : {});
  const expressions = listAt(selector, 'matchExpressions');
  return (labels) =>
    wanted.every(([key, value]) => labels[key] === value) &&
    expressions.every((expression) => expressionHolds(expression, labels));
}

function expressionHolds(expression: JsonObject, labels: Labels): boolean {
  const value = labels[textAt(expression, 'key')];
  const values = listAt<string>(expression, 'values');
  switch (expression['operator']) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}

type FieldReader = (object: KubeObject) => string;

const read =
  (...path: string[]): FieldReader =>
  (object) => {
    const value = at(object, ...path);
    return value === undefined || value === null ? '' : String(value);
  };

const flag =
  (...path: string[]): FieldReader =>
  (object) =>
    at(object, ...path) === true ? 'true' : 'false';

const nameField: { [field: string]: FieldReader } = { 'metadata.name': read('metadata', 'name') };
const nameAndNamespace: { [field: string]: FieldReader } = {
  ...nameField,
  'metadata.namespace': read('metadata', 'namespace'),
};

const involved = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

const fieldsByStorage: { [storage: string]: { [field: string]: FieldReader } } = {
  pods: {
    ...nameAndNamespace,
    'spec.nodeName': read('spec', 'nodeName'),
    'spec.restartPolicy': read('spec', 'restartPolicy'),
    'spec.schedulerName': read('spec', 'schedulerName'),
    'spec.serviceAccountName': read('spec', 'serviceAccountName'),
    'spec.hostNetwork': flag('spec', 'hostNetwork'),
    'status.phase': read('status', 'phase'),
    'status.podIP': read('status', 'podIP'),
    'status.nominatedNodeName': read('status', 'nominatedNodeName'),
  },
  nodes: { ...nameField, 'spec.unschedulable': flag('spec', 'unschedulable') },
  namespaces: { ...nameField, 'status.phase': read('status', 'phase') },
  events: {
    ...nameAndNamespace,
    ...Object.fromEntries(involved.map((name) => [`involvedObject.${name}`, read('involvedObject', name)])),
    ...Object.fromEntries(involved.map((name) => [`regarding.${name}`, read('involvedObject', name)])),
    reason: read('reason'),
    type: read('type'),
    reportingComponent: read('reportingComponent'),
    source: read('source', 'component'),
  },
};

/**
 * Predicate of a fieldSelector query value on stored objects. Throws 400 for an unsupported field.
 */
export function parseFieldSelector(text: string, storage: string, namespaced: boolean): ObjectPredicate {
  if (text.length > maxSelectorLength) throw badRequest('the field selector is too long');
  if (text.trim() === '') return () => true;
  const offered = fieldsByStorage[storage] ?? (namespaced ? nameAndNamespace : nameField);
  const tests = text.split(',').map((part): ObjectPredicate => {
    const match = /^\s*([^=!\s]+)\s*(==|=|!=)(.*)$/.exec(part);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
    const [, field, operator, value] = match;
    const reader = Object.hasOwn(offered, field!) ? offered[field!] : undefined;
    if (reader === undefined) throw badRequest(`field label not supported: ${field}`);
    const wanted = value!.trim();
    return operator === '!=' ? (object) => reader(object) !== wanted : (object) => reader(object) === wanted;
  });
  return (object) => tests.every((test) => test(object));
}

/** The labels of an object; empty without any. */
export function labelsOf(object: KubeObject): Labels {
  return object.metadata.labels ?? {};
}

import { describe, expect, test } from 'vitest';
import type { KubeObject } from '../types.ts';
import { labelSelectorPredicate, maxSelectorLength, parseFieldSelector, parseLabelSelector } from './selectors.ts';

const pod = (fields: object): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'n', uid: 'u', resourceVersion: '1', creationTimestamp: '' },
  ...fields,
});

describe('label selector', () => {
  test.each([
    ['', {}, true],
    ['a=1', { a: '1' }, true],
    ['a==1', { a: '2' }, false],
    ['a=', { a: '' }, true],
    ['a=', {}, false],
    ['a!=1', {}, true],
    ['a!=1', { a: '1' }, false],
    ['a', { a: '' }, true],
    ['a', {}, false],
    ['!a', {}, true],
    ['!a', { a: '1' }, false],
    ['a in (1, 2)', { a: '2' }, true],
    ['a in (1,2)', {}, false],
    ['a notin (1,2)', {}, true],
    ['a notin (1,2)', { a: '1' }, false],
    ['a>3', { a: '4' }, true],
    ['a>3', { a: '3' }, false],
    ['a<3', { a: 'x' }, false],
    ['bailiff.dev/a=x,b!=y', { 'bailiff.dev/a': 'x' }, true],
    ['in=1,notin', { in: '1', notin: '' }, true],
  ])('labels - %j over %j is %s', (text, labels, expected) => {
    expect(parseLabelSelector(text)(labels as { [key: string]: string })).toBe(expected);
  });

  test.each(['a b', 'a=1,', ',a', 'a in 1', '=1', 'a in (1', 'a=(x)', `a=${'x'.repeat(maxSelectorLength)}`])(
    'labels - %j is refused',
    (text) => {
      expect(() => parseLabelSelector(text)).toThrow(expect.objectContaining({ httpStatus: 400 }));
    },
  );

  test.each([
    [undefined, { a: '1' }, false],
    [{}, { a: '1' }, true],
    [{ matchLabels: { a: '1' } }, { a: '1', b: '2' }, true],
    [{ matchLabels: { a: '1' } }, { a: '2' }, false],
    [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['1'] }] }, { a: '1' }, true],
    [{ matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }, { a: '1' }, false],
    [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }, {}, false],
    [{ matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }, {}, true],
    [{ matchExpressions: [{ key: 'a', operator: 'Odd' }] }, { a: '1' }, false],
  ])('labels - the structure %j over %j is %s', (selector, labels, expected) => {
    expect(labelSelectorPredicate(selector)(labels as { [key: string]: string })).toBe(expected);
  });
});

describe('field selector', () => {
  const running = pod({ spec: { nodeName: 'n1' }, status: { phase: 'Running' } });
  test.each([
    ['', true],
    ['metadata.name=p', true],
    ['metadata.namespace==other', false],
    ['spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed', true],
    ['spec.nodeName=', false],
    ['spec.hostNetwork=false', true],
    ['status.podIP=', true],
  ])('fields - %j on a running pod is %s', (text, expected) => {
    expect(parseFieldSelector(text, 'pods', true)(running)).toBe(expected);
  });

  test.each([
    ['spec.colour=1', 'pods', true],
    ['metadata.namespace=a', 'nodes', false],
    ['spec.nodeName=a', 'configmaps', true],
    ['constructor=a', 'pods', true],
    ['nonsense', 'pods', true],
  ])('fields - %j on %s is refused', (text, storage, namespaced) => {
    expect(() => parseFieldSelector(text, storage, namespaced)).toThrow(expect.objectContaining({ httpStatus: 400 }));
  });
});

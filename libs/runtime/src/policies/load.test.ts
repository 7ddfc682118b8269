import { describe, expect, it } from 'vitest';
import type { PolicyError } from '../sets/errors.ts';
import { loadPolicyFile } from './load.ts';
import { yamlShape } from './yaml-documents.ts';

const GOOD = `kind: RuntimePolicy
metadata:
  name: one
spec:
  rules:
    - name: m
      action: block
      mount: {}
`;
const errorOf = (text: string): PolicyError => {
  try {
    loadPolicyFile(text, 'p.yaml');
  } catch (error) {
    return error as PolicyError;
  }
  throw new Error('taken');
};

describe('policy files', () => {
  it('several documents - each under the key of its scope, empty ones passed over', () => {
    const scoped = GOOD.replace('name: one', 'name: two\n  namespace: shop');
    const loaded = loadPolicyFile(`# comment\n---\n${GOOD}---\n${scoped}---\n`);
    expect(loaded.map(({ key, name, namespace }) => [key, name, namespace])).toEqual([
      ['runtime.cluster._.one', 'one', null],
      ['runtime.namespace.shop.two', 'two', 'shop'],
    ]);
    expect(loaded[0]?.policy.rules).toEqual([{ name: 'm', action: 'block', mount: {} }]);
  });

  it.each<[string, string, string, string]>([
    ['nothing', '\n# only a comment\n', 'p.yaml: holds nothing', ''],
    ['no YAML', 'kind: [\n', 'p.yaml:', ''],
    ['a list', '- a\n', 'p.yaml:1: is no policy', ''],
    ['another kind', GOOD.replace('RuntimePolicy', 'Policy'), 'p.yaml:1: kind: must be RuntimePolicy', 'kind'],
    ['no name', GOOD.replace('name: one', 'labels: {}'), 'p.yaml:2: metadata.name: is missing', 'metadata.name'],
    [
      'a name that is none',
      GOOD.replace('one', 'One'),
      'p.yaml:2: metadata: "One" is not a Kubernetes name',
      'metadata',
    ],
    ['a field unknown at the top', `${GOOD}status: {}\n`, 'p.yaml:9: status: is unknown', 'status'],
    ['an action unknown', GOOD.replace('block', 'deny'), 'p.yaml:7: spec.rules.0.action: ', 'spec.rules.0.action'],
    [
      'a field unknown in a rule',
      GOOD.replace('mount: {}', 'mounts: {}'),
      'p.yaml:8: spec.rules.0.mounts: is unknown',
      'spec.rules.0.mounts',
    ],
    [
      'a field missing',
      GOOD.replace('      action: block\n', ''),
      'p.yaml:6: spec.rules.0.action: ',
      'spec.rules.0.action',
    ],
    [
      'the second document',
      `${GOOD}---\n${GOOD.replace('block', 'allow')}`,
      'p.yaml:16: spec.rules.0.action: allow has no effect here',
      'spec.rules.0.action',
    ],
    [
      'one name twice',
      `${GOOD}---\n${GOOD}`,
      'p.yaml:12: metadata.name: runtime.cluster._.one is defined twice',
      'metadata.name',
    ],
    [
      'a namespace that selects others',
      GOOD.replace('name: one', 'name: one\n  namespace: shop').replace(
        'spec:',
        'spec:\n  selector: { namespaces: [x] }',
      ),
      'p.yaml:6: spec.selector.namespaces: ',
      'spec.selector.namespaces',
    ],
    ['a key twice', GOOD.replace('      mount: {}', '      mount: {}\n      mount: {}'), 'p.yaml:9: no YAML', ''],
  ])('%s - refused with the line', (_name, text, message, field) => {
    const error = errorOf(text);
    expect(error.code).toBe('POLICY_FILE');
    expect(error.message).toContain(message);
    if (field !== '') expect(error.fields).toContainEqual({ policy: 'p.yaml', field });
  });

  it('several mistakes - one line each', () => {
    const lines = errorOf(GOOD.replace('block', 'deny').replace('name: m', 'name: M')).message.split('\n');
    expect(lines.map((line) => line.split(': ').slice(0, 2))).toEqual([
      ['p.yaml:6', 'spec.rules.0.name'],
      ['p.yaml:7', 'spec.rules.0.action'],
    ]);
  });

  it.each([
    ['brackets', `a: ${'['.repeat(100_000)}`, 'nested too deep'],
    ['brackets that are closed', `a: ${'['.repeat(5_000)}${']'.repeat(5_000)}`, 'nested too deep'],
    ['lists in a line', '- '.repeat(50_000), 'nested too deep'],
    ['keys in a line', '? '.repeat(50_000), 'nested too deep'],
    [
      'lists in lines',
      Array.from({ length: 40 }, (_, n) => ' '.repeat(n * 64) + '- '.repeat(32)).join('\n'),
      'nested too',
    ],
    ['anchors', '&a '.repeat(60_000), 'anchors, aliases and tags'],
  ])('%s that cost the parser its stack or its time - refused at once', (_name, text, message) => {
    expect(errorOf(text).message).toContain(message);
  });

  it.each([
    ['lines', 'a: 1\nb: c\n'],
    ['lines without a value', '? a\n? b\n'],
    ['brackets', '{ a: 1, b: c }'],
    ['quotes', `{ "a": 1, 'b': "c" }`],
    ['brackets without a colon', '{ a, b }'],
    ['quotes without a colon or comma', '{ "a" "b" }'],
    ['maps', '{ {}, []: [] }'],
    ['colons', '{ :, : }'],
    ['maps in a list', '[a:, b: c]'],
  ])('keys of %s are counted, once each', (_, text) => {
    expect(yamlShape(text).keys).toBe(2);
  });

  it('as deep as a person writes, and brackets in texts - read', () => {
    const deep = `metadata: { name: one }\nkind: RuntimePolicy\nspec:\n${' '.repeat(40)}rules:\n${' '.repeat(
      80,
    )}- { name: m, action: block, file: { paths: ["/${'['.repeat(200)}/${'['.repeat(200)}", '/${'- '.repeat(100)}x'] } } ${'#'.repeat(300)}\n`;
    expect(loadPolicyFile(deep)[0]?.policy.rules).toHaveLength(1);
  });

  it('a file that grows by its anchors - refused', () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x, x]\n${['b', 'c', 'd'].map((k, i) => `${k}: &${k} [${Array(10).fill(`*${'abc'[i]}`).join(', ')}]`).join('\n')}\n`;
    expect(() => loadPolicyFile(bomb, 'p.yaml')).toThrow(/p\.yaml/);
  });
});

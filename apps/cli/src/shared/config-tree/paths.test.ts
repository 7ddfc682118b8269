import { parseConfigKey } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { isValueFile, keyOfPath, pathOfKey } from './paths.ts';

describe('paths of the configuration', () => {
  it.each([
    ['spoof.cluster._.default', 'spoof/cluster.yaml'],
    ['spoof.namespace.shop.default', 'spoof/namespaces/shop.yaml'],
    ['spoof.namespace.cluster.default', 'spoof/namespaces/cluster.yaml'],
    ['spoof.workload.shop.web_v2', 'spoof/workloads/shop/web.v2.yaml'],
    ['correlation.cluster._.many', 'correlation/many.yaml'],
    ['response.cluster._.answer_high', 'response/answer.high.yaml'],
    ['runtime.cluster._.no-shell', 'runtime/no-shell.yaml'],
    ['runtime.namespace.shop.no-shell', 'runtime/shop/no-shell.yaml'],
  ])('%s - %s and back', (text, path) => {
    const key = parseConfigKey(text);
    expect(pathOfKey(key)).toBe(path);
    expect(keyOfPath(path)).toEqual(key);
    expect(keyOfPath(path.replace('.yaml', '.json'))).toEqual(key);
  });

  it('a break-glass has no file', () => {
    expect(pathOfKey(parseConfigKey('disarm.cluster._.all'))).toBeNull();
  });

  it.each([
    'cluster.yaml',
    'spoof/default.yaml',
    'spoof/namespaces/shop/web.yaml',
    'spoof/workloads/shop.yaml',
    'spoof/workloads/shop/web/x.yaml',
    'correlation/shop/x.yaml',
    'disarm/all.yaml',
    'other/x.yaml',
    'runtime/a/b/c.yaml',
    'correlation/x.txt',
  ])('%s - says no key', (path) => expect(keyOfPath(path)).toBeNull());

  it.each(['correlation/Many.yaml', 'spoof/namespaces/-.yaml', 'runtime/.yaml'])('%s - is no name', (path) =>
    expect(() => keyOfPath(path)).toThrow(/not a Kubernetes name/),
  );

  it('other files of the directory are left alone', () => {
    expect(['README.md', 'spoof/notes.txt', 'x.yaml', 'x.yml', 'x.json'].map(isValueFile)).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
  });
});

// Files of the repository that manifests, rules and their comments name are there, and so are those that docs/install.md names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const NAMED = /(?<![\w./@-])((?:test|docs|k8s|tools|libs|policies|scripts)\/[\w./-]*\w)/g;
const inCheckout = readdirSync(path.join(ROOT, 'k8s'), { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(ya?ml|sh|conf)$|Containerfile$/.test(file))
  .map((file) => `k8s/${file}`);

/** What is named and is not there. */
const missing = (text: string): string[] =>
  [...text.matchAll(NAMED)].map(([, name = '']) => name).filter((name) => !existsSync(path.join(ROOT, name)));

it('there are files to look at, and one that is not there would be seen', () => {
  expect(inCheckout.length).toBeGreaterThan(25);
  expect(readFileSync(path.join(ROOT, 'k8s/base/namespace.yaml'), 'utf8')).toContain('test/k8s/security.test.ts');
  expect(missing('held by test/k8s/absent.test.ts, and docs/install.md.')).toEqual(['test/k8s/absent.test.ts']);
});

it.each([...inCheckout, 'docs/install.md'])('%s', (file) => {
  // An operator's own, which the page tells to write.
  const own = ['k8s/overlays/included/responder-role.yaml'];
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  expect(missing(text).filter((name) => !own.includes(name))).toEqual([]);
});

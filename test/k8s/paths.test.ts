// Repository files that manifests, rules, their comments and docs/install.md refer to exist.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const NAMED = /(?<![\w./@-])((?:test|docs|k8s|tools|libs|policies|scripts)\/[\w./-]*\w)/g;
const inCheckout = readdirSync(path.join(ROOT, 'k8s'), { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(ya?ml|sh|conf)$|Containerfile$/.test(file))
  .map((file) => `k8s/${file}`);

/** Referenced files that do not exist. */
const missing = (text: string): string[] =>
  [...text.matchAll(NAMED)].map(([, name = '']) => name).filter((name) => !existsSync(path.join(ROOT, name)));

it('the check has files to read, and finds a missing one', () => {
  expect(inCheckout.length).toBeGreaterThan(25);
  expect(readFileSync(path.join(ROOT, 'k8s/base/namespace.yaml'), 'utf8')).toContain('test/k8s/security.test.ts');
  expect(missing('held by test/k8s/absent.test.ts, and docs/install.md.')).toEqual(['test/k8s/absent.test.ts']);
});

it.each([...inCheckout, 'docs/install.md'])('%s', (file) => {
  // The page asks the operator to write this file.
  const own = ['k8s/overlays/included/responder-role.yaml'];
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  expect(missing(text).filter((name) => !own.includes(name))).toEqual([]);
});

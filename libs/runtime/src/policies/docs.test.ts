// The examples of docs/runtime-policies.md are policies or parts of one, and each ready-made policy
// has a section on its limits.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { compileSet } from '../compile/compile.ts';
import { loadPolicyFile } from './load.ts';
import { mergeSelected } from './merge.ts';

const text = readFileSync(path.resolve(import.meta.dirname, '../../../../docs/runtime-policies.md'), 'utf8');
const documents = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] as string);
// A file of cases is tried by `bailiff policy test` (apps/cli/src/shared/cases.test.ts).
const examples = documents
  .filter((body) => !/^tests:/m.test(body))
  .map((body, index) => {
    const indented = body.replaceAll(/^/gm, '  ');
    const whole = body.startsWith('apiVersion')
      ? body
      : `kind: RuntimePolicy\nmetadata: { name: example }\nspec:\n${indented}`;
    return [index, whole] as const;
  });

describe('reference of runtime policies', () => {
  it('has an example of every kind', () => {
    for (const kind of ['file', 'execute', 'drift', 'network', 'socket', 'unix', 'capabilities', 'mount', 'kernel'])
      expect(examples.some(([, body]) => new RegExp(`^\\s+${kind}:`, 'm').test(body)) || kind).toBe(true);
  });

  it.each(examples)('example %i - parses and compiles', (_index, body) => {
    const policies = loadPolicyFile(body, 'example');
    expect(compileSet(mergeSelected(policies), 1, new Uint8Array(16)).head.rules).toBe(
      policies[0]?.policy.rules.length,
    );
  });
});

describe('ready-made policies', () => {
  const folder = path.resolve(import.meta.dirname, '../../../..');
  const names = readdirSync(path.join(folder, 'policies'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.replace('.yaml', ''));
  const [, part = ''] = /^## Ready-made policies: what each cannot stop$([\s\S]*?)^## /m.exec(text) ?? [];
  const sections = part.split(/^### /m).slice(1);

  it('each has a section, and each section its policy', () => {
    expect(sections.map((section) => section.split('\n', 1)[0])).toEqual(names);
  });

  it.each(sections)('%s', (section) => {
    expect(section.match(/^- /gm)?.length).toBeGreaterThanOrEqual(3);
    const tests = [...section.matchAll(/`(\w+\.test\.ts)`: ([^)]+)\)/g)];
    const missing = tests.filter(([, file = '', words = '']) => {
      const source = readFileSync(path.join(folder, 'test/lsm', file), 'utf8').replaceAll('’', "'");
      return !source.includes(words);
    });
    expect(missing).toEqual([]);
  });
});

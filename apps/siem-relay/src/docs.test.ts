// docs/siem/README.md names every class, and quotes the example connector exactly.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CLASSES } from '@bailiff/siem';
import { expect, it } from 'vitest';

const DOCS = path.resolve(import.meta.dirname, '../../../docs/siem');
const read = (file: string) => readFileSync(path.join(DOCS, file), 'utf8');

it('docs - every class is named', () => {
  const text = read('README.md');
  for (const [name, { uid }] of Object.entries(CLASSES)) expect(text).toContain(`\`${name}\` ${uid}`);
});

it('docs - the connector that is shown is the one that is tested', () => {
  const code = read('connector.mjs').split('\n').slice(1).join('\n');
  expect(read('README.md')).toContain(`\`\`\`js\n${code}\`\`\``);
});

// docs/siem/README.md names every key and class, and quotes the example connector exactly.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CLASSES } from '@bailiff/siem';
import { expect, it } from 'vitest';
import { configSchema } from './config.ts';

const DOCS = path.resolve(import.meta.dirname, '../../../docs/siem');
const read = (file: string) => readFileSync(path.join(DOCS, file), 'utf8');

it('docs - every key and class is named', () => {
  const text = read('README.md');
  for (const key of Object.keys(configSchema.shape)) expect(text).toContain(`\`${key}\``);
  for (const [name, { uid }] of Object.entries(CLASSES)) expect(text).toContain(`\`${name}\` ${uid}`);
});

it('docs - the connector that is shown is the one that is tested', () => {
  const code = read('connector.mjs').split('\n').slice(1).join('\n');
  expect(read('README.md')).toContain(`\`\`\`js\n${code}\`\`\``);
});

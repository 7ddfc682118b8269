/** Generates the text of --help from the schema, so that it is always current. Pure. */
import type * as z from 'zod';
import { envName } from './config.ts';
import { flagName } from './flags.ts';
import { type Leaf, leavesOf } from './schema-walk.ts';

const KIND_TEXT: Record<Leaf['kind'], string> = {
  text: '<text>',
  number: '<number>',
  boolean: '',
  list: '<a,b,…>',
  json: '<json>',
};

export function helpText(name: string, description: string, schema: z.ZodObject, defaults: object): string {
  const given = defaults as Record<string, unknown>;
  const rows = leavesOf(schema).map((leaf): [string, string] => {
    const fallback = given[leaf.path] ?? leaf.fallback;
    const shown = fallback === undefined || fallback === '' ? '' : ` [${JSON.stringify(fallback)}]`;
    const needed = !leaf.optional && fallback === undefined ? ' (needed)' : '';
    return [
      `--${flagName(leaf.path)} ${KIND_TEXT[leaf.kind]}`.trimEnd(),
      `${leaf.description}${shown}${needed}`.trim(),
    ];
  });
  rows.push(
    ['--config <file>', 'YAML or JSON file with the same keys'],
    ['--check-config', 'check the configuration and exit: 0 good, 6 bad'],
    ['--print-config', 'print the configuration in force, secrets hidden, and exit'],
    ['--help, --version', ''],
  );
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return [
    `${name}: ${description}`,
    '',
    `usage: ${name} [flags]`,
    '',
    ...rows.map(([flag, text]) => `  ${flag.padEnd(width)}  ${text}`.trimEnd()),
    '',
    'Defaults < file < environment < flags. Each flag has a variable, for example:',
    `  ${envName(name, 'metricsAddress')}`,
    '',
  ].join('\n');
}

/** `bailiff rules`: tests of correlation rules, without a bus. */
import type { Command } from 'commander';
import { registerCases } from '../shared/cases.ts';
import type { CliIo } from '../shared/io.ts';

const EXAMPLES = `
Example:
  bailiff rules test cases/rules/ --junit results.xml

A file of cases:
  rules: stricter.yaml            as for \`bailiff backtest --rules\`; absent: the built-in rules alone
  tests:
    - name: ten forged packets within a minute
      events:
        - {pod: shop/web-0, vector: ipv4-source, count: 5}
        - {pod: shop/web-0, vector: ipv4-source, count: 5, at: 59s}
      verdicts:                   all of them; [] = none
        - {rule: repeated-spoofing, level: high, pod: shop/web-0, at: 59s}
`;

export function register(program: Command, io: CliIo): void {
  const rules = program
    .command('rules')
    .description('correlation rules: try them on events that you write down')
    .addHelpText('after', '\nExample:\n  bailiff rules test cases/rules/\n');
  registerCases(rules, io, {
    description: 'judge the events of case files, and compare the verdicts with the expected ones',
    examples: EXAMPLES,
    run: async (files) => (await import('./test.ts')).testRules(files, io),
  });
}

/** `bailiff rules`: tests of correlation rules, without a bus. */
import type { Command } from 'commander';
import { CASES_FAILED, reportCases } from '../shared/cases.ts';
import type { CliIo } from '../shared/io.ts';
import { Out } from '../shared/session.ts';

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

Additional exit code: ${CASES_FAILED} a case failed.
`;

export function register(program: Command, io: CliIo): void {
  const rules = program
    .command('rules')
    .description('correlation rules: try them on events that you write down')
    .addHelpText('after', '\nExample:\n  bailiff rules test cases/rules/\n');
  rules
    .command('test')
    .description('judge the events of case files, and compare the verdicts with the expected ones')
    .argument('<file...>', 'YAML files with cases, or folders of such files')
    .option('--junit <file>', 'write the results in JUnit form')
    .option('--json', 'one JSON document')
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], options: { junit?: string; json?: boolean }) => {
      const { testRules } = await import('./test.ts');
      io.exitCode = await reportCases(new Out(io), await testRules(files, io), options);
    });
}

/** `bailiff rules`: tests of correlation rules, and Sigma in and out. */
import { BUILT_IN_RULES } from '@bailiff/policy';
import { type Command, Option } from 'commander';
import { registerCases } from '../../shared/cases.ts';
import type { CliIo } from '../../shared/io.ts';
import { onBus } from '../../shared/session.ts';
import { exportSigma, importSigma, rulesInForce, rulesOfFile } from './sigma.ts';
import { testRules } from './test.ts';

const TEST_EXAMPLES = `
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

function registerImport(parent: Command, io: CliIo): void {
  parent
    .command('import')
    .description('print the correlation rules of a Sigma file as YAML; nothing is stored')
    .argument('<file>', 'Sigma correlations with the rules that they use, or - for stdin')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff rules import sigma.yml > rules.yaml
  bailiff rules import sigma.yml > rules.yaml && bailiff backtest --rules rules.yaml --since 7d

Rules select by fields of violations (docs/sigma.md). Metadata that changes nothing, such as the author, is listed on stderr.

Exit codes: 0 printed; 6 refused: each part that has no equivalent is named by document and field.
`,
    )
    .action((file: string, { json = false }: { json?: boolean }) => importSigma(file, json, io));
}

interface ExportFlags {
  builtIn?: boolean;
}

function registerExport(parent: Command, io: CliIo): void {
  const command = parent
    .command('export')
    .description('print correlation rules as Sigma correlations')
    .argument('[file]', 'rules as for `bailiff backtest --rules`; absent: those in force')
    .addOption(new Option('--format <format>', 'form of the rules').choices(['sigma']).default('sigma'))
    .option('--built-in', 'the built-in rules alone, without a bus')
    .addHelpText(
      'after',
      `
Examples:
  bailiff rules export --format sigma > bailiff.yml      the rules in force: built-in, and those on the bus
  bailiff rules export rules.yaml --format sigma

Each rule is a correlation and one rule for each selection. \`bailiff rules import\` reads them back.

Exit codes: 0 printed; 6 Sigma cannot express a rule, which is named.
`,
    );
  onBus(command, io, async ({ builtIn = false }: ExportFlags, file: string | undefined) => {
    if (file !== undefined) return exportSigma(await rulesOfFile(file, io), io);
    if (builtIn) return exportSigma(BUILT_IN_RULES, io);
    return async (session) => exportSigma(await rulesInForce(session), io);
  });
}

export function register(program: Command, io: CliIo): void {
  const rules = program
    .command('rules')
    .description('correlation rules: try them on events that you write down, exchange them as Sigma')
    .addHelpText(
      'after',
      '\nExamples:\n  bailiff rules test cases/rules/\n  bailiff rules import sigma.yml > rules.yaml\n',
    );
  registerCases(rules, io, {
    description: 'judge the events of case files, and compare the verdicts with the expected ones',
    examples: TEST_EXAMPLES,
    run: (files) => testRules(files, io),
  });
  registerImport(rules, io);
  registerExport(rules, io);
}

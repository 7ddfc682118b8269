/** `bailiff responder rbac`: what the configured answers need of the API server, and nothing more. */
import { readFileSync } from 'node:fs';
import { actionsOf, EVERY_ACTION, PolicyHistory, type RbacActions, responderRules } from '@bailiff/response';
import type { Command } from 'commander';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { Out, optionsOf, withBusOptions, withSession } from '../shared/session.ts';

interface Options {
  all?: boolean;
  policies?: string;
  json?: boolean;
}

const EXAMPLES = `
Examples:
  bailiff responder rbac                            for the response policies on the bus, built-in ones too
  bailiff responder rbac --policies answers.yaml    for those of a file, by name, as \`bailiff backtest --rules\` takes them
  bailiff responder rbac --all | kubectl apply -f - for every action: what k8s/base/responder.yaml has

A policy in dry-run needs what guards read, no more. What an earlier policy did and has yet to undo (labels, quarantines, cordons) needs that
action's rights until it is undone: take them away after that.
`;

/** @throws CliError CLI_CONFIG, CLI_USAGE */
async function fromFile(file: string): Promise<RbacActions> {
  const [{ parse }, { parseRulesFile }] = await Promise.all([import('yaml'), import('../backtest/trial-rules.ts')]);
  let document: unknown;
  try {
    document = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new CliError('CLI_USAGE', `--policies: ${file}: ${(cause as Error).message}`, { cause });
  }
  return actionsOf(parseRulesFile(document, file).policies.values());
}

async function print(out: Out, actions: RbacActions, json: boolean): Promise<number> {
  const { clusterRole, roleYaml, summary } = await import('./rbac.ts');
  const rules = responderRules(actions);
  if (json) out.json(clusterRole(rules));
  else out.io.stdout.write(roleYaml(rules, actions));
  if (json) for (const line of summary(actions)) out.note(line);
  return 0;
}

export function register(program: Command, io: CliIo): void {
  const responder = program.command('responder').description('what the responder needs').addHelpText('after', EXAMPLES);
  const command = responder
    .command('rbac')
    .description('a ClusterRole with exactly what the configured answers need of the API server')
    .option('--all', 'for every action, without asking a bus')
    .option('--policies <file>', 'for the response policies of a file, without asking a bus')
    .option('--json', 'one JSON document instead of YAML')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const { all = false, policies, json = false } = optionsOf<Options>(command);
    if (all && policies !== undefined) throw new CliError('CLI_USAGE', '--all and --policies: one of them');
    const offline = all ? EVERY_ACTION : policies === undefined ? null : await fromFile(policies);
    if (offline) {
      io.exitCode = await print(new Out(io), offline, json);
      return;
    }
    io.exitCode = await withSession(io, command, async (session) => {
      const { readConfigChanges } = await import('../backtest/read.ts');
      const book = new PolicyHistory();
      for (const change of await readConfigChanges(session)) book.apply(change);
      return print(session.out, actionsOf(book.latest().byName.values()), json);
    });
  });
}

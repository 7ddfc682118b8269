/**
 * `bailiff responder rbac`: the API permissions that the configured response policies need, as a ClusterRole in YAML
 * with a reason above each rule, or as JSON.
 */

import { readFileSync } from 'node:fs';
import {
  actionsOf,
  EVERY_ACTION,
  PolicyHistory,
  type RbacActions,
  type RbacRule,
  responderRules,
} from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { Document, isMap, isSeq, parse } from 'yaml';
import { readConfigChanges } from '../shared/backtest/read.ts';
import { parseRulesFile } from '../shared/backtest/trial-rules.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { Out, onBus } from '../shared/session.ts';

const ROLE_NAME = 'bailiff-responder';

/** The API object. */
function clusterRole(rules: readonly RbacRule[]) {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: ROLE_NAME },
    rules: rules.map(({ apiGroups, resources, verbs }) => ({ apiGroups, resources, verbs })),
  };
}

const actionList = (actions: ReadonlySet<string>) => [...actions].join(', ') || 'none';

/** Header comment: the actions covered. */
export function summary({ acting, dryRun }: RbacActions): string[] {
  return [
    `Actions that are carried out: ${actionList(acting)}.`,
    ...(dryRun.size > 0 ? [`Dry-run only: ${actionList(dryRun)}.`] : []),
  ];
}

export function roleYaml(rules: readonly RbacRule[], actions: RbacActions): string {
  const document = new Document(clusterRole(rules), { aliasDuplicateObjects: false });
  document.commentBefore = summary(actions)
    .map((line) => ` ${line}`)
    .join('\n');
  const list = document.get('rules');
  if (isSeq(list)) {
    list.items.forEach((item, index) => {
      if (!isMap(item)) return;
      item.commentBefore = rules[index]?.why.map((line) => ` ${line}`).join('\n') ?? '';
      for (const { value } of item.items) if (isSeq(value)) value.flow = true;
    });
  }
  return document.toString({ lineWidth: 120, flowCollectionPadding: false });
}

interface Options {
  all?: boolean;
  policies?: string;
  json?: boolean;
}

const EXAMPLES = `
Examples:
  bailiff responder rbac                            for the response policies on the bus, including built-in ones
  bailiff responder rbac --policies answers.yaml    for the policies of a file, as for \`bailiff backtest --rules\`
  bailiff responder rbac --all | kubectl apply -f - for every action, as in k8s/base/responder.yaml

A dry-run policy needs only the permissions of the guards. Actions of earlier policies that are still to be undone (labels,
quarantines, cordons) need their permissions until then: remove them afterwards.
`;

/** @throws CliError CLI_CONFIG, CLI_USAGE */
function fromFile(file: string): RbacActions {
  let document: unknown;
  try {
    document = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new CliError('CLI_USAGE', `--policies: ${file}: ${(cause as Error).message}`, { cause });
  }
  return actionsOf(parseRulesFile(document, file).policies.values());
}

function print(out: Out, actions: RbacActions, json: boolean): number {
  const rules = responderRules(actions);
  if (json) out.json(clusterRole(rules));
  else out.io.stdout.write(roleYaml(rules, actions));
  if (json) for (const line of summary(actions)) out.note(line);
  return EXIT.ok;
}

export function register(program: Command, io: CliIo): void {
  const responder = program
    .command('responder')
    .description('permissions of the responder')
    .addHelpText('after', EXAMPLES);
  const command = responder
    .command('rbac')
    .description('print a ClusterRole with exactly the permissions that the configured response policies need')
    .option('--all', 'for every action, without a bus')
    .option('--policies <file>', 'for the response policies of a file, without a bus')
    .option('--json', 'one JSON document instead of YAML')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, ({ all = false, policies, json = false }: Options) => {
    if (all && policies !== undefined) throw new CliError('CLI_USAGE', '--all and --policies exclude each other');
    const offline = all ? EVERY_ACTION : policies === undefined ? null : fromFile(policies);
    if (offline) return print(new Out(io), offline, json);
    return async (session) => {
      const history = new PolicyHistory();
      for (const change of await readConfigChanges(session)) history.apply(change);
      print(session.out, actionsOf(history.latest(Date.now() * 1000).byName.values()), json);
    };
  });
}

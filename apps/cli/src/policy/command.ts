/**
 * `bailiff policy …`: what programs in pods may do. The work is in ../policy/, loaded when a command of these runs: YAML, merging and the
 * model are a good part of the program, and no other command needs them.
 */
import type { Command } from 'commander';
import { parsePod, parseSpan, wholeNumber } from '../shared/arguments.ts';
import { type ChangeOptions, withChangeOptions } from '../shared/config/change-options.ts';
import { showHistory } from '../shared/config/show-history.ts';
import type { CliIo } from '../shared/io.ts';
import { optionsOf, withBusOptions, withSession } from '../shared/session.ts';
import type { OperationFlags } from './explain/parse-operation.ts';
import { parsePolicyName } from './names.ts';

const EXAMPLES = `
Examples:
  bailiff policy apply policies/ --reason "the ready-made ones"
  bailiff policy list
  bailiff policy show escape-guard > escape-guard.yaml      edit, and apply it again
  bailiff policy diff escape-guard.yaml
  bailiff policy rollback escape-guard 3 --reason "4 stopped the builds"

A policy of the cluster is said by its name, one of a namespace as namespace/name.
`;

const NAME_HELP = 'name, or namespace/name';
const FILES_HELP = 'YAML files with one policy a document, folders of them, or - for stdin';

interface Named {
  namespace?: string;
  json?: boolean;
}

interface LearnFlags extends Named {
  pod: string;
  for: string;
  out?: string;
  install?: boolean;
  by?: string;
}
/** A day: jobs of the night are seen. */
const MAX_LEARN_MS = 86_400_000;

const withNamespace = (command: Command) => command.option('-n, --namespace <namespace>', 'policies of a namespace');
const revisionOf = (text: string, flag: string) => wholeNumber(text, flag, 1, 999_999_999);

function registerFiles(parent: Command, io: CliIo): void {
  const apply = withChangeOptions(
    parent
      .command('apply')
      .description('write policies: all are checked first, the difference shown, and all are written or none')
      .argument('<file...>', FILES_HELP)
      .option('--full', 'show new policies whole, not in a line each'),
  ).addHelpText(
    'after',
    `
Examples:
  bailiff policy apply policies/ --dry-run
  bailiff policy apply no-shell.yaml --reason "after the incident of Tuesday" --yes

Exit code: 0 written, or nothing to change; 6 refused, with file:line: field: what is wrong; nothing was written then.
`,
  );
  withBusOptions(apply).action(async (files: string[]) => {
    const policy = await import('./apply.ts');
    const read = await policy.readFiles(files, io);
    io.exitCode = await withSession(io, apply, (session) =>
      policy.apply(session, read, optionsOf<ChangeOptions>(apply)),
    );
  });
  const diff = parent
    .command('diff')
    .description('what applying files would change')
    .argument('<file...>', FILES_HELP)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff policy diff policies/\n');
  withBusOptions(diff).action(async (files: string[]) => {
    const policy = await import('./apply.ts');
    const read = await policy.readFiles(files, io);
    const { json = false } = optionsOf<{ json?: boolean }>(diff);
    io.exitCode = await withSession(io, diff, (session) => policy.diff(session, read, json));
  });
}

function registerShow(parent: Command, io: CliIo): void {
  const list = withNamespace(parent.command('list').description('the policies that are stored'))
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff policy list --namespace shop\n');
  withBusOptions(list).action(async () => {
    const policy = await import('./show.ts');
    const { namespace, json = false } = optionsOf<Named>(list);
    io.exitCode = await withSession(io, list, (session) => policy.list(session, namespace, json));
  });
  const show = withNamespace(
    parent.command('show').description('a policy as YAML that can be applied again').argument('<name>', NAME_HELP),
  )
    .option('--revision <n>', 'an earlier one')
    .option('--json', 'with its revision, time, who and why')
    .addHelpText(
      'after',
      `
Example:
  bailiff policy show shop/no-shell > no-shell.yaml

It says its revision: applied after somebody else wrote, it is refused. Take the line out to write nevertheless.
`,
    );
  withBusOptions(show).action(async (name: string) => {
    const policy = await import('./show.ts');
    const { namespace, revision, json = false } = optionsOf<Named & { revision?: string }>(show);
    const options = {
      ...(namespace === undefined ? {} : { namespace }),
      revision: revision === undefined ? null : revisionOf(revision, '--revision'),
      json,
    };
    io.exitCode = await withSession(io, show, (session) => policy.show(session, name, options));
  });
  const past = withNamespace(
    parent.command('history').description('who changed a policy, when, how much and why').argument('<name>', NAME_HELP),
  )
    .option('--json', 'one JSON object a line, with the values')
    .addHelpText('after', '\nExample:\n  bailiff policy history escape-guard\n');
  withBusOptions(past).action(async (name: string) => {
    const { namespace, json = false } = optionsOf<Named>(past);
    const key = parsePolicyName(name, namespace);
    io.exitCode = await withSession(io, past, (session) => showHistory(session, key, json));
  });
}

function registerChange(parent: Command, io: CliIo): void {
  const remove = withNamespace(
    withChangeOptions(
      parent
        .command('delete')
        .description('take policies away: all or none')
        .argument('<name...>', NAME_HELP)
        .option('--full', 'show what is deleted whole, not in a line each'),
    ),
  ).addHelpText('after', '\nExample:\n  bailiff policy delete shop/no-shell --reason "it is gone"\n');
  withBusOptions(remove).action(async (names: string[]) => {
    const policy = await import('./apply.ts');
    const options = optionsOf<ChangeOptions & Named>(remove);
    io.exitCode = await withSession(io, remove, (session) => policy.remove(session, names, options.namespace, options));
  });
  const back = withNamespace(
    withChangeOptions(
      parent
        .command('rollback')
        .description('write an earlier policy again, as a new revision')
        .argument('<name>', NAME_HELP)
        .argument('[revision]', 'which one (default: the last that differs from what holds now)'),
    ),
  ).addHelpText('after', '\nExample:\n  bailiff policy rollback escape-guard 3 --reason "4 stopped the builds"\n');
  withBusOptions(back).action(async (name: string, revision: string | undefined) => {
    const options = optionsOf<ChangeOptions & Named>(back);
    const key = parsePolicyName(name, options.namespace);
    const to = revision === undefined ? null : revisionOf(revision, 'revision');
    const [{ rollBack }, { yamlLines }] = await Promise.all([
      import('../shared/config/rollback.ts'),
      import('../shared/text/yaml.ts'),
    ]);
    io.exitCode = await withSession(io, back, (session) => rollBack(session, key, to, options, yamlLines));
  });
}

function registerExplain(parent: Command, io: CliIo): void {
  const command = withNamespace(
    parent
      .command('explain')
      .description(
        'what holds for a pod: which policy each rule is of, postures, conflicts; or what becomes of one operation',
      )
      .argument('<pod>', 'namespace/name, name or uid of a pod'),
  )
    .option(
      '--operation <name>',
      'instead: which rule decides about it, such as read, execute, connect, socket, capability',
    )
    .option('--path <path>', 'of what is done to a file or a unix socket')
    .option('--abstract <name>', 'of a unix socket without a file')
    .option('--address <ip>', 'of connect, send, bind, listen')
    .option('--port <port>', 'likewise')
    .option('--protocol <protocol>', 'likewise: tcp, udp, icmp, … or a number (default: tcp)')
    .option('--value <value>', 'of socket (inet/raw/icmp), capability (net_raw), mount, kernel, drift')
    .option('--executable <path...>', 'the program that does it, then the one that started it, and so on')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy explain shop/web-0
  bailiff policy explain shop/web-0 --operation write --path /etc/passwd --executable /usr/bin/vi /bin/sh
  bailiff policy explain shop/web-0 --operation connect --address 169.254.169.254 --port 80
  bailiff policy explain shop/web-0 --operation socket --value inet/raw/icmp

Symbolic links are followed before a rule is asked: name the file that the path leads to.
`,
    );
  withBusOptions(command).action(async (name: string) => {
    const options = optionsOf<Named & OperationFlags>(command);
    const pod = parsePod(name, 'pod', options.namespace);
    const [{ explainPod }, { parseOperation }] = await Promise.all([
      import('./explain/explain.ts'),
      import('./explain/parse-operation.ts'),
    ]);
    const asked = parseOperation(options);
    io.exitCode = await withSession(io, command, (session) => explainPod(session, pod, asked, options.json ?? false));
  });
}

function registerStatus(parent: Command, io: CliIo): void {
  const command = withNamespace(
    parent
      .command('status')
      .description('where each policy is in force: on how many nodes, for how many pods, and why not on the others')
      .argument('[name]', 'one policy, node by node'),
  )
    .option('--wait <duration>', 'look again until all are in force everywhere, this long at most')
    .option('--stale-after <duration>', 'a node that has said nothing for this long is silent', '60s')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy status
  bailiff policy status no-shell --wait 10s        after a change, before going on

Exit code: 0 in force on every node that enforces policies; 7 a node is silent, missing or has not taken a change; 3 a node's kernel cannot
enforce policies; 6 a node refuses a policy.
`,
    );
  withBusOptions(command).action(async (name: string | undefined) => {
    const options = optionsOf<Named & { wait?: string; staleAfter: string }>(command);
    const { status } = await import('./status.ts');
    const asked = {
      ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
      json: options.json ?? false,
      staleMs: parseSpan(options.staleAfter, '--stale-after'),
      waitMs: options.wait === undefined ? 0 : parseSpan(options.wait, '--wait'),
    };
    io.exitCode = await withSession(io, command, (session) => status(session, name, asked));
  });
}

function registerLearn(parent: Command, io: CliIo): void {
  const command = parent
    .command('learn')
    .description('watch what a pod does and propose the least policy, as YAML to be reviewed')
    .requiredOption('--pod <pod>', 'namespace/name, name or uid of a pod')
    .requiredOption('--for <duration>', 'how long, such as 10m')
    .option('-n, --namespace <namespace>', 'of the pod')
    .option('--out <file>', 'where to write it (default: stdout)')
    .option('--install', 'put a policy in place that audits all that it does, and take it away afterwards')
    .option('--by <name>', 'with --install: who, for the log (default: user@host)')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Example:
  bailiff policy learn --pod shop/web-0 --for 10m --install --out web.yaml

Use the pod as it is used in earnest while this watches, its start and its rare jobs too: what it was not seen to do is refused once the
policy is enforced. The proposal is in audit mode and refuses nothing. Ctrl-C ends the watching and proposes what was seen until then.

Exit code: 0 a policy is proposed; 2 nothing to propose, or the pod cannot be watched as asked; as \`policy status\`: 3 the kernel of its node
cannot enforce policies, 7 its node is silent or missing.
`,
    );
  withBusOptions(command).action(async () => {
    const options = optionsOf<LearnFlags>(command);
    const asked = {
      pod: parsePod(options.pod, '--pod', options.namespace),
      forMs: parseSpan(options.for, '--for', MAX_LEARN_MS),
      out: options.out ?? null,
      install: options.install ?? false,
      by: options.by ?? io.operator,
      json: options.json ?? false,
    };
    const { learn } = await import('./learn/learn.ts');
    io.exitCode = await withSession(io, command, (session) => learn(session, asked));
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('policy')
    .description(
      'what programs in pods may do: policies of the runtime half, where they are in force, what they decide',
    )
    .addHelpText('after', EXAMPLES);
  registerFiles(command, io);
  registerShow(command, io);
  registerChange(command, io);
  registerStatus(command, io);
  registerExplain(command, io);
  registerLearn(command, io);
}

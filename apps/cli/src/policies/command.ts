/**
 * `bailiff policy`: runtime policies. Subcommands load their implementation on use, because YAML,
 * merging and the decision model are large and no other command needs them.
 */
import { readBusTime } from '@bailiff/insight';
import type { ConfigSigner } from '@bailiff/policy';
import { STALE_NODE_MS } from '@bailiff/response';
import { type Command, Option } from 'commander';
import { parsePod, parseSpan, parseWhen, wholeNumber } from '../shared/arguments.ts';
import { registerCases } from '../shared/cases.ts';
import { type ChangeOptions, withChangeOptions } from '../shared/config/change.ts';
import { rollBack, showHistory } from '../shared/config/history.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readSigner, SIGN_HELP } from '../shared/key-file.ts';
import { readPolicyFiles } from '../shared/policy/files.ts';
import { parsePolicyName } from '../shared/policy/names.ts';
import { onBus } from '../shared/session.ts';
import { yamlLines } from '../shared/text/yaml.ts';
import { type ApplyOptions, apply, diff, remove } from './apply.ts';
import { explainPod } from './explain/explain.ts';
import { type OperationFlags, parseOperation } from './explain/parse-operation.ts';
import { learn, learnRecorded } from './learn/learn.ts';
import { promote } from './promote.ts';
import { list, show } from './show.ts';
import { registerSimulate } from './simulate/simulate.ts';
import { status } from './status.ts';
import { testPolicies } from './test.ts';

const EXAMPLES = `
Examples:
  bailiff policy apply policies/ --reason "ready-made policies"
  bailiff policy promote escape-guard                       from audit to enforce; shows what would have been denied
  bailiff policy simulate no-shell.yaml --since 7d          which recorded operations it would have denied
  bailiff policy list
  bailiff policy show escape-guard > escape-guard.yaml      edit, and apply it again
  bailiff policy diff escape-guard.yaml
  bailiff policy rollback escape-guard 3 --reason "4 stopped the builds"

Name a cluster policy as <name>, a policy of a namespace as <namespace>/<name>.
`;

const MODES = ['audit', 'enforce'] as const;
const NAME_HELP = 'name, or namespace/name';
const FILES_HELP = 'YAML files with one policy per document, folders of such files, or - for stdin';

interface Named {
  namespace?: string;
  json?: boolean;
}

interface LearnFlags extends Named {
  pod: string;
  for?: string;
  since?: string;
  out?: string;
  install?: boolean;
  record?: boolean;
  by?: string;
  sign?: ConfigSigner;
}
/** One day, so that nightly jobs are included. */
const MAX_LEARN_MS = 86_400_000;

const withNamespace = (command: Command) => command.option('-n, --namespace <namespace>', 'policies of a namespace');
const revisionOf = (text: string, flag: string) => wholeNumber(text, flag, 1, 999_999_999);

const TEST_EXAMPLES = `
Example:
  bailiff policy test cases/policies/ --junit results.xml

A file of cases:
  policies: [no-shell.yaml]       files or folders, relative to this file
  pod: {namespace: shop, labels: {bailiff.dev/no-shell: "true"}}
  tests:
    - {name: no shell, operation: execute, path: /usr/bin/dash, expect: block, by: no-shell/shell}
    - {name: the program itself, operation: execute, path: /usr/bin/nginx, expect: pass}

The other fields are the flags of \`bailiff policy explain\`. \`expect\` is pass, audit, block or kill.
`;

function registerTest(parent: Command, io: CliIo): void {
  registerCases(parent, io, {
    description: 'decide the operations of case files, and compare the decisions with the expected ones',
    examples: TEST_EXAMPLES,
    run: (files) => testPolicies(files, io),
  });
}

function registerFiles(parent: Command, io: CliIo): void {
  const applying = withChangeOptions(
    parent
      .command('apply')
      .description('write policies: checks all, shows the difference, writes all or none')
      .argument('<file...>', FILES_HELP)
      .option('--full', 'show new policies in full instead of one line each')
      .addOption(new Option('--mode <mode>', 'store this mode instead of the one in each file').choices(MODES)),
  ).addHelpText(
    'after',
    `
Examples:
  bailiff policy apply policies/ --dry-run
  bailiff policy apply policies/ --mode audit --reason "observe first"
  bailiff policy apply no-shell.yaml --reason "after the incident of Tuesday" --yes

Exit codes: 0 written, or nothing to change; 6 refused with file:line: field: reason, nothing was written.
`,
  );
  onBus(applying, io, async (options: ApplyOptions, files: string[]) => {
    const read = await readPolicyFiles(files, io);
    return (session) => apply(session, read, options);
  });
  const comparing = parent
    .command('diff')
    .description('show what `apply` would change')
    .argument('<file...>', FILES_HELP)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff policy diff policies/\n');
  onBus(comparing, io, async ({ json = false }: { json?: boolean }, files: string[]) => {
    const read = await readPolicyFiles(files, io);
    return (session) => diff(session, read, json);
  });
}

function registerShow(parent: Command, io: CliIo): void {
  const all = withNamespace(parent.command('list').description('list the stored policies'))
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff policy list --namespace shop\n');
  onBus(all, io, ({ namespace, json = false }: Named) => {
    return (session) => list(session, namespace, json);
  });
  const one = withNamespace(
    parent
      .command('show')
      .description('print a policy as YAML that can be applied again')
      .argument('<name>', NAME_HELP),
  )
    .option('--revision <n>', 'an earlier revision')
    .option('--json', 'include revision, time, author and reason')
    .addHelpText(
      'after',
      `
Example:
  bailiff policy show shop/no-shell > no-shell.yaml

The output contains the revision, so that applying it is refused if the policy has changed since. Remove the line to overwrite.
`,
    );
  onBus(one, io, ({ namespace, revision, json = false }: Named & { revision?: string }, name: string) => {
    const options = {
      ...(namespace === undefined ? {} : { namespace }),
      revision: revision === undefined ? null : revisionOf(revision, '--revision'),
      json,
    };
    return (session) => show(session, name, options);
  });
  const past = withNamespace(
    parent
      .command('history')
      .description('list the changes of a policy with time, author and reason')
      .argument('<name>', NAME_HELP),
  )
    .option('--json', 'one JSON object per line, with the values')
    .addHelpText('after', '\nExample:\n  bailiff policy history escape-guard\n');
  onBus(past, io, ({ namespace, json = false }: Named, name: string) => {
    const key = parsePolicyName(name, namespace);
    return (session) => showHistory(session, key, json);
  });
}

function registerChange(parent: Command, io: CliIo): void {
  const deleting = withNamespace(
    withChangeOptions(
      parent
        .command('delete')
        .description('delete policies, all or none')
        .argument('<name...>', NAME_HELP)
        .option('--full', 'show deleted policies in full instead of one line each'),
    ),
  ).addHelpText('after', '\nExample:\n  bailiff policy delete shop/no-shell --reason "the workload is gone"\n');
  onBus(deleting, io, (options: ChangeOptions & Named, names: string[]) => {
    return (session) => remove(session, names, options.namespace, options);
  });
  const back = withNamespace(
    withChangeOptions(
      parent
        .command('rollback')
        .description('restore an earlier policy as a new revision')
        .argument('<name>', NAME_HELP)
        .argument('[revision]', 'revision to restore (default: the last that differs from the current one)'),
    ),
  ).addHelpText('after', '\nExample:\n  bailiff policy rollback escape-guard 3 --reason "4 stopped the builds"\n');
  onBus(back, io, (options: ChangeOptions & Named, name: string, revision: string | undefined) => {
    const key = parsePolicyName(name, options.namespace);
    const to = revision === undefined ? null : revisionOf(revision, 'revision');
    return (session) => rollBack(session, key, to, options, yamlLines);
  });
}

function registerExplain(parent: Command, io: CliIo): void {
  const command = withNamespace(
    parent
      .command('explain')
      .description('policies, rules, postures and conflicts of a pod; or the decision about one operation')
      .argument('<pod>', 'namespace/name, name or uid of a pod'),
  )
    .option(
      '--operation <name>',
      'show which rule decides about this operation: read, execute, connect, socket, capability, …',
    )
    .option('--path <path>', 'path of a file or unix socket')
    .option('--abstract <name>', 'name of an abstract unix socket')
    .option('--address <ip>', 'address for connect, send, bind, listen')
    .option('--port <port>', 'port for connect, send, bind, listen')
    .option('--protocol <protocol>', 'tcp, udp, icmp, … or a number (default: tcp)')
    .option('--value <value>', 'value for socket (inet/raw/icmp), capability (net_raw), mount, kernel, drift')
    .option('--executable <path...>', 'the program, then its ancestors')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy explain shop/web-0
  bailiff policy explain shop/web-0 --operation write --path /etc/passwd --executable /usr/bin/vi /bin/sh
  bailiff policy explain shop/web-0 --operation connect --address 169.254.169.254 --port 80
  bailiff policy explain shop/web-0 --operation socket --value inet/raw/icmp

Rules see resolved paths: name the target of a symbolic link.
`,
    );
  onBus(command, io, (options: Named & OperationFlags, name: string) => {
    const pod = parsePod(name, 'pod', options.namespace);
    const asked = parseOperation(options);
    return (session) => explainPod(session, pod, asked, options.json ?? false);
  });
}

function registerStatus(parent: Command, io: CliIo): void {
  const command = withNamespace(
    parent
      .command('status')
      .description('nodes and pods for which each policy is in force, and why not on the others')
      .argument('[name]', 'one policy, with each node'),
  )
    .option('--wait <duration>', 'wait until all policies are in force, at most this long')
    .option('--stale-after <duration>', 'a node without a status for this long is silent', `${STALE_NODE_MS / 1000}s`)
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy status
  bailiff policy status no-shell --wait 10s        wait for a change to take effect

Exit codes: 0 in force on every node that enforces policies; 7 a node is silent, missing or has not applied a change;
3 a node's kernel cannot enforce policies; 6 a node refuses a policy.
`,
    );
  onBus(command, io, (options: Named & { wait?: string; staleAfter: string }, name: string | undefined) => {
    const asked = {
      ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
      json: options.json ?? false,
      staleMs: parseSpan(options.staleAfter, '--stale-after'),
      waitMs: options.wait === undefined ? 0 : parseSpan(options.wait, '--wait'),
    };
    return (session) => status(session, name, asked);
  });
}

function registerLearn(parent: Command, io: CliIo): void {
  const command = parent
    .command('learn')
    .description('observe a pod and propose a minimal policy as YAML, for review')
    .requiredOption('--pod <pod>', 'namespace/name, name or uid of a pod')
    .option('--for <duration>', 'observe it this long from now on, such as 10m')
    .option('--since <when>', 'instead of observing: propose from what is recorded since then, and write nothing')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--out <file>', 'output file (default: stdout)')
    .option('--install', 'install a temporary policy that audits all operations of the pod')
    .option('--record', 'the same, and count each operation exactly, for `policy simulate`')
    .option('--by <name>', 'with --install: author, for the change log (default: user@host)')
    .option('--sign <keyfile>', `with --install: ${SIGN_HELP}`, readSigner)
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy learn --pod shop/web-0 --for 10m --install --out web.yaml
  bailiff policy learn --pod shop/web-0 --since 1h    from what an audited posture or \`--record\` has recorded already

Use the pod as in production during the observation, including its start and rare jobs: operations that were not
observed are denied once the policy is enforced. The proposal is in audit mode and denies nothing. Ctrl-C ends the
observation and proposes what was observed so far.

Exit codes: 0 a policy is proposed; 2 nothing to propose, or the pod cannot be observed; 3 the kernel of its node
cannot enforce policies; 7 its node is silent or missing.
`,
    );
  onBus(command, io, (options: LearnFlags) => {
    const { since, for: duration, out = null, json = false } = options;
    const pod = parsePod(options.pod, '--pod', options.namespace);
    if ((since === undefined) === (duration === undefined)) {
      throw new CliError('CLI_USAGE', 'pass either --for or --since', {
        remedy: '--for observes the pod from now on; --since proposes from what is recorded already',
      });
    }
    if (since !== undefined) {
      if (options.install || options.record)
        throw new CliError('CLI_USAGE', '--since writes nothing: --install and --record need --for');
      const from = parseWhen(since, '--since');
      return async (session) =>
        learnRecorded(session, { pod, since, sinceMs: from(await readBusTime(session)), out, json });
    }
    const asked = {
      pod,
      forMs: parseSpan(duration ?? '', '--for', MAX_LEARN_MS),
      out,
      install: options.install ?? false,
      record: options.record ?? false,
      by: options.by ?? io.operator,
      ...(options.sign ? { sign: options.sign } : {}),
      json,
    };
    return (session) => learn(session, asked);
  });
}

function registerPromote(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('promote')
      .description('enforce a policy that is in audit; first show what enforcing would have denied')
      .argument('<name>', 'name, or namespace/name')
      .option('-n, --namespace <namespace>', 'policies of a namespace')
      .option('--since <when>', 'start of the range of violations', '7d'),
  ).addHelpText(
    'after',
    `
Examples:
  bailiff policy promote no-shell --dry-run --since 7d      only show what would have been denied
  bailiff policy promote shop/no-shell --reason "seven quiet days" --yes

Violations are recorded only where the policy is in force, and as long as the bus keeps them. To go back:
bailiff policy rollback NAME.

Exit codes: 0 enforced, or enforced before; 2 no such policy, or not confirmed; 6 refused, nothing was written.
`,
  );
  onBus(command, io, ({ since, ...options }: ChangeOptions & { namespace?: string; since: string }, name: string) => {
    const from = parseWhen(since, '--since');
    return async (session) => promote(session, name, { ...options, since, sinceMs: from(await readBusTime(session)) });
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('policy')
    .description('runtime policies: what programs in pods may do')
    .addHelpText('after', EXAMPLES);
  registerFiles(command, io);
  registerTest(command, io);
  registerSimulate(command, io, FILES_HELP);
  registerShow(command, io);
  registerChange(command, io);
  registerPromote(command, io);
  registerStatus(command, io);
  registerExplain(command, io);
  registerLearn(command, io);
}

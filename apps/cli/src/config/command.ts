/** `bailiff config …`: what operators tune, under keys `<kind>.<scope>.<namespace or _>.<name>`. */
import { ConfigError, checkConfigWrite, formatConfigKey } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf, parseName, parsePod, wholeNumber } from '../shared/arguments.ts';
import { carryOut, readStored, valueIn } from '../shared/config/change.ts';
import { type ChangeOptions, withChangeOptions } from '../shared/config/change-options.ts';
import { noSuchKey, requireComplete, suggestedKey } from '../shared/config/new-key.ts';
import { rollBack } from '../shared/config/rollback.ts';
import { showHistory } from '../shared/config/show-history.ts';
import { builtIn, CONFIG_KINDS, initialValue, parseKey } from '../shared/config-keys/keys.ts';
import { readDocument } from '../shared/document.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { Out, optionsOf, withBusOptions, withSession } from '../shared/session.ts';
import { type Assignment, assign, parseAssignment } from './assignments.ts';
import { release } from './release.ts';
import { get, list } from './show.ts';
import { registerTree } from './tree/command.ts';

const KEY_HELP = 'key, such as spoof.cluster._.default';

const EXAMPLES = `
Keys:
  spoof.cluster._.default                 how strict, for the whole cluster
  spoof.namespace.<namespace>.default     the same for a namespace
  spoof.workload.<namespace>.<owner>      the same for the pods of one owner
  correlation.cluster._.<rule>            when violations become a verdict
  response.cluster._.<policy>             what is done about verdicts
  runtime.cluster._.<policy>              what programs of pods may do: see bailiff policy --help

Examples:
  bailiff config list
  bailiff config get response.cluster._.answer-high
  bailiff config set spoof.namespace.shop.default modes.tunnel=audit --reason "their VPN, until Friday"
  bailiff config set response.cluster._.answer-high -f answer-high.yaml --yes
  bailiff config validate response.cluster._.answer-high -f answer-high.yaml
  bailiff config effective shop/web-0                      what holds for a pod, and why
  bailiff config history spoof.cluster._.default
  bailiff config rollback spoof.cluster._.default --reason "too strict"
  bailiff config release correlation.cluster._.port-scan   let a custom resource have the key
  bailiff config export cluster-1/                         as files, one a key; import writes them again
`;

/** The value that arguments give, on the ground of what is stored. */
async function valueGiven(
  file: string | undefined,
  fields: readonly Assignment[],
  base: Record<string, unknown>,
  io: CliIo,
) {
  const document = file === undefined ? base : await readDocument(file, io);
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new CliError('CLI_CONFIG', `${file}: a configuration is an object of fields`);
  }
  return assign(document as Record<string, unknown>, fields);
}

function requireSomething(file: string | undefined, fields: readonly string[]): void {
  if (file !== undefined || fields.length > 0) return;
  throw new CliError('CLI_USAGE', 'what is to be set?', { remedy: 'give field=value, or a file with -f (- is stdin)' });
}

function registerSet(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('set')
      .description('write a value: a whole one from a file, or single fields of what is there')
      .argument('<key>', KEY_HELP)
      .argument('[field=value...]', 'modes.tunnel=audit, condition.gte=20, dryRun=false; modes.tunnel- takes one out')
      .option('-f, --file <file>', 'JSON or YAML; - is stdin'),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config set response.cluster._.answer-high dryRun=false --reason "observed for two weeks"\n',
  );
  withBusOptions(command).action(async (text: string, fields: string[]) => {
    const options = optionsOf<ChangeOptions & { file?: string }>(command);
    const key = parseKey(text);
    const assignments = fields.map(parseAssignment);
    requireSomething(options.file, fields);
    io.exitCode = await withSession(io, command, async (session) => {
      const stored = await readStored(session, key);
      const { revision: _renewed, ...base } = (valueIn(stored) ?? initialValue(key)) as Record<string, unknown>;
      const next = await valueGiven(options.file, assignments, base, io);
      const isNew = !stored && builtIn(key) === undefined;
      if (isNew && options.file === undefined) await requireComplete(session, key, next);
      return carryOut(session, { key, stored, next, because: 'bailiff config set' }, options);
    });
  });
}

function registerValidate(parent: Command, io: CliIo): void {
  const command = parent
    .command('validate')
    .description(
      'check a value without a bus: exit 0 when it would be taken, 6 with the path of each wrong field when not',
    )
    .argument('<key>', KEY_HELP)
    .argument('[field=value...]', 'single fields, on the ground of the built-in value')
    .option('-f, --file <file>', 'JSON or YAML; - is stdin')
    .option('--json', 'one JSON document: {key, valid, fields, message}')
    .addHelpText('after', '\nExample:\n  bailiff config validate correlation.cluster._.port-scan -f port-scan.yaml\n');
  command.action(async (text: string, fields: string[]) => {
    const { file, json } = optionsOf<{ file?: string; json?: boolean }>(command);
    const key = parseKey(text);
    requireSomething(file, fields);
    const out = new Out(io);
    const value = await valueGiven(file, fields.map(parseAssignment), initialValue(key), io);
    const isNew = builtIn(key) === undefined;
    try {
      checkConfigWrite(key, JSON.stringify(value));
    } catch (error) {
      // Without a bus only the keys that are built in are known.
      const none = isNew && file === undefined ? noSuchKey(key, error, []) : null;
      if (!json || !(error instanceof ConfigError)) throw none ?? error;
      out.json({ key: text, valid: false, fields: error.fields, message: error.message });
      io.exitCode = 6;
      return;
    }
    if (json) out.json({ key: text, valid: true, fields: [], message: '' });
    else out.line(`${formatConfigKey(key)}: valid`);
    const meant = isNew ? suggestedKey(key, []) : null;
    if (meant !== null) out.note(`no such key is built in; did you mean ${meant}?`);
  });
}

function registerRollback(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('rollback')
      .description('write an earlier value again, as a new revision')
      .argument('<key>', KEY_HELP)
      .option('--to <revision>', 'which one (default: the last that differs from what holds now)'),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config rollback spoof.cluster._.default --to 4 --reason "5 cut the VPN pods off"\n',
  );
  withBusOptions(command).action(async (text: string) => {
    const options = optionsOf<ChangeOptions & { to?: string }>(command);
    const key = parseKey(text);
    const to = options.to === undefined ? null : wholeNumber(options.to, '--to', 1, 999_999_999);
    io.exitCode = await withSession(io, command, (session) => rollBack(session, key, to, options));
  });
}

function registerDelete(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('delete')
      .description('take a value away: what is built in, or wider, holds again')
      .argument('<key>', KEY_HELP),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config delete spoof.namespace.shop.default --reason "their VPN is gone"\n',
  );
  withBusOptions(command).action(async (text: string) => {
    const options = optionsOf<ChangeOptions>(command);
    const key = parseKey(text);
    io.exitCode = await withSession(io, command, async (session) => {
      const stored = await readStored(session, key);
      return carryOut(session, { key, stored, next: null, because: 'bailiff config delete' }, options);
    });
  });
}

function registerRelease(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('release')
      .description(
        'let a custom resource have a key: the value stands, kept by nobody, until one that means it takes it',
      )
      .argument('<key>', KEY_HELP),
  ).addHelpText(
    'after',
    `
Of a key that a resource keeps (--take-over) the value then outlives the resource.

Example:
  bailiff config release correlation.cluster._.port-scan --reason "in the repository from now on"
`,
  );
  withBusOptions(command).action(async (text: string) => {
    const options = optionsOf<ChangeOptions>(command);
    const key = parseKey(text);
    io.exitCode = await withSession(io, command, (session) => release(session, key, options));
  });
}

function registerShow(parent: Command, io: CliIo): void {
  const all = parent
    .command('list')
    .description('keys: what is stored, by whom and why, and what is built in')
    .option('--kind <kind>', CONFIG_KINDS.join(', '))
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff config list --kind correlation\n');
  withBusOptions(all).action(async () => {
    const { kind, json = false } = optionsOf<{ kind?: string; json?: boolean }>(all);
    if (kind !== undefined) oneOf(kind, CONFIG_KINDS, '--kind');
    io.exitCode = await withSession(io, all, (session) => list(session, kind, json));
  });
  const one = parent
    .command('get')
    .description('a value as JSON: what is stored, or else what is built in')
    .argument('<key>', KEY_HELP)
    .option('--revision <n>', 'an earlier one')
    .option('--json', 'with its revision, time, who and why')
    .addHelpText('after', '\nExample:\n  bailiff config get spoof.cluster._.default > strictness.json\n');
  withBusOptions(one).action(async (text: string) => {
    const key = parseKey(text);
    const { revision, json = false } = optionsOf<{ revision?: string; json?: boolean }>(one);
    const which = revision === undefined ? null : wholeNumber(revision, '--revision', 1, 999_999_999);
    io.exitCode = await withSession(io, one, (session) => get(session, key, which, json));
  });
  const past = parent
    .command('history')
    .description('who changed a key, when, how much and why')
    .argument('<key>', KEY_HELP)
    .option('--json', 'one JSON object a line, with the values')
    .addHelpText('after', '\nExample:\n  bailiff config history spoof.cluster._.default\n');
  withBusOptions(past).action(async (text: string) => {
    const key = parseKey(text);
    const { json = false } = optionsOf<{ json?: boolean }>(past);
    io.exitCode = await withSession(io, past, (session) => showHistory(session, key, json));
  });
}

function registerEffective(parent: Command, io: CliIo): void {
  const command = parent
    .command('effective')
    .description('what holds for a pod after all scopes, and whose word each value is: built in, or which key, by whom')
    .argument('[pod]', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'of this namespace; without a pod: for pods that are still to come')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  bailiff config effective shop/web-0\n  bailiff config effective --namespace shop --json\n',
    );
  withBusOptions(command).action(async (name: string | undefined) => {
    const { namespace, json = false } = optionsOf<{ namespace?: string; json?: boolean }>(command);
    const within = namespace === undefined ? undefined : parseName(namespace, '--namespace');
    const { requireAsked, showEffective } = await import('./show-effective.ts');
    const asked = requireAsked(name === undefined ? null : parsePod(name, 'pod', namespace), within);
    io.exitCode = await withSession(io, command, (session) => showEffective(session, asked, json));
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('config')
    .description('what operators tune: how strict, what becomes a verdict, what is done about it')
    .addHelpText('after', EXAMPLES);
  registerShow(command, io);
  registerEffective(command, io);
  registerSet(command, io);
  registerValidate(command, io);
  registerRollback(command, io);
  registerDelete(command, io);
  registerRelease(command, io);
  registerTree(command, io);
}

/**
 * `bailiff config`: the stored configuration under keys `<kind>.<scope>.<namespace or _>.<name>`.
 */

import { writeConfig } from '@bailiff/bus';
import { ConfigError, type ConfigKey, checkConfigWrite, formatConfigKey } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf, parseName, parsePod, wholeNumber } from '../../shared/arguments.ts';
import { type Assignment, assign, parseAssignment } from '../../shared/config/assignments.ts';
import {
  type ChangeOptions,
  carryOut,
  noteOf,
  readStored,
  refuseUnread,
  valueIn,
  valueToEdit,
  withChangeOptions,
} from '../../shared/config/change.ts';
import { rollBack, showHistory } from '../../shared/config/history.ts';
import { ownerJson, ownerText, refuseOwned } from '../../shared/config/owner.ts';
import { noSuchKey, requireComplete, suggestedKey } from '../../shared/config/suggestions.ts';
import { builtIn, CONFIG_KINDS, initialValue, parseKey } from '../../shared/config-keys/keys.ts';
import { confirm } from '../../shared/confirm.ts';
import { CliError } from '../../shared/errors.ts';
import { readDocument } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import { Out, onBus, optionsOf, type Session } from '../../shared/session.ts';
import { requireScope, showEffective } from './render-effective.ts';
import { get, list } from './show.ts';
import { registerSigning } from './sign.ts';
import { registerTree } from './tree.ts';

const KEY_HELP = 'key, such as spoof.cluster._.default';

const EXAMPLES = `
Keys:
  spoof.cluster._.default                 modes of the network vectors for the cluster
  spoof.namespace.<namespace>.default     the same for a namespace
  spoof.workload.<namespace>.<owner>      the same for the pods of one owner
  correlation.cluster._.<rule>            when violations become a verdict
  response.cluster._.<policy>             actions for verdicts
  runtime.cluster._.<policy>              what programs in pods may do: see bailiff policy --help

Examples:
  bailiff config list
  bailiff config get response.cluster._.answer-high
  bailiff config set spoof.namespace.shop.default modes.tunnel=audit --reason "their VPN, until Friday"
  bailiff config set response.cluster._.answer-high -f answer-high.yaml --yes
  bailiff config validate response.cluster._.answer-high -f answer-high.yaml
  bailiff config effective shop/web-0                      effective values of a pod, and their origin
  bailiff config history spoof.cluster._.default
  bailiff config rollback spoof.cluster._.default --reason "too strict"
  bailiff config release correlation.cluster._.port-scan   let a custom resource take the key
  bailiff config sign --sign anna@prod.key                 sign stored values; set, apply and others have --sign too
  bailiff config export cluster-1/                         write one file per key; import reads them
`;

/** The value from file and assignments, applied to the stored one. */
async function resolveValue(
  file: string | undefined,
  fields: readonly Assignment[],
  base: Record<string, unknown>,
  io: CliIo,
) {
  const document = file === undefined ? base : await readDocument(file, io);
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new CliError('CLI_CONFIG', `${file}: a value must be an object of fields`);
  }
  return assign(document as Record<string, unknown>, fields);
}

function requireValue(file: string | undefined, fields: readonly string[]): void {
  if (file !== undefined || fields.length > 0) return;
  throw new CliError('CLI_USAGE', 'no value is given', { remedy: 'pass field=value, or a file with -f (- for stdin)' });
}

function registerSet(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('set')
      .description('write a value from a file, or change single fields')
      .argument('<key>', KEY_HELP)
      .argument('[field=value...]', 'modes.tunnel=audit, condition.gte=20, dryRun=false; modes.tunnel- removes a field')
      .option('-f, --file <file>', 'JSON or YAML; - for stdin'),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config set response.cluster._.answer-high dryRun=false --reason "observed for two weeks"\n',
  );
  onBus(command, io, (options: ChangeOptions & { file?: string }, text: string, fields: string[]) => {
    const key = parseKey(text);
    const assignments = fields.map(parseAssignment);
    requireValue(options.file, fields);
    return async (session) => {
      const stored = await readStored(session, key);
      const next = await resolveValue(options.file, assignments, valueToEdit(key, stored), io);
      const isNew = !stored && builtIn(key) === undefined;
      if (isNew && options.file === undefined) await requireComplete(session, key, next);
      const basis = options.file === undefined ? stored : null;
      return carryOut(session, { key, stored, next, basis, because: 'bailiff config set' }, options);
    };
  });
}

function registerValidate(parent: Command, io: CliIo): void {
  const command = parent
    .command('validate')
    .description('check a value without a bus: exit code 0 if it is valid, 6 with each wrong field if not')
    .argument('<key>', KEY_HELP)
    .argument('[field=value...]', 'single fields, applied to the built-in value')
    .option('-f, --file <file>', 'JSON or YAML; - for stdin')
    .option('--json', 'one JSON document: {key, valid, fields, message}')
    .addHelpText('after', '\nExample:\n  bailiff config validate correlation.cluster._.port-scan -f port-scan.yaml\n');
  command.action(async (text: string, fields: string[]) => {
    const { file, json } = optionsOf<{ file?: string; json?: boolean }>(command);
    const key = parseKey(text);
    requireValue(file, fields);
    const out = new Out(io);
    const value = await resolveValue(file, fields.map(parseAssignment), initialValue(key), io);
    const isNew = builtIn(key) === undefined;
    try {
      checkConfigWrite(key, JSON.stringify(value));
    } catch (error) {
      // Without a bus, only built-in keys are known.
      const unknownKey = isNew && file === undefined ? noSuchKey(key, error, []) : null;
      if (!json || !(error instanceof ConfigError)) throw unknownKey ?? error;
      out.json({ key: text, valid: false, fields: error.fields, message: error.message });
      io.exitCode = 6;
      return;
    }
    if (json) out.json({ key: text, valid: true, fields: [], message: '' });
    else out.line(`${formatConfigKey(key)}: valid`);
    const suggestion = isNew ? suggestedKey(key, []) : null;
    if (suggestion !== null) out.note(`this key is not built in; did you mean ${suggestion}?`);
  });
}

function registerRollback(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('rollback')
      .description('restore an earlier value as a new revision')
      .argument('<key>', KEY_HELP)
      .option('--to <revision>', 'revision to restore (default: the last that differs from the current value)'),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config rollback spoof.cluster._.default --to 4 --reason "5 cut the VPN pods off"\n',
  );
  onBus(command, io, (options: ChangeOptions & { to?: string }, text: string) => {
    const key = parseKey(text);
    const to = options.to === undefined ? null : wholeNumber(options.to, '--to', 1, 999_999_999);
    return (session) => rollBack(session, key, to, options);
  });
}

function registerDelete(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('delete')
      .description('delete a value; the built-in value or a wider scope applies again')
      .argument('<key>', KEY_HELP),
  ).addHelpText(
    'after',
    '\nExample:\n  bailiff config delete spoof.namespace.shop.default --reason "their VPN is gone"\n',
  );
  onBus(command, io, (options: ChangeOptions, text: string) => {
    const key = parseKey(text);
    return async (session) => {
      const stored = await readStored(session, key);
      return carryOut(session, { key, stored, next: null, because: 'bailiff config delete' }, options);
    };
  });
}

function registerRelease(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('release')
      .description('give up a key: it keeps its value and has no owner until a custom resource takes it')
      .argument('<key>', KEY_HELP),
  ).addHelpText(
    'after',
    `
For a key that a resource owns, pass --take-over; its value then outlives the resource.

Example:
  bailiff config release correlation.cluster._.port-scan --reason "in the repository from now on"
`,
  );
  onBus(command, io, (options: ChangeOptions, text: string) => {
    const key = parseKey(text);
    return (session) => release(session, key, options);
  });
}

interface ListOptions {
  kind?: string;
  configSigners?: string;
  json?: boolean;
}

function registerShow(parent: Command, io: CliIo): void {
  const all = parent
    .command('list')
    .description('list keys: stored ones with author and reason, and built-in ones')
    .option('--kind <kind>', CONFIG_KINDS.join(', '))
    .option('--config-signers <file>', 'verify signatures by this file, as readers with it do')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff config list --kind correlation\n');
  onBus(all, io, ({ kind, configSigners = '', json = false }: ListOptions) => {
    if (kind !== undefined) oneOf(kind, CONFIG_KINDS, '--kind');
    return (session) => list(session, kind, configSigners, json);
  });
  const one = parent
    .command('get')
    .description('print a value as JSON: the stored one, otherwise the built-in one')
    .argument('<key>', KEY_HELP)
    .option('--revision <n>', 'an earlier revision')
    .option('--json', 'include revision, time, author and reason')
    .addHelpText('after', '\nExample:\n  bailiff config get spoof.cluster._.default > strictness.json\n');
  onBus(one, io, ({ revision, json = false }: { revision?: string; json?: boolean }, text: string) => {
    const key = parseKey(text);
    const which = revision === undefined ? null : wholeNumber(revision, '--revision', 1, 999_999_999);
    return (session) => get(session, key, which, json);
  });
  const past = parent
    .command('history')
    .description('list the changes of a key with time, author and reason')
    .argument('<key>', KEY_HELP)
    .option('--json', 'one JSON object per line, with the values')
    .addHelpText('after', '\nExample:\n  bailiff config history spoof.cluster._.default\n');
  onBus(past, io, ({ json = false }: { json?: boolean }, text: string) => {
    const key = parseKey(text);
    return (session) => showHistory(session, key, json);
  });
}

function registerEffective(parent: Command, io: CliIo): void {
  const command = parent
    .command('effective')
    .description('effective values of a pod over all scopes, and the origin of each: built in, or a key and its author')
    .argument('[pod]', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'namespace of the pod; without a pod: future pods of this namespace')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  bailiff config effective shop/web-0\n  bailiff config effective --namespace shop --json\n',
    );
  onBus(command, io, ({ namespace, json = false }: { namespace?: string; json?: boolean }, name?: string) => {
    const within = namespace === undefined ? undefined : parseName(namespace, '--namespace');
    const scope = requireScope(name === undefined ? null : parsePod(name, 'pod', namespace), within);
    return (session) => showEffective(session, scope, json);
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('config')
    .description('stored configuration: modes of vectors, correlation rules, response policies')
    .addHelpText('after', EXAMPLES);
  registerShow(command, io);
  registerEffective(command, io);
  registerSet(command, io);
  registerValidate(command, io);
  registerRollback(command, io);
  registerDelete(command, io);
  registerRelease(command, io);
  registerSigning(command, io);
  registerTree(command, io);
}

/**
 * Writes the stored value again, without an owner: a custom resource can then take the key.
 * @throws CliError CLI_NOT_FOUND | CLI_STATE | CLI_DECLINED; ConfigError CONFIG_OWNER |
 * CONFIG_REVISION; BusError
 */
async function release(session: Session, key: ConfigKey, options: ChangeOptions): Promise<void> {
  const { bus, io, out } = session;
  const text = formatConfigKey(key);
  const stored = await readStored(session, key);
  if (!stored) {
    const remedy = 'a key without a stored value has no owner, so a custom resource can already take it';
    throw new CliError('CLI_NOT_FOUND', `nothing is stored under ${text}`, { remedy });
  }
  if (stored.released) return out.note(`${text} has no owner`);
  refuseOwned(stored, options.takeOver);
  const value = valueIn(stored);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const remedy = 'write it again with `bailiff config set -f`, or delete it';
    throw new CliError('CLI_STATE', `the value stored under ${text} is not an object of fields`, { remedy });
  }
  refuseUnread({ key, stored, next: {}, basis: stored, because: '' }, options.sign);
  out.note(`${text}: revision ${stored.revision} stays; ${ownerText(stored)} no longer owns it`);
  if (options.dryRun) return out.note('nothing was written (--dry-run)');
  await confirm(io, 'Release it?', options.yes);
  const { revision: _renewed, ...fields } = value as Record<string, unknown>;
  const note = noteOf(io, options, 'bailiff config release');
  // The value is already stored: checks for new values must not prevent the release.
  const how = { ...note, expectedRevision: stored.bucketRevision, release: true, restores: true };
  const written = await writeConfig(bus, key, fields, how);
  if (options.json) out.json({ key: text, revision: written.revision, keptBy: ownerJson(written) });
  else out.line(`${text}: revision ${written.revision}, without an owner`);
}

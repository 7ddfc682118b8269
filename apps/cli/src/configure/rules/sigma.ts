/** `bailiff rules import` and `rules export`: Sigma documents and correlation rules as YAML. */
import { openBucket } from '@bailiff/bus';
import { type FromSigma, fromSigma, type SigmaProblem, toSigma } from '@bailiff/correlation';
import { BUILT_IN_RULES, type CorrelationRule, configRefusal, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { plural } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { parseAllDocuments } from 'yaml';
import { parseRulesFile } from '../../shared/backtest/trial-rules.ts';
import { CliError } from '../../shared/errors.ts';
import { readDocument, textOf } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import { Out, type Session } from '../../shared/session.ts';
import { oneLine } from '../../shared/text/terminal.ts';
import { documentText } from '../../shared/text/yaml.ts';

/** Far more than one file of rules has. */
const MAX_DOCUMENTS = 2_000;
const MAX_LINES = 50;

/** Paths and messages have words of the file. */
const textsOf = (problems: readonly SigmaProblem[]) =>
  problems.map(({ path, message }) => oneLine(`${path} ${message}`));

/** @throws CliError CLI_CONFIG if aliases stand for too much */
function valueIn(document: { toJS(): unknown }, where: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `${where}: ${(cause as Error).message}`, { cause });
  }
}

/** @throws CliError CLI_CONFIG with the place of each problem */
function parseSigma(text: string, where: string): FromSigma {
  const documents = parseAllDocuments(text);
  const broken = documents.flatMap(({ errors }) => errors.map((error) => error.message.split('\n')[0] ?? ''));
  if (broken.length > 0)
    throw new CliError('CLI_CONFIG', `${where}: not YAML\n${broken.slice(0, MAX_LINES).map(oneLine).join('\n')}`);
  if (documents.length === 0 || documents.length > MAX_DOCUMENTS)
    throw new CliError('CLI_CONFIG', `${where}: has ${documents.length} documents; 1 to ${MAX_DOCUMENTS} are allowed`);
  const found = fromSigma(documents.map((document) => valueIn(document, where)));
  if (found.problems.length === 0) return found;
  const lines = textsOf(found.problems.slice(0, MAX_LINES));
  const more = found.problems.length - lines.length;
  throw new CliError(
    'CLI_CONFIG',
    [`${where}: refused`, ...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'),
    {
      remedy: 'nothing is left out silently: remove or change these parts',
    },
  );
}

/** A rule without fields that have their default value. */
function withoutDefaults({ revision: _, enabled, cooldown, description, tags, ...rest }: CorrelationRule): object {
  return {
    ...rest,
    ...(enabled ? {} : { enabled }),
    ...(cooldown === '10m' ? {} : { cooldown }),
    ...(description === '' ? {} : { description }),
    ...(tags.length > 0 ? { tags } : {}),
  };
}

/** @throws CliError CLI_CONFIG; ENOENT, EACCES */
export async function importSigma(file: string, json: boolean, io: CliIo): Promise<void> {
  const where = file === '-' ? 'stdin' : file;
  const { rules, notes } = parseSigma(await textOf(file, io), where);
  const out = new Out(io);
  const shown = Object.fromEntries(Object.entries(rules).map(([name, rule]) => [name, withoutDefaults(rule)]));
  if (json) out.json(shown);
  else io.stdout.write(documentText(shown));
  for (const line of textsOf(notes).slice(0, MAX_LINES)) out.note(`${where}: ${line}`);
  if (notes.length > MAX_LINES) out.note(`and ${notes.length - MAX_LINES} more`);
  out.note(
    `${plural(Object.keys(rules).length, 'rule')}; try them on stored violations: bailiff backtest --rules FILE`,
  );
}

/** @throws CliError CLI_CONFIG; ENOENT, EACCES */
export async function rulesOfFile(file: string, io: CliIo): Promise<Readonly<Record<string, CorrelationRule>>> {
  return parseRulesFile(await readDocument(file, io), file === '-' ? 'stdin' : file).rules;
}

/** Built-in rules, and the stored ones instead of those of their names. @throws BusError */
export async function rulesInForce({ bus, out }: Session): Promise<Readonly<Record<string, CorrelationRule>>> {
  const entries = await openBucket(bus, 'bailiff_config').entries('correlation.>');
  const stored = entries.flatMap(({ key, value }) => {
    const json = Buffer.from(value).toString('utf8');
    const refused = configRefusal(key, json);
    if (refused !== '') {
      out.note(`${key} is refused by readers of this version and is not exported`);
      return [];
    }
    const parsed = parseConfigKey(key);
    return [[parsed.name, parseConfigValue(parsed, json) as CorrelationRule] as const];
  });
  return { ...BUILT_IN_RULES, ...Object.fromEntries(stored) };
}

/** @returns the exit code. @throws CliError CLI_CONFIG if Sigma cannot express a rule */
export function exportSigma(rules: Readonly<Record<string, CorrelationRule>>, io: CliIo): number {
  const made = Object.entries(rules)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, rule]) => toSigma(name, rule));
  const problems = made.flatMap((one) => one.problems);
  if (problems.length > 0)
    throw new CliError('CLI_CONFIG', `refused\n${textsOf(problems).slice(0, MAX_LINES).join('\n')}`);
  io.stdout.write(made.flatMap(({ documents }) => documents.map((document) => documentText(document))).join('---\n'));
  const out = new Out(io);
  const counts = Object.values(rules).some(({ type }) => type === 'event_count');
  const owners = Object.values(rules).some((rule) => rule['group-by'] === 'owner');
  if (counts)
    out.note(
      'event_count: Bailiff counts packets and operations; another engine counts events, each of which may have many',
    );
  if (owners)
    out.note('group-by owner: Bailiff takes a pod without an owner as its own owner; pod.ownerUid is empty for it');
  return EXIT.ok;
}

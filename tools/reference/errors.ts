/**
 * docs/reference/errors.md: exit codes, and every stable code of an error or a refusal with its description, from the source: the
 * comment of each member, or `CODE: words.` in the comment of the type.
 */
import { KubeError, type KubeErrorCode } from '@bailiff/kube';
import { EXIT, ServiceError, type ServiceErrorCode } from '@bailiff/service';
import { CliError, type CliErrorCode, describeError } from '../../apps/cli/src/shared/errors.ts';
import { code, page, section, table } from './markdown.ts';
import { commentText, readSource, sourceFiles, uncapped } from './source-text.ts';

const EXIT_WORDS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'success, or stopped by a signal',
  bug: 'internal error; report it with the stack trace in the log',
  badFlags: 'invalid flags or arguments, or the request is not possible',
  kernelLacksFeature: 'the kernel lacks a required feature',
  missingPrivilege: 'a permission is missing: of the process, on the bus, or on the API server',
  badConfiguration: 'invalid configuration, or a conflict that an operator must resolve',
  dependencyUnreachable: 'the bus, Redis or the API server cannot be reached',
};

export interface CodeWords {
  code: string;
  words: string;
}
/** A type or a field that holds codes, with what its comments say of each. */
export interface CodeList {
  file: string;
  /** `BusErrorCode`, or the class whose field names them itself. */
  name: string;
  codes: CodeWords[];
}

/** Comments, texts in quotes, and what ends a declaration. */
const TOKEN = /\/\*\*?[\s\S]*?\*\/|\/\/.*|'([^'\n]*)'|;/g;

/** `CODE: words. OTHER: words.` of a comment. */
function wordsIn(comment: string, codes: readonly string[]): Map<string, string> {
  const text = commentText(comment);
  const starts = codes
    .map((one) => ({ one, at: text.search(new RegExp(`(?<![A-Z_])${one}: `)) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  return new Map(
    starts.map(({ one, at }, index) => [one, sentence(text.slice(at + one.length + 2, starts[index + 1]?.at))]),
  );
}

const sentence = (text: string): string => text.trim().replace(/\.$/, '');

/** The comment that ends just before a place; empty when there is none. */
function commentBefore(text: string, at: number): string {
  const before = text.slice(0, at).trimEnd();
  return before.endsWith('*/') ? before.slice(before.lastIndexOf('/**')) : '';
}

/** Quoted codes up to the end of the declaration, each with the comment before it, or with what the head says of it. */
function codesFrom(text: string, at: number, head: string): CodeWords[] {
  const found: CodeWords[] = [];
  let comment = '';
  TOKEN.lastIndex = at;
  for (let token = TOKEN.exec(text); token !== null && token[0] !== ';'; token = TOKEN.exec(text)) {
    if (token[1] === undefined) comment = token[0].startsWith('/**') ? token[0] : '';
    else {
      found.push({ code: token[1], words: sentence(commentText(comment)) });
      comment = '';
    }
  }
  const described = wordsIn(
    head,
    found.map(({ code: one }) => one),
  );
  const [only, ...more] = found;
  if (only && more.length === 0 && described.size === 0 && only.words === '') only.words = sentence(commentText(head));
  return found.map(({ code: one, words }) => ({ code: one, words: words || (described.get(one) ?? '') }));
}

/** Of one file: unions called `…Code`, and classes of errors that name their codes themselves. */
export function codesIn(file: string, text: string): CodeList[] {
  const unions = [...text.matchAll(/^(?:export )?type (\w*Code|RefusalReason) =(?=\s*(?:\/\*|\||'))/gm)].map(
    (match) => ({
      file,
      name: match[1] as string,
      codes: codesFrom(text, match.index, commentBefore(text, match.index)),
    }),
  );
  const classes = [...text.matchAll(/^(?:export )?class (\w+) extends Error \{/gm)].flatMap((match) => {
    const end = text.indexOf('\n}', match.index);
    const field = /^ {2}readonly code(?::| =)\s*\|?\s*(?=')/m.exec(text.slice(match.index, end));
    if (field === null) return [];
    const at = match.index + field.index;
    const head = commentBefore(text, at) || commentBefore(text, match.index);
    return [{ file, name: match[1] as string, codes: codesFrom(text, at, head) }];
  });
  return [...unions, ...classes];
}

export function everyCode(): CodeList[] {
  return sourceFiles().flatMap((file) => codesIn(file, readSource(file)));
}

/** Exit code when this error ends the process; null if it never does, or its cause decides. */
function exitOf(name: string, one: string): number | null {
  if (name === 'ServiceErrorCode') return new ServiceError(one as ServiceErrorCode, '').exitCode;
  if (name === 'CliErrorCode') return new CliError(one as CliErrorCode, '').exitCode;
  if (!/^(BUS|CONFIG|POLICY|KUBE)_/.test(one)) return null;
  const error = one.startsWith('KUBE_') ? new KubeError(one as KubeErrorCode, '') : { code: one, message: '' };
  const exit = describeError(error, false).exitCode;
  return exit === EXIT.bug ? null : exit;
}

const TITLES: Readonly<Record<string, string>> = {
  ServiceErrorCode: 'Processes',
  BusErrorCode: 'The bus',
  KubeErrorCode: 'The API server',
  CliErrorCode: 'The command',
  SchemaErrorCode: 'Messages',
  ConfigError: 'Values of the configuration',
  PolicyErrorCode: 'Runtime policies',
  BpfErrorCode: 'The kernel',
  SpoofErrorCode: 'Packet programs',
  RuntimeErrorCode: 'Runtime programs',
  SyslogErrorCode: 'Syslog',
  RefusalCode: 'Why a response was refused',
  RefusalReason: 'Why a violation was not judged',
};

function listSection({ name, codes }: CodeList): string {
  const exits = codes.map(({ code: one }) => exitOf(name, one));
  const some = exits.some((exit) => exit !== null);
  const rows = codes.map(({ code: one, words }, index) => {
    return [code(one), uncapped(words), ...(some ? [String(exits[index] ?? '')] : [])];
  });
  return section(TITLES[name] ?? '', table(['code', 'when', ...(some ? ['exit code'] : [])], rows));
}

export function errorsPage(): string {
  const exits = Object.entries(EXIT).map(([name, value]) => [String(value), EXIT_WORDS[name as keyof typeof EXIT]]);
  const lists = everyCode();
  const order = Object.keys(TITLES);
  const titled = lists
    .filter(({ name }) => TITLES[name] !== undefined)
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const rest = lists.filter(({ name }) => TITLES[name] === undefined).flatMap(({ codes }) => codes);
  return page(
    'Errors and exit codes',
    'Codes are stable; scripts can rely on them, texts may change. Logs contain them as `code`, dead letters and responses as reasons.',
    [
      section(
        'Exit codes',
        'All apps and commands use these codes, as systemd.exec(5) lists them. The `bailiff` command ends with 130 when it is interrupted. `backtest`, `doctor` and `policy status` define more: see their [help](commands.md).',
        table(['exit code', 'meaning'], exits),
      ),
      ...titled.map(listSection),
      section(
        'Others',
        table(
          ['code', 'when'],
          rest.map(({ code: one, words }) => [code(one), uncapped(words)]),
        ),
      ),
    ],
  );
}

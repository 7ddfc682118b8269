/**
 * `-o, --output`: one set of formats for every command that has --json. A command passes its objects,
 * and this file prints them in the selected format. Pure.
 *
 * `wide` is the table without a limit of width. Lists become `{"items": […]}`, as kubectl prints them; --json keeps
 * one object a line.
 */
import { JSONPath } from 'jsonpath-plus';
import { CliError } from './errors.ts';
import { clean, safeJson } from './text/clean.ts';
import { TAB } from './text/terminal.ts';
import { documentText } from './text/yaml.ts';

const WORDS = ['table', 'wide', 'json', 'yaml', 'name'] as const;
const PREFIX = 'jsonpath=';

export interface Format {
  isWide: boolean;
  /** The text of a document, with its line end; null for tables. */
  print: ((document: unknown) => string) | null;
}

export const TABLE: Format = { isWide: false, print: null };
/** Values of --output, or how they begin. */
export const FORMATS: readonly string[] = [...WORDS, PREFIX];
export const OUTPUT_HELP = `${WORDS.join(', ')} or ${PREFIX}<template>`;

/** @throws CliError CLI_USAGE */
export function formatOf(text: string | undefined): Format {
  if (text === undefined || text === 'table') return TABLE;
  if (text === 'wide') return { isWide: true, print: null };
  return { isWide: false, print: printerOf(text) };
}

function printerOf(text: string): (document: unknown) => string {
  if (text === 'json') return (document) => `${safeJson(document, 2)}\n`;
  if (text === 'name')
    return (document) =>
      itemsOf(document)
        .map((item) => `${clean(nameOf(item))}\n`)
        .join('');
  if (text.startsWith(PREFIX)) {
    const template = parts(text.slice(PREFIX.length));
    return (document) => evaluate(template, document);
  }
  // JSON drops undefined fields, and YAML would print them.
  if (text === 'yaml') return (document) => documentText(JSON.parse(JSON.stringify(document)));
  throw new CliError('CLI_USAGE', `--output: "${text}" is not a format`, { remedy: `use ${OUTPUT_HELP}` });
}

/** The objects of a list. Another document is its only object. */
function itemsOf(document: unknown): unknown[] {
  if (Array.isArray(document)) return document;
  const { items, nodes } = (document ?? {}) as { items?: unknown; nodes?: unknown };
  const list = items ?? nodes;
  return Array.isArray(list) ? list : [document];
}

/** Fields that identify an object, and its kind. The first existing field counts. */
const NAMES: readonly (readonly [field: string, kind: string])[] = [
  ['responseId', 'response'],
  ['podUid', 'pod'],
  ['verdictId', 'verdict'],
  ['key', 'config'],
  ['node', 'node'],
  ['policy', 'policy'],
  ['name', 'item'],
  ['sequence', 'event'],
];

/** `verdict/3f2a…`, as kubectl prints it. A quarantined pod has the name that other commands take. */
function nameOf(item: unknown): string {
  const fields = (item ?? {}) as Record<string, unknown>;
  const found = NAMES.find(([field]) => fields[field] !== undefined && fields[field] !== null);
  if (!found) return '-';
  const [field, kind] = found;
  if (kind === 'pod' && fields['podName']) return `pod/${String(fields['podNamespace'])}/${String(fields['podName'])}`;
  return `${kind}/${String(fields[field])}`;
}

type Part = string | { path: string } | { range: string; body: Part[] };

/** Parses kubectl's templates: text, `{.path}`, `{"text"}`, `{range .items[*]}…{end}`. */
function parts(template: string): Part[] {
  const tokens = template.includes('{') ? template.split(/(\{[^{}]*\})/) : [`{${template}}`];
  const stack: Part[][] = [[]];
  const wrong = (why: string) =>
    new CliError('CLI_USAGE', `--output jsonpath: ${why}`, { remedy: "for example jsonpath='{.items[*].verdictId}'" });
  for (const token of tokens) {
    const inner = /^\{(.*)\}$/s.exec(token)?.[1]?.trim();
    const top = stack.at(-1) as Part[];
    if (inner === undefined) top.push(token);
    else if (inner === 'end') {
      if (stack.length === 1) throw wrong('{end} has no {range}');
      stack.pop();
    } else if (inner.startsWith('range ')) {
      const body: Part[] = [];
      top.push({ range: pathOf(inner.slice('range '.length)), body });
      stack.push(body);
    } else if (/^"[^"]*"$/.test(inner)) top.push(inner.slice(1, -1).replaceAll('\\n', '\n').replaceAll('\\t', TAB));
    else if (inner !== '' && /^[$@.[]/.test(inner)) top.push({ path: pathOf(inner) });
    else throw wrong(`"${token}" is not a path: a path begins with a dot`);
  }
  if (stack.length > 1) throw wrong('{range} has no {end}');
  return stack[0] as Part[];
}

const pathOf = (text: string) => {
  const path = text.trim().replace(/^[$@]/, '');
  return path === '.' ? '$' : `$${path}`;
};

function evaluate(template: readonly Part[], json: unknown): string {
  return template
    .map((part) => {
      if (typeof part === 'string') return part;
      if ('path' in part) return select(part.path, json).map(textOf).join(' ');
      return select(part.range, json)
        .map((item) => evaluate(part.body, item))
        .join('');
    })
    .join('');
}

// `safe`: filters can compare values, but cannot run code.
function select(path: string, json: unknown): unknown[] {
  try {
    return JSONPath<unknown[]>({ path, json: json as object, wrap: true, eval: 'safe' }) ?? [];
  } catch (cause) {
    throw new CliError('CLI_USAGE', `--output jsonpath: ${path.slice(1)}: ${(cause as Error).message}`, { cause });
  }
}

/** One line, so that foreign text cannot begin another row. */
const textOf = (value: unknown) => clean(typeof value === 'object' && value !== null ? safeJson(value) : String(value));

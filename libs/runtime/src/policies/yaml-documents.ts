/**
 * Parses YAML documents with line numbers, so that errors read `file:line: field: problem`. Pure.
 * Aliases are limited, because of YAML bombs.
 */
import { CST, type Document, isMap, isScalar, Lexer, LineCounter, parseAllDocuments } from 'yaml';
import type * as z from 'zod';
import { type FieldRef, PolicyError } from '../sets/errors.ts';

/** Maximum number of documents in one file. */
const MAX_DOCUMENTS = 256;
/** Maximum number of alias uses in a document. */
const MAX_ALIASES = 100;
/**
 * Columns and brackets before a list or map. The parser is recursive, and where it exceeds the stack in a regular
 * expression, the process ends.
 */
const MAX_DEPTH = 256;
/** Anchors, aliases and tags, of which the parser compares each with all others. */
const MAX_PROPERTIES = 1_000;

export interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** A document and its file. */
export interface Place {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** Line of a field, or of the closest parent that exists. */
function lineOf({ document, lines }: Place, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const at = path.slice(0, length);
    // Prefer the position of the key: its value may begin lines later.
    const parent = document.getIn(at.slice(0, -1), true);
    const key =
      length > 0 && isMap(parent) ? parent.items.find(({ key: k }) => isScalar(k) && k.value === at.at(-1))?.key : null;
    const node = (isScalar(key) ? key : document.getIn(at, true)) as { range?: [number, number, number] } | undefined;
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

/** @throws PolicyError POLICY_FILE, one line per problem */
export function refusePlace(place: Place, issues: readonly Issue[]): never {
  const rows = issues.map(({ path, message }) => {
    const field = path.map(String).join('.');
    return { field, text: `${place.file}:${lineOf(place, path)}: ${field === '' ? '' : `${field}: `}${message}` };
  });
  const fields: FieldRef[] = rows.map(({ field }) => ({ policy: place.file, field }));
  throw new PolicyError('POLICY_FILE', rows.map(({ text }) => text).join('\n'), fields);
}

/**
 * One issue per field; an unknown key is its own field. `within`: path of the value in the
 * document.
 */
export function zodIssues(error: z.ZodError, within: readonly PropertyKey[] = []): Issue[] {
  return error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: [...within, ...issue.path, key], message: 'is unknown' }))
      : [{ path: [...within, ...issue.path], message: issue.message }],
  );
}

/** Plain value of a document. @throws PolicyError POLICY_FILE */
export function plainValue(place: Place): unknown {
  try {
    return place.document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    // An alias without its anchor, or too many aliases.
    const text = `${place.file}:${lineOf(place, [])}: ${(cause as Error).message}`;
    throw new PolicyError('POLICY_FILE', text, [], { cause });
  }
}

/** What the parser needs more than linear time or stack for. */
interface YamlShape {
  /** At least as deep as lists and maps are nested: columns before them, and brackets. */
  depth: number;
  /** Anchors, aliases and tags. */
  properties: number;
  /** Of maps, and items of lists in brackets: the parser compares each key of a map with all others. */
  keys: number;
}

/** Counts tokens, in linear time and without recursion. */
export function yamlShape(text: string): YamlShape {
  let [flow, column, depth, properties, keys] = [0, 0, 0, 0, 0];
  let [isStart, isContent] = [true, false];
  /** Last token that is, begins or ends a key or a value, or stands between two. */
  let last = '';
  for (const token of new Lexer().lex(text)) {
    // The text of a scalar follows its mark.
    const type = isContent ? 'content' : CST.tokenType(token);
    isContent = type === 'scalar';
    const isKey = type === 'map-value-ind';
    const isBlock = type === 'seq-item-ind' || type === 'explicit-key-ind' || (isKey && flow === 0);
    const isProperty = type === 'anchor' || type === 'alias' || type === 'tag';
    if (type === 'newline') [column, isStart] = [0, true];
    else if (isBlock || (isStart && type === 'space')) column += token.length;
    else if (type === 'content' || type === 'comment') isStart = false;
    const isBegin = type === 'flow-seq-start' || type === 'flow-map-start';
    const isEnd = type === 'flow-seq-end' || type === 'flow-map-end';
    // In brackets, a key needs no colon, and a colon no key.
    const isText = type === 'content' || type === 'single-quoted-scalar' || type === 'double-quoted-scalar';
    const isItem = (isText || isBegin) && last !== 'map-value-ind';
    const isBare = isKey && last !== 'text' && last !== 'end';
    if (type === 'explicit-key-ind' || (flow > 0 ? isItem || isBare : isKey)) keys += 1;
    if (isBegin) flow += 1;
    if (isEnd) flow = Math.max(0, flow - 1);
    if (isText) last = 'text';
    else if (isEnd) last = 'end';
    else if (isKey || isBegin || type === 'comma') last = type;
    if (isProperty) properties += 1;
    if (isBlock || flow > 0) depth = Math.max(depth, flow + column);
  }
  return { depth, properties, keys };
}

function refuseShape(text: string, file: string): void {
  const { depth, properties } = yamlShape(text);
  if (depth > MAX_DEPTH)
    throw new PolicyError(
      'POLICY_FILE',
      `${file}: lists and maps are nested too deep: more than ${MAX_DEPTH} columns and brackets`,
    );
  if (properties > MAX_PROPERTIES)
    throw new PolicyError('POLICY_FILE', `${file}: has more than ${MAX_PROPERTIES} anchors, aliases and tags`);
}

/**
 * Documents of a text that are not empty. @throws PolicyError POLICY_FILE if there is none, or one
 * is not YAML
 */
export function placesIn(text: string, file: string): Place[] {
  refuseShape(text, file);
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines });
  if (!Array.isArray(documents)) throw new PolicyError('POLICY_FILE', `${file}: holds nothing`);
  const isEmpty = ({ contents, errors }: Document) =>
    errors.length === 0 && (contents === null || (isScalar(contents) && contents.value === null));
  const all = documents.filter((document) => !isEmpty(document));
  if (all.length === 0) throw new PolicyError('POLICY_FILE', `${file}: holds nothing`);
  if (all.length > MAX_DOCUMENTS)
    throw new PolicyError('POLICY_FILE', `${file}: holds more than ${MAX_DOCUMENTS} documents`);
  return all.map((document) => {
    const [broken] = document.errors;
    if (!broken) return { file, document, lines };
    const { line } = lines.linePos(broken.pos[0]);
    const [what] = broken.message.split('\n');
    throw new PolicyError('POLICY_FILE', `${file}:${line}: no YAML: ${what}`, [], { cause: broken });
  });
}

/**
 * The rules of `policy learn --record`: each observed operation counts in a cell of its own, so that
 * the record has its exact number at any rate. Pure.
 *
 * Each has a rule in audit, which counts it, and is in an allow rule, so that the posture counts only
 * what was not observed yet. Bounds: MAX_RULES of a policy, and shares of the eight rules that the
 * kernel holds for one path, name, address or value. Beyond that, an operation stays with the posture:
 * counted with all others, and sampled.
 */

import { isIP } from 'node:net';
import {
  CAPABILITIES,
  KERNEL_OPERATIONS,
  MAX_POLICY_RULES,
  MOUNT_OPERATIONS,
  pathProblem,
  SOCKET_FAMILIES,
  SOCKET_TYPES,
} from '@bailiff/policy';
import { isAddressOperation, type OperationName, PROTOCOL_NUMBERS, postureOf, valueNamed } from '@bailiff/runtime';
import { chunks, type Learned, type RuleInput } from './rule-parts.ts';

/** Rules whose operations are learned like those of a posture. */
export const REST = 'rest-';
/** Rules with a cell per operation. */
export const CELL = 'cell-';

/** The others are for `rest-` rules, of which each has up to 16 programs. */
const MAX_RULES = MAX_POLICY_RULES - 12;
/** Of one object, and of one kind of socket: the others are for allow rules of addresses. */
const OBJECT_RULES = 6;
const SOCKET_RULES = 4;
/** Allow rules of addresses with one protocol, or of Unix sockets: each allows the sockets too. */
const ADDRESS_ALLOWS = 3;
const MAX_SOURCES = 16;
const MAX_LIST = 256;

/** A match of one operation on one object. */
interface Match {
  /** Of the kernel's key: rules of all operations on an object share it. */
  object: string;
  /** Matches of one `shape` and program form one allow rule: each item with each operation. */
  shape: string;
  item: string;
  word: string;
  of: (items: string[], words: string[]) => Partial<RuleInput>;
}

const matchOf = (
  object: string,
  shape: string,
  item: string,
  word: string,
  of: (items: string[], words: string[]) => object,
): Match => ({ object, shape, item, word, of: (items, words) => of(items, words) as Partial<RuleInput> });

function pathMatch(op: OperationName, subject: string): Match | null {
  const word = op.replace(/^unix-/, '').replace('map-execute', 'map');
  const kind = op.startsWith('unix-') ? 'unix' : postureOf(op) === 'execute' ? 'execute' : 'file';
  if (kind === 'unix' && subject !== '' && !/^[/…]/.test(subject)) {
    const name = subject.replace(/^@/, '');
    return matchOf(`@${name}`, 'abstract', name, word, (abstract, operations) => ({ unix: { abstract, operations } }));
  }
  if (pathProblem(subject) !== null || /^\/memfd:/.test(subject)) return null;
  return matchOf(subject, kind, subject, word, (paths, operations) => ({ [kind]: { paths, operations } }));
}

function addressMatch({ operation, address: text, port, protocol }: Learned['operation']): Match | null {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(address);
  if (family === 0 || address.includes('%') || protocol === 0) return null;
  const name = Object.keys(PROTOCOL_NUMBERS).find((word) => PROTOCOL_NUMBERS[word] === protocol);
  const rest = {
    ports: [port],
    protocols: [name === 'tcp' || name === 'udp' ? name : protocol],
  };
  const host = `${address}/${family === 4 ? 32 : 128}`;
  return matchOf(`${host} ${port} ${protocol}`, `${port} ${protocol}`, host, operation, (cidrs, operations) => ({
    network: { ...rest, operations, cidrs },
  }));
}

function valueMatch(op: OperationName, subject: string): Match | null {
  const word = subject.split(' ')[0] ?? '';
  if (op === 'socket') {
    const [family = '', type = '', protocol = ''] = word.split('/');
    const number = (text: string) => (/^\d+$/.test(text) ? Number(text) : (PROTOCOL_NUMBERS[text] ?? text));
    const named =
      (SOCKET_FAMILIES as readonly string[]).includes(family) && (SOCKET_TYPES as readonly string[]).includes(type);
    if (!named || valueNamed(op, word) === null) return null;
    return matchOf(word, word, word, word, () => ({
      socket: { families: [family], types: [type], protocols: [number(protocol)] },
    }));
  }
  const lists = { capability: CAPABILITIES, mount: MOUNT_OPERATIONS, kernel: KERNEL_OPERATIONS } as const;
  const list = (lists as Partial<Record<OperationName, readonly string[]>>)[op];
  if (!list?.includes(word)) return null;
  const of = (operations: string[]) => (op === 'capability' ? { capabilities: operations } : { [op]: { operations } });
  return matchOf(`${op} ${word}`, op, word, word, of);
}

function matchFor({ operation }: Learned): Match | null {
  const op = operation.operation as OperationName;
  if (isAddressOperation(op)) return addressMatch(operation);
  if (op === 'socket' || op === 'capability' || op === 'mount' || op === 'kernel')
    return valueMatch(op, operation.subject);
  return postureOf(op) === null ? null : pathMatch(op, operation.subject);
}

interface Cell {
  match: Match;
  op: string;
  programs: string[];
  times: number;
}

/** An allowed write allows truncation too, so that needs a cell of its own. */
function truncations(cells: readonly Cell[]): Cell[] {
  const nameOf = ({ match, programs }: Cell) => JSON.stringify([match.item, programs]);
  const counted = new Set(cells.filter(({ op }) => op === 'truncate').map(nameOf));
  return cells
    .filter((cell) => cell.op === 'write' && !counted.has(nameOf(cell)))
    .flatMap((cell) => {
      const match = pathMatch('truncate', cell.match.item);
      return match ? [{ ...cell, op: 'truncate', match }] : [];
    });
}

/** Cells of one object that one rule allows. */
function partsOf(cells: readonly Cell[]): Cell[][] {
  const parts = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.match.shape, cell.programs]);
    parts.set(key, [...(parts.get(key) ?? []), cell]);
  }
  return [...parts.values()];
}

/** Rules of cells of one object. */
const costOf = (cells: readonly Cell[]) => partsOf(cells).length + cells.length + truncations(cells).length;

const byTimes = (a: Cell, b: Cell) => b.times - a.times;

/** The most frequent cells that fit. */
function fitting(cells: readonly Cell[], rules: number): Cell[] {
  const taken: Cell[] = [];
  for (const cell of [...cells].sort(byTimes)) if (costOf([...taken, cell]) <= rules) taken.push(cell);
  return taken;
}

/**
 * The same with connect and send for each program that has one of them: allow rules of different
 * operations cannot be one, and their number is bounded (ADDRESS_ALLOWS).
 */
function withBoth(cells: readonly Cell[], rules: number): Cell[] {
  const all = [...cells];
  for (const cell of cells) {
    const other = cell.op === 'connect' ? 'send' : cell.op === 'send' ? 'connect' : null;
    const isThere = all.some(({ op, programs }) => op === other && `${programs}` === `${cell.programs}`);
    if (other === null || isThere) continue;
    const more = { ...cell, op: other, match: { ...cell.match, word: other }, times: 0 };
    if (costOf([...all, more]) <= rules) all.push(more);
  }
  return all;
}

/** Cells of one object: one per operation and program, or if these are too many, per operation. */
function cellsOf(learned: readonly { match: Match; one: Learned }[]): Cell[] {
  const single = learned.map(({ match, one }): Cell => {
    const { operation, executable } = one.operation;
    return { match, op: operation, programs: [executable], times: one.times };
  });
  const rules = single[0]?.op === 'socket' ? SOCKET_RULES : OBJECT_RULES;
  const all = fitting(single, rules);
  if (all.length === single.length) return withBoth(all, rules);
  const merged = new Map<string, Cell>();
  for (const cell of single.sort(byTimes)) {
    const known = merged.get(cell.op);
    if (!known) merged.set(cell.op, { ...cell });
    else if (known.programs.length < MAX_SOURCES) {
      known.programs = [...known.programs, ...cell.programs].sort();
      known.times += cell.times;
    }
  }
  return withBoth(fitting([...merged.values()], rules), rules);
}

const sourceOf = (programs: readonly string[]) => ({ fromSource: programs.map((path) => ({ path })) });

/** The sockets that allow rules of this cell allow too; null: none. */
function socketsOf({ op, match }: Cell): string | null {
  if (op.startsWith('unix-')) return 'unix';
  return isAddressOperation(op as OperationName) ? match.shape.slice(match.shape.lastIndexOf(' ') + 1) : null;
}

/** Operations that are counted beside the postures: drift has none, and sockets may be allowed by their addresses. */
function restRules(cells: readonly Cell[]): RuleInput[] {
  const programs = new Set(cells.filter((cell) => socketsOf(cell) !== null).flatMap((cell) => cell.programs));
  const families = ['inet', 'inet6', 'unix'] as const;
  return [
    { name: `${REST}drift`, action: 'audit', drift: {} },
    ...chunks([...programs].sort(), MAX_SOURCES).map(
      (part, index): RuleInput => ({
        name: `${REST}sockets-${index}`,
        action: 'audit',
        ...sourceOf(part),
        socket: { families: [...families] },
      }),
    ),
  ];
}

/** What one rule allows: each item, with each operation. */
interface Allowed {
  cell: Cell;
  words: string[];
  items: string[];
}

/** @param learned in the order of their first observation */
export function recordingRules(learned: readonly Learned[]): RuleInput[] {
  const objects = new Map<string, { match: Match; one: Learned }[]>();
  for (const one of learned) {
    const { executable } = one.operation;
    const match = pathProblem(executable) === null ? matchFor(one) : null;
    if (match) objects.set(match.object, [...(objects.get(match.object) ?? []), { match, one }]);
  }
  const allows = new Map<string, Allowed>();
  const socketAllows = new Map<string, number>();
  const cells: Cell[] = [];
  let rules = 0;
  for (const part of [...objects.values()].flatMap((of) => partsOf(cellsOf(of)))) {
    const [cell] = part as [Cell];
    const words = part.map(({ match }) => match.word).sort();
    const key = JSON.stringify([cell.match.shape, words, cell.programs]);
    const group = allows.get(key);
    const sockets = group ? null : socketsOf(cell);
    const more = costOf(part) - (group ? 1 : 0);
    const isFull = group !== undefined && group.items.length >= MAX_LIST;
    const isShared = sockets !== null && (socketAllows.get(sockets) ?? 0) >= ADDRESS_ALLOWS;
    if (isFull || isShared || rules + more > MAX_RULES) continue;
    rules += more;
    cells.push(...part);
    if (sockets !== null) socketAllows.set(sockets, (socketAllows.get(sockets) ?? 0) + 1);
    if (group) group.items.push(cell.match.item);
    else allows.set(key, { cell, words, items: [cell.match.item] });
  }
  const rule = (name: string, action: 'audit' | 'allow', { cell, words, items }: Allowed): RuleInput =>
    ({ name, action, ...sourceOf(cell.programs), ...cell.match.of(items, words) }) as RuleInput;
  return [
    ...[...cells, ...truncations(cells)].map((cell, index) =>
      rule(`${CELL}${index}`, 'audit', { cell, words: [cell.match.word], items: [cell.match.item] }),
    ),
    ...restRules(cells),
    ...[...allows.values()].map((allowed, index) => rule(`seen-${index}`, 'allow', allowed)),
  ];
}

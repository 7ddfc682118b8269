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
  /** Matches of one `shape` form one allow rule, by joining `list`. */
  shape: string;
  item: string;
  of: (items: string[]) => Partial<RuleInput>;
}

const matchOf = (object: string, shape: string, item: string, of: (items: string[]) => object): Match => ({
  object,
  shape,
  item,
  of: (items) => of(items) as Partial<RuleInput>,
});

function pathMatch(op: OperationName, subject: string): Match | null {
  const word = op.replace(/^unix-/, '').replace('map-execute', 'map');
  const kind = op.startsWith('unix-') ? 'unix' : postureOf(op) === 'execute' ? 'execute' : 'file';
  if (kind === 'unix' && subject !== '' && !/^[/…]/.test(subject)) {
    const name = subject.replace(/^@/, '');
    return matchOf(`@${name}`, `${op} abstract`, name, (abstract) => ({ unix: { abstract, operations: [word] } }));
  }
  if (pathProblem(subject) !== null || /^\/memfd:/.test(subject)) return null;
  return matchOf(subject, op, subject, (paths) => ({ [kind]: { paths, operations: [word] } }));
}

function addressMatch({ operation, address: text, port, protocol }: Learned['operation']): Match | null {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(address);
  if (family === 0 || address.includes('%') || protocol === 0) return null;
  const name = Object.keys(PROTOCOL_NUMBERS).find((word) => PROTOCOL_NUMBERS[word] === protocol);
  const rest = {
    operations: [operation],
    ports: [port],
    protocols: [name === 'tcp' || name === 'udp' ? name : protocol],
  };
  const host = `${address}/${family === 4 ? 32 : 128}`;
  return matchOf(`${host} ${port} ${protocol}`, `${operation} ${port} ${protocol}`, host, (cidrs) => ({
    network: { ...rest, cidrs },
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
    return matchOf(word, word, word, () => ({
      socket: { families: [family], types: [type], protocols: [number(protocol)] },
    }));
  }
  const lists = { capability: CAPABILITIES, mount: MOUNT_OPERATIONS, kernel: KERNEL_OPERATIONS } as const;
  const list = (lists as Partial<Record<OperationName, readonly string[]>>)[op];
  if (!list?.includes(word)) return null;
  const of = (operations: string[]) => (op === 'capability' ? { capabilities: operations } : { [op]: { operations } });
  return matchOf(`${op} ${word}`, op, word, of);
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

/** An allowed write allows truncation too, so it needs a cell of its own. */
const costOf = ({ op }: Pick<Cell, 'op'>) => (op === 'write' ? 3 : 2);
const byTimes = (a: Cell, b: Cell) => b.times - a.times;

/** The most frequent cells that fit. */
function fitting(cells: readonly Cell[], rules: number): Cell[] {
  let left = rules;
  return [...cells].sort(byTimes).filter((cell) => {
    if (costOf(cell) > left) return false;
    left -= costOf(cell);
    return true;
  });
}

/** Cells of one object: one per operation and program, or if these are too many, per operation. */
function cellsOf(learned: readonly { match: Match; one: Learned }[]): Cell[] {
  const single = learned.map(({ match, one }): Cell => {
    const { operation, executable } = one.operation;
    return { match, op: operation, programs: [executable], times: one.times };
  });
  const rules = single[0]?.op === 'socket' ? SOCKET_RULES : OBJECT_RULES;
  const all = fitting(single, rules);
  if (all.length === single.length) return all;
  const merged = new Map<string, Cell>();
  for (const cell of single.sort(byTimes)) {
    const known = merged.get(cell.op);
    if (!known) merged.set(cell.op, { ...cell });
    else if (known.programs.length < MAX_SOURCES) {
      known.programs = [...known.programs, ...cell.programs].sort();
      known.times += cell.times;
    }
  }
  return fitting([...merged.values()], rules);
}

const sourceOf = (programs: readonly string[]) => ({ fromSource: programs.map((path) => ({ path })) });

/** Cells of the truncations that allowed writes allow. */
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

/** @param learned in the order of their first observation */
export function recordingRules(learned: readonly Learned[]): RuleInput[] {
  const objects = new Map<string, { match: Match; one: Learned }[]>();
  for (const one of learned) {
    const { executable } = one.operation;
    const match = pathProblem(executable) === null ? matchFor(one) : null;
    if (match) objects.set(match.object, [...(objects.get(match.object) ?? []), { match, one }]);
  }
  const allows = new Map<string, { cell: Cell; items: string[] }>();
  const socketAllows = new Map<string, number>();
  const cells: Cell[] = [];
  let rules = 0;
  for (const cell of [...objects.values()].flatMap(cellsOf)) {
    const { match, programs } = cell;
    const key = JSON.stringify([match.shape, programs]);
    const group = allows.get(key);
    const sockets = group ? null : socketsOf(cell);
    const more = costOf(cell) - (group ? 1 : 0);
    const isFull = group !== undefined && group.items.length >= MAX_LIST;
    const isShared = sockets !== null && (socketAllows.get(sockets) ?? 0) >= ADDRESS_ALLOWS;
    if (isFull || isShared || rules + more > MAX_RULES) continue;
    rules += more;
    cells.push(cell);
    if (sockets !== null) socketAllows.set(sockets, (socketAllows.get(sockets) ?? 0) + 1);
    if (group) group.items.push(match.item);
    else allows.set(key, { cell, items: [match.item] });
  }
  const rule = (name: string, action: 'audit' | 'allow', { match, programs }: Cell, items: string[]): RuleInput =>
    ({ name, action, ...sourceOf(programs), ...match.of(items) }) as RuleInput;
  return [
    ...[...cells, ...truncations(cells)].map((cell, index) =>
      rule(`${CELL}${index}`, 'audit', cell, [cell.match.item]),
    ),
    ...restRules(cells),
    ...[...allows.values()].map(({ cell, items }, index) => rule(`seen-${index}`, 'allow', cell, items)),
  ];
}

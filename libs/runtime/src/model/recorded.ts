/**
 * Decides operations as violations record them, for `policy simulate`. Pure. model.ts decides; this
 * file only finds what a record leaves open, and asks the model for each possibility.
 *
 * A record has a path or a value as text, and the program, but neither the program's ancestors nor
 * other names of the object. If the possibilities differ, the operation is undecided.
 */
import { isIP } from 'node:net';
import { OPERATIONS, type OperationName, type PostureClass } from '@bailiff/vocabulary';
import { decidableOperations } from '../compile/compile.ts';
import { isAddressOperation, isPathOperation, postureOf, valueName, valueNamed } from '../sets/names.ts';
import { denies, type Match, type PolicySet, type RuleIR } from '../sets/set.ts';
import { explain } from './explain.ts';
import type { Operation } from './model.ts';

/** The fields of an OperationSample (libs/schemas) that a decision uses. */
export interface RecordedOperation {
  readonly operation: string;
  readonly subject: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: number;
  /** Empty: not known. */
  readonly executable: string;
}

export type Judgement =
  /** `by`: the deciding rule or posture, as the vector of a violation. */
  | { readonly outcome: 'pass' | 'denied'; readonly by: string | null }
  | { readonly outcome: 'undecided'; readonly because: string };

type RuleMatch = Pick<RuleIR, 'matches' | 'source'>;

/** Text that was longer than its limit. */
const CUT = '…';

const PASS: Judgement = { outcome: 'pass', by: null };
const undecided = (because: string): Judgement => ({ outcome: 'undecided', because });

/** The forms of one operation that a recorded path may have had. */
function pathOperations(op: OperationName, path: string): Operation[] {
  if (op.startsWith('unix-') && !path.startsWith('/')) return [{ kind: 'abstract', op, name: path.replace(/^@/, '') }];
  // A memfd is recorded like a file of the root.
  const paths = path.startsWith('/memfd:') ? [path, path.slice(1)] : [path];
  // `link` and `rename` count once for the old and once for the new name.
  const names = op === 'link' || op === 'rename' ? [false, true] : [false];
  return paths.flatMap((one) => names.map((oldName): Operation => ({ kind: 'path', op, path: one, oldName })));
}

/** Every operation that may have been recorded so; empty: its text cannot be read. */
function operationsOf(op: OperationName, { subject, address, port, protocol }: RecordedOperation): Operation[] {
  if (isAddressOperation(op)) return isIP(address) === 0 ? [] : [{ kind: 'address', op, address, port, protocol }];
  if (isPathOperation(op)) return pathOperations(op, subject);
  const value = valueNamed(op, subject.replace(CUT, '').split(' ')[0] ?? '');
  if (value === null) return [];
  const isNewMount = op === 'mount' && value === 0n;
  return (isNewMount ? [false, true] : [false]).map((alias): Operation => ({ kind: 'value', op, value, alias }));
}

/** Whether the path decides. */
const hasPathRules = ({ rules }: PolicySet) =>
  rules.some(({ matches }) => matches.some(({ kind }) => kind === 'path' || kind === 'suffix'));

/** Whether a rule is about this program; null: only if an ancestor of its process is one that it names. */
function holdsFor({ source }: RuleIR, program: string): boolean | null {
  if (source === null) return true;
  if (program === '' || program.startsWith(CUT)) return null;
  if (source.some(({ path }) => path === program)) return true;
  return source.some(({ children }) => children) ? null : false;
}

/**
 * The set with its rules about programs resolved, at both extremes: with every denial and no allow
 * rule that may hold, and the reverse. Outcomes of all other possibilities lie between.
 */
function extremesOf(set: PolicySet, program: string): PolicySet[] {
  const known = set.rules.map((rule) => holdsFor(rule, program));
  const resolved = (most: boolean): PolicySet => ({
    ...set,
    rules: set.rules.map((rule, index) => {
      const holds = known[index] ?? most === denies(rule.action);
      return rule.source === null ? rule : { ...rule, source: holds ? null : [] };
    }),
  });
  return known.includes(null) ? [resolved(true), resolved(false)] : [resolved(true)];
}

const NO_TASK = { chain: [], cut: false };

function judgeIn(set: PolicySet | null, op: OperationName, recorded: RecordedOperation): Judgement[] {
  if (set === null || !decidableOperations(set).has(op)) return [PASS];
  const operations = operationsOf(op, recorded);
  if (operations.length === 0) return [undecided('its text in the record is incomplete')];
  if (isPathOperation(op) && recorded.subject.startsWith(CUT) && hasPathRules(set)) {
    return [undecided('the start of its path was not recorded')];
  }
  return extremesOf(set, recorded.executable).flatMap((one) =>
    operations.map((operation): Judgement => {
      const { outcome, decidedBy } = explain(one, operation, NO_TASK);
      return { outcome: outcome === 'pass' ? 'pass' : 'denied', by: decidedBy };
    }),
  );
}

/** One judgement of several possibilities. */
function agreed(all: readonly Judgement[], because: string): Judgement {
  const open = all.find(({ outcome }) => outcome === 'undecided');
  if (open) return open;
  const [first = PASS, ...rest] = all;
  return rest.every(({ outcome }) => outcome === first.outcome) ? first : undecided(because);
}

const OPEN = 'it depends on ancestors of its program, or on other names of its file, which are not recorded';
const OPEN_CONTAINER = 'it depends on its container, whose name is not known';

/**
 * Decides a recorded operation.
 * @param sets the sets of all containers that it may belong to; null: no policy holds
 * @param unresolved its path or address was not known to the kernel either
 */
export function judgeRecorded(
  sets: readonly (PolicySet | null)[],
  recorded: RecordedOperation,
  unresolved = false,
): Judgement {
  const op = OPERATIONS.find((name) => name === recorded.operation);
  if (op === undefined) return undecided('its operation is not known to this version');
  const perSet = sets.map((set): Judgement => {
    if (!unresolved || set === null) return agreed(judgeIn(set, op, recorded), OPEN);
    const { outcome, decidedBy } = explain(set, { kind: 'unresolved', op }, NO_TASK);
    return { outcome: outcome === 'pass' ? 'pass' : 'denied', by: decidedBy };
  });
  return agreed(perSet, OPEN_CONTAINER);
}

const operationsIn = (match: Match): readonly OperationName[] => (match.kind === 'value' ? [match.op] : match.ops);
/** A single address. */
const HOST = /^(.*)\/(?:32|128)$/;

/** Operations that are judged one by one. */
const MOST_SINGLE = 64;

/** The operations that a rule matches, for each of its programs; null: it does not name each of them. */
function namedOperations({ matches, source }: RuleMatch): RecordedOperation[] | null {
  if (source?.some(({ children }) => children)) return null;
  const programs = source === null ? [''] : source.map(({ path }) => path);
  const done = matches.flatMap((match) => operationsIn(match).map((op) => singleOf(match, op)));
  if (done.length * programs.length > MOST_SINGLE) return null;
  const all: RecordedOperation[] = [];
  for (const one of done) {
    if (one === null) return null;
    all.push(...programs.map((executable) => ({ ...one, executable })));
  }
  return all;
}

/** The one operation that a rule matches, for each of its programs; null: several operations. */
export function onlyOperation(rule: RuleMatch): RecordedOperation[] | null {
  const [match, ...more] = rule.matches;
  return match && more.length === 0 && operationsIn(match).length === 1 ? namedOperations(rule) : null;
}

function singleOf(match: Match, op: OperationName): Omit<RecordedOperation, 'executable'> | null {
  const none = { operation: op, address: '', port: 0, protocol: 0 };
  if (match.kind === 'path') return match.match === 'exact' && match.path ? { ...none, subject: match.path } : null;
  if (match.kind === 'abstract') return { ...none, subject: match.name };
  if (match.kind === 'value') {
    const isAny = op === 'socket' && valueName(op, match.value).includes('*');
    return isAny ? null : { ...none, subject: valueName(op, match.value) };
  }
  if (match.kind === 'suffix' || match.except.length > 0 || match.protocol === 0) return null;
  const address = HOST.exec(match.cidr ?? '')?.[1];
  const isHost = address !== undefined && isIP(address) === (match.cidr?.endsWith('/128') ? 6 : 4);
  if (!isHost || match.portFirst !== match.portLast) return null;
  return { ...none, subject: '', address, port: match.portFirst, protocol: match.protocol };
}

const textOf = ({ matches, source }: RuleMatch) =>
  JSON.stringify([source, matches.map(({ field: _, ...match }) => match)], (_, value) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );

const UNSAMPLED = 'it was counted without a sample, and its rule matches several operations';

/**
 * Decides all operations that a rule counted, without knowing each of them.
 * @param rule as it was when it counted
 */
export function judgeCounted(sets: readonly (PolicySet | null)[], rule: RuleMatch): Judgement {
  const named = namedOperations(rule);
  if (named && named.length > 0) {
    const because = onlyOperation(rule) ? 'it was counted for several programs' : UNSAMPLED;
    const one = agreed(
      named.map((operation) => judgeRecorded(sets, operation)),
      because,
    );
    if (one.outcome !== 'undecided' || because !== UNSAMPLED) return one;
  }
  const wanted = textOf(rule);
  const perSet = sets.map((set): Judgement => {
    const decidable = set === null ? null : decidableOperations(set);
    if (set === null || !rule.matches.some((match) => operationsIn(match).some((op) => decidable?.has(op))))
      return PASS;
    const same = set.rules.find((one) => denies(one.action) && textOf(one) === wanted);
    return same ? { outcome: 'denied', by: `${same.policyName}/${same.name}` } : undecided(UNSAMPLED);
  });
  return agreed(perSet, OPEN_CONTAINER);
}

/** Decides all operations that the posture of a class counted. */
export function judgePosture(sets: readonly (PolicySet | null)[], name: PostureClass): Judgement {
  const isOf = (op: OperationName) => postureOf(op) === name;
  const perSet = sets.map((set): Judgement => {
    if (set === null || ![...decidableOperations(set)].some(isOf)) return PASS;
    const { block } = set.postures[name];
    const allows = set.rules.some(
      ({ action, matches }) => action.startsWith('allow') && matches.some((match) => operationsIn(match).some(isOf)),
    );
    if (block === null || allows) return undecided('it was counted without a sample');
    return { outcome: 'denied', by: `${block.policyName}/${name}-posture` };
  });
  return agreed(perSet, OPEN_CONTAINER);
}

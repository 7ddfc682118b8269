/**
 * The decision as a pure function of a policy set and an operation, with paths and addresses
 * instead of hashes and map entries.
 *
 * The tests compare the kernel programs (bpf/runtime/decide.h) with it, and `policy explain` uses
 * it. Order: first a denial of any matching rule, the strongest, then the first. Next, mounts that
 * would create an alias of a denied path. Last, allow rules against the posture of the class. Audit
 * rules are counted in addition and never hide a denial.
 */

import { type Cidr, formatAddress, mapPrefixLength, parseAddress, parseCidr } from '@bailiff/bpf';
import { type OperationName, POSTURE_CLASSES, RULE_ACTIONS, type RuleAction } from '@bailiff/vocabulary';
import { decidableOperations } from '../compile/compile.ts';
import { components } from '../compile/hash.ts';
import { EXTRA_POSTURE, EXTRA_UNRESOLVED } from '../compile/layout.ts';
import { guardedNames } from '../compile/paths.ts';
import { postureOf, SOCKET_ANY, socketValue } from '../sets/names.ts';
import {
  type AddressMatch,
  ANCESTOR_OPERATIONS,
  aliasGuard,
  denies,
  guardsNames,
  isGuarded,
  type Match,
  type PathRuleMatch,
  type PolicySet,
  type RuleIR,
  type Source,
} from '../sets/set.ts';

/** Programs that a task and its ancestors executed, newest first, as paths. */
export interface TaskFacts {
  readonly chain: readonly string[];
  /** True if the chain is longer than the kernel keeps. */
  readonly cut: boolean;
}

export type Operation =
  | {
      readonly kind: 'path';
      readonly op: OperationName;
      readonly path: string;
      /**
       * Other names of the same object that the kernel knows, such as a bind mount of the root file
       * system. A denial of one name denies all.
       */
      readonly aliases?: readonly string[];
      /**
       * For `link` and `rename`: the current name of the object. A denial there also denies the new
       * name.
       */
      readonly oldName?: boolean;
    }
  /** A path deeper than the kernel resolves. */
  | { readonly kind: 'unresolved'; readonly op: OperationName }
  | { readonly kind: 'abstract'; readonly op: OperationName; readonly name: string }
  | {
      readonly kind: 'address';
      readonly op: OperationName;
      readonly address: string;
      readonly port: number;
      readonly protocol: number;
    }
  | {
      readonly kind: 'value';
      readonly op: OperationName;
      readonly value: bigint;
      /**
       * For `mount` with value new: it shows an existing file system, as an overlay or a mounted
       * device does.
       */
      readonly alias?: boolean;
    };

export interface Counted {
  /** Behind counter_base: the index of a rule, or the number of rules + EXTRA_*. */
  readonly cell: number;
  readonly action: RuleAction;
}

export interface Decision {
  readonly outcome: 'pass' | 'block' | 'kill';
  readonly counted: readonly Counted[];
  /** Matching rules, in the order of their index. */
  readonly matched: readonly RuleIR[];
  /**
   * What decided: a denial, otherwise a posture, otherwise an allow rule that satisfied it,
   * otherwise nothing.
   */
  readonly by: 'rule' | 'alias-guard' | 'posture' | 'unresolved' | 'allow' | 'nothing';
}

function sourceHolds(source: readonly Source[] | null, task: TaskFacts, action: RuleAction): boolean {
  if (source === null) return true;
  const [self, ...above] = task.chain;
  for (const { path, children } of source) {
    if (path === self) return true;
    if (children && above.includes(path)) return true;
  }
  const maybe = task.cut && source.some(({ children }) => children);
  return maybe && action !== 'allow' && action !== 'allow-audit';
}

function liesUnder(subject: string, path: string): boolean {
  if (path === '') return !subject.startsWith('/');
  return subject.startsWith(path === '/' ? '/' : `${path}/`);
}

function pathHolds({ path, match }: PathRuleMatch, subject: string): boolean {
  if (subject === path) return true;
  if (match === 'exact' || !liesUnder(subject, path)) return false;
  return match === 'recursive' || components(subject).length === components(path).length + 1;
}

/** True if a rule's path or suffix names one of the subjects, whatever the operation. */
function namesSubject(match: Match, subjects: readonly string[]): boolean {
  if (match.kind === 'path') return subjects.some((subject) => pathHolds(match, subject));
  if (match.kind !== 'suffix') return false;
  return subjects.some((subject) => latin1(components(subject).at(-1) ?? '').endsWith(latin1(match.suffix)));
}

/** True if one of the subjects is denied, or is a directory above a denied path. */
function isDeniedOrAbove(rule: RuleIR, match: Match, subjects: readonly string[]): boolean {
  if (match.kind !== 'path' || !isGuarded(rule, match)) return false;
  const names = guardedNames(match.path);
  return subjects.some((subject) => names.includes(subject));
}

const subjectsOf = (operation: Operation & { kind: 'path' }) => [operation.path, ...(operation.aliases ?? [])];

function pathMatches(rule: RuleIR, match: Match, operation: Operation & { kind: 'path' }): boolean {
  if (match.kind !== 'path' && match.kind !== 'suffix') return false;
  const subjects = subjectsOf(operation);
  if (ANCESTOR_OPERATIONS.includes(operation.op) && isDeniedOrAbove(rule, match, subjects)) return true;
  const anyOperation = operation.oldName === true && guardsNames(rule, match);
  if (anyOperation && isDeniedOrAbove(rule, match, subjects)) return true;
  return (anyOperation || match.ops.includes(operation.op)) && namesSubject(match, subjects);
}

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

function cidrHolds(cidr: Cidr, address: Buffer): boolean {
  if (cidr.family !== parseCidr(formatAddress(address)).family) return false;
  const bits = mapPrefixLength(cidr);
  const word = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
  return (word(cidr.bytes) ^ word(address)) >> BigInt(128 - bits) === 0n;
}

/** A socket that listens without a bind has no port yet, and may get any: each denial matches. */
const mayGetAnyPort = (action: RuleAction, { op, port }: Operation & { kind: 'address' }): boolean =>
  op === 'listen' && port === 0 && (action === 'block' || action === 'kill');

function addressMatches(action: RuleAction, match: AddressMatch, operation: Operation & { kind: 'address' }): boolean {
  if (!match.ops.includes(operation.op)) return false;
  if (!mayGetAnyPort(action, operation) && (operation.port < match.portFirst || operation.port > match.portLast))
    return false;
  if (match.protocol !== 0 && match.protocol !== operation.protocol) return false;
  const address = parseAddress(operation.address);
  if (match.cidr !== null && !cidrHolds(parseCidr(match.cidr), address)) return false;
  return !match.except.some((cidr) => cidrHolds(parseCidr(cidr), address));
}

/** Keys under which a socket is looked up: each part as given, or any. */
export function socketKeys(value: bigint): bigint[] {
  const part = (shift: bigint) => Number((value >> shift) & 0xffffn);
  const [family, type, protocol] = [part(32n), part(16n), part(0n)];
  return [family, SOCKET_ANY].flatMap((f) =>
    [type, SOCKET_ANY].flatMap((t) => [protocol, SOCKET_ANY].map((p) => socketValue(f, t, p))),
  );
}

const DRIFT_KEYS: readonly (readonly bigint[])[] = [[0n], [1n], [2n, 0n]];

/** Values whose rules apply. A file in memory is drift of a layer too. */
function valueKeys({ op, value }: Operation & { kind: 'value' }): readonly bigint[] {
  if (op === 'socket') return socketKeys(value);
  return op === 'drift' ? (DRIFT_KEYS[Number(value)] ?? []) : [value];
}

function matches(rule: RuleIR, match: Match, operation: Operation): boolean {
  switch (operation.kind) {
    case 'path':
      return pathMatches(rule, match, operation);
    case 'abstract':
      return match.kind === 'abstract' && match.name === operation.name && match.ops.includes(operation.op);
    case 'address':
      return match.kind === 'address' && addressMatches(rule.action, match, operation);
    case 'value': {
      if (match.kind !== 'value' || match.op !== operation.op) return false;
      return valueKeys(operation).includes(match.value);
    }
    case 'unresolved':
      return false;
  }
}

/**
 * Allow actions that hold for every name of an object. An allow that satisfies any posture also
 * satisfies an audited one.
 */
function allowedActions(matched: readonly RuleIR[], operation: Operation): ReadonlySet<RuleAction> {
  const rules = matched.filter(({ action }) => action.startsWith('allow'));
  const views: readonly Operation[] =
    operation.kind === 'path'
      ? subjectsOf(operation).map((path) => ({ ...operation, path, aliases: [] }))
      : [operation];
  const [first, ...rest] = views.map((view) => {
    const holding = rules.filter((rule) => rule.matches.some((match) => matches(rule, match, view)));
    const actions = new Set(holding.map(({ action }) => action));
    return actions.has('allow') ? actions.add('allow-audit') : actions;
  });
  return new Set([...(first ?? [])].filter((action) => rest.every((actions) => actions.has(action))));
}

const ALIAS_MOUNTS: readonly bigint[] = [1n, 2n, 5n];

/**
 * True if a mount creates an alias of existing files: bind, move, pivot, overlay, a mounted device.
 */
function makesAlias(operation: Operation): boolean {
  if (operation.kind !== 'value' || operation.op !== 'mount') return false;
  return ALIAS_MOUNTS.includes(operation.value) || (operation.value === 0n && operation.alias === true);
}

function byPosture(set: PolicySet, op: OperationName, allowed: ReadonlySet<RuleAction>): Counted | null {
  const name = postureOf(op);
  if (name === null || allowed.has('allow')) return null;
  const cell = set.rules.length + EXTRA_POSTURE + POSTURE_CLASSES.indexOf(name) * 2;
  if (set.postures[name].block !== null) return { cell: cell + 1, action: 'block' };
  if (set.postures[name].audit !== null && !allowed.has('allow-audit')) return { cell, action: 'audit' };
  return null;
}

/** What a set does with an operation whose paths or addresses are not all known. */
export function unresolvable(set: PolicySet, op: OperationName): 'audit' | 'block' {
  return postureOf(op) === 'network' ? set.onUnresolvableAddress : set.onUnresolvable;
}

/** Decides one operation of one task. */
export function decide(set: PolicySet, operation: Operation, task: TaskFacts): Decision {
  if (!decidableOperations(set).has(operation.op)) return { outcome: 'pass', counted: [], matched: [], by: 'nothing' };
  if (operation.kind === 'unresolved') {
    const blocks = unresolvable(set, operation.op) === 'block';
    const cell = set.rules.length + EXTRA_UNRESOLVED + (blocks ? 1 : 0);
    const counted = [{ cell, action: blocks ? ('block' as const) : ('audit' as const) }];
    return { outcome: blocks ? 'block' : 'pass', counted, matched: [], by: 'unresolved' };
  }
  const matched = set.rules.filter(
    (rule) =>
      sourceHolds(rule.source, task, rule.action) && rule.matches.some((match) => matches(rule, match, operation)),
  );
  const audit = matched.find((rule) => rule.action === 'audit');
  const counted: Counted[] = audit === undefined ? [] : [{ cell: audit.index, action: 'audit' }];
  const strongest = (action: RuleAction) => RULE_ACTIONS.indexOf(action);
  const denial = matched
    .filter((rule) => denies(rule.action))
    .reduce<RuleIR | null>(
      (best, rule) => (best && strongest(best.action) >= strongest(rule.action) ? best : rule),
      null,
    );
  if (denial !== null) {
    const action = denial.action as 'block' | 'kill';
    return { outcome: action, counted: [...counted, { cell: denial.index, action }], matched, by: 'rule' };
  }
  const allowed = allowedActions(matched, operation);
  const guard = makesAlias(operation) && !allowed.has('allow') ? aliasGuard(set) : null;
  if (guard !== null) {
    counted.push({ cell: guard.rule, action: guard.action });
    return { outcome: guard.action, counted, matched, by: 'alias-guard' };
  }
  const posture = byPosture(set, operation.op, allowed);
  if (posture !== null) {
    const outcome = posture.action === 'block' ? 'block' : 'pass';
    return { outcome, counted: [...counted, posture], matched, by: 'posture' };
  }
  return { outcome: 'pass', counted, matched, by: allowed.size > 0 ? 'allow' : 'nothing' };
}

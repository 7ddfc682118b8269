/**
 * Builds the smallest policy that allows the observed operations, for review. Pure.
 *
 * learn.ts collects the operations; propose-yaml.ts renders the result. Invariants: the policy
 * passes its schema, allows every observed operation except those in `left`, and is in audit mode.
 * Bounds: MAX_POLICY_RULES rules; the others go to `left`.
 */
import {
  CAPABILITIES,
  KERNEL_OPERATIONS,
  MAX_POLICY_RULES,
  MOUNT_OPERATIONS,
  POSTURE_CLASSES,
  type PostureClass,
  pathProblem,
  type RuntimePolicyInput,
} from '@bailiff/policy';
import { isAddressOperation, isPathOperation, OPERATIONS, type OperationName, postureOf } from '@bailiff/runtime';
import { generalise, type PathGroup, type SeenPath } from './generalise-paths.ts';
import { networkRules, socketRules } from './propose-network.ts';
import {
  allRule,
  chunks,
  type Entry,
  type Learned,
  type ProposedRule,
  programOf,
  type RuleInput,
  usageOfEntries,
  usageText,
} from './rule-parts.ts';

export interface Proposal {
  name: string;
  namespace: string;
  spec: RuntimePolicyInput;
  rules: ProposedRule[];
  /** Operations without a rule, with the reason. */
  left: string[];
  /** All observed operations. */
  times: number;
}

export interface ProposeOptions {
  name: string;
  namespace: string;
  matchLabels: Readonly<Record<string, string>>;
  /** Observed classes: their posture denies what no rule allows. */
  classes: readonly PostureClass[];
}

/** Merges equal operations of all programs. */
function fold(learned: readonly Learned[]): { known: Entry[]; unknown: string[] } {
  const entries = new Map<string, Entry>();
  const unknown = new Set<string>();
  for (const one of learned) {
    const { operation, subject, address, port, protocol } = one.operation;
    if (!(OPERATIONS as readonly string[]).includes(operation)) {
      unknown.add(`${operation} ${subject}: unknown to this version`);
      continue;
    }
    const key = [operation, subject, address, port, protocol].join('\n');
    const entry = entries.get(key) ?? { op: operation as OperationName, subject, learned: [], times: 0 };
    entry.learned.push(one);
    entry.times += one.times;
    entries.set(key, entry);
  }
  return { known: [...entries.values()], unknown: [...unknown] };
}

function seenPaths(entries: readonly Entry[], wordOf: (op: OperationName) => string): SeenPath[] {
  const paths = new Map<string, { operations: Set<string>; times: number; programs: Set<string> }>();
  for (const { op, subject, learned, times } of entries) {
    const seen = paths.get(subject) ?? { operations: new Set(), times: 0, programs: new Set() };
    seen.operations.add(wordOf(op));
    seen.times += times;
    for (const one of learned) seen.programs.add(programOf(one.operation));
    paths.set(subject, seen);
  }
  return [...paths]
    .map(([path, { operations, ...rest }]) => ({ path, operations: [...operations].sort(), ...rest }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Limits of a policy's lists. */
const MAX_PATHS = 256;
const MAX_SUFFIXES = 32;
const MAX_ABSTRACT = 64;

type WhereKind = 'file' | 'execute' | 'unix';

/** One rule per combination of operations and form. */
function whereRules(kind: WhereKind, groups: readonly PathGroup[]): ProposedRule[] {
  const shapes = new Map<string, PathGroup[]>();
  for (const group of groups) {
    const form =
      group.path !== undefined
        ? 'paths'
        : group.suffix !== undefined
          ? 'suffixes'
          : group.recursive
            ? 'trees'
            : 'directories';
    const key = `${group.operations.join('-')} ${form}`;
    shapes.set(key, [...(shapes.get(key) ?? []), group]);
  }
  const rules: ProposedRule[] = [];
  for (const [key, all] of shapes) {
    const [operations = '', form = ''] = key.split(' ');
    const name = [kind === 'file' ? '' : kind, operations, form === 'paths' ? '' : form].filter(Boolean).join('-');
    const parts = chunks(all, form === 'suffixes' ? MAX_SUFFIXES : MAX_PATHS);
    rules.push(...parts.map((part) => whereRule(kind, name, form, part)));
  }
  return rules;
}

function whereRule(kind: WhereKind, name: string, form: string, groups: readonly PathGroup[]): ProposedRule {
  const field = form === 'trees' ? 'directories' : form;
  const names = groups.map(({ path, directory, suffix }) => path ?? directory ?? suffix ?? '');
  const operations = groups[0]?.operations ?? [];
  const readOnly = kind === 'file' && operations.join() === 'read';
  const match = {
    [field]: names,
    ...(form === 'trees' ? { recursive: true } : {}),
    ...(readOnly ? { readOnly: true } : { operations: [...operations] }),
  };
  const beside = new Map(
    groups.map(({ times, programs, note }, index) => [
      names[index] as string,
      [usageText(times, programs), note].filter(Boolean).join('; '),
    ]),
  );
  return { rule: { name, action: 'allow', [kind]: match } as RuleInput, comments: [], beside };
}

/** Makes names unique, with at most 63 characters. */
function makeNamesUnique(rules: readonly ProposedRule[]): void {
  const taken = new Set<string>();
  for (const { rule } of rules) {
    for (let number = 1; ; number += 1) {
      const end = number === 1 ? '' : `-${number}`;
      const name = rule.name.slice(0, 63 - end.length).replace(/-+$/, '') + end;
      if (taken.has(name)) continue;
      taken.add(name);
      rule.name = name;
      break;
    }
  }
}

/** Why a policy cannot name the path; null if it can. */
function problemOf(subject: string): string | null {
  if (subject.startsWith('…')) return 'its start is truncated';
  return hasNoPath(subject) ? 'it has no path in the container' : pathProblem(subject);
}

function pathRules(entries: readonly Entry[], left: string[]): ProposedRule[] {
  const usable = entries.filter(({ op, subject, times }) => {
    const problem = problemOf(subject);
    if (problem !== null) left.push(`${op} ${subject} (${times}): ${problem}`);
    return problem === null;
  });
  const of = (wanted: (op: OperationName) => boolean) => usable.filter(({ op }) => wanted(op));
  const executes = of((op) => postureOf(op) === 'execute');
  const unix = of((op) => op.startsWith('unix-'));
  const files = of((op) => postureOf(op) === 'file' && !op.startsWith('unix-'));
  const word = (op: OperationName) => op.replace(/^unix-/, '').replace('map-execute', 'map');
  return [
    ...whereRules('execute', generalise(seenPaths(executes, word), false)),
    ...whereRules('file', generalise(seenPaths(files, word), true)),
    ...whereRules('unix', generalise(seenPaths(unix, word), true)),
  ];
}

const isNamed = ({ op, subject }: Entry) => op.startsWith('unix-') && !subject.startsWith('/') && subject !== '';
/** Files without a directory, reported as `/memfd:name`. */
const hasNoPath = (subject: string) => /^\/?memfd:/.test(subject);
const isAnonymous = ({ op, subject }: Entry) =>
  postureOf(op) === 'execute' && (hasNoPath(subject) || !/^[/…]/.test(subject));

function nameRules(entries: readonly Entry[]): ProposedRule[] {
  const rules: ProposedRule[] = [];
  const abstract = entries.filter(isNamed);
  const names = [...new Set(abstract.map(({ subject }) => subject.replace(/^@/, '')))].sort();
  const operations = [...new Set(abstract.map(({ op }) => op.replace(/^unix-/, '')))].sort();
  for (const part of chunks(names, MAX_ABSTRACT)) {
    rules.push(allRule('unix-abstract', { unix: { abstract: part, operations } } as Partial<RuleInput>, abstract));
  }
  const anonymous = entries.filter(isAnonymous);
  if (anonymous.length > 0) {
    const rule = allRule('execute-anonymous', { execute: { anonymous: true } }, anonymous);
    rule.comments.push('REVIEW: malware uses programs without a file (memfd) to avoid the disk');
    rules.push(rule);
  }
  return rules;
}

const VALUES: readonly [OperationName, string, readonly string[]][] = [
  ['capability', 'capabilities', CAPABILITIES],
  ['mount', 'mount', MOUNT_OPERATIONS],
  ['kernel', 'kernel', KERNEL_OPERATIONS],
];

/** One rule each for capabilities, mounts and kernel operations. */
function valueRules(entries: readonly Entry[], left: string[]): ProposedRule[] {
  return VALUES.flatMap(([op, name, known]): ProposedRule[] => {
    const byWord = new Map<string, Entry[]>();
    for (const entry of entries.filter((one) => one.op === op)) {
      const first = entry.subject.split(' ')[0] ?? '';
      // `ptrace` covers being traced.
      const word = first === 'traceme' ? 'ptrace' : first;
      if (!known.includes(word)) left.push(`${op} ${entry.subject} (${entry.times}): unknown`);
      else byWord.set(word, [...(byWord.get(word) ?? []), entry]);
    }
    if (byWord.size === 0) return [];
    const words = [...byWord.keys()].sort();
    const match = op === 'capability' ? { capabilities: words } : { [op]: { operations: words } };
    const rule = allRule(name, match as Partial<RuleInput>, [...byWord.values()].flat());
    rule.comments.length = 0;
    for (const [word, of] of byWord) rule.beside.set(word, usageOfEntries(of));
    return [rule];
  });
}

/** The least policy for what was seen. */
export function proposePolicy(learned: readonly Learned[], options: ProposeOptions): Proposal {
  const { known, unknown } = fold(learned);
  const left = [...unknown];
  // Operations such as drift have no class: no posture covers them, and allow rules do not apply.
  const observed = known.filter(({ op }) => {
    const name = postureOf(op);
    return name !== null && options.classes.includes(name);
  });
  const paths = observed.filter((entry) => isPathOperation(entry.op) && !isNamed(entry) && !isAnonymous(entry));
  const rules = [
    ...pathRules(paths, left),
    ...nameRules(observed),
    ...networkRules(
      observed.filter(({ op }) => isAddressOperation(op)),
      left,
    ),
    ...socketRules(
      observed.filter(({ op }) => op === 'socket'),
      left,
    ),
    ...valueRules(observed, left),
  ];
  for (const { rule } of rules.slice(MAX_POLICY_RULES)) left.push(`rule ${rule.name}: above ${MAX_POLICY_RULES} rules`);
  const kept = rules.slice(0, MAX_POLICY_RULES);
  makeNamesUnique(kept);
  const spec: RuntimePolicyInput = {
    mode: 'audit',
    selector: { podLabels: { matchLabels: { ...options.matchLabels } } },
    defaultPosture: Object.fromEntries(
      POSTURE_CLASSES.filter((name) => options.classes.includes(name)).map((name) => [name, 'block']),
    ),
    rules: kept.map(({ rule }) => rule),
  };
  const times = learned.reduce((sum, one) => sum + one.times, 0);
  return { name: options.name, namespace: options.namespace, spec, rules: kept, left, times };
}

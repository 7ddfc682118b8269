/**
 * What a pod did → the least policy that would have allowed it, for a person to review. Pure.
 *
 * Place in the path: violations of an audited posture (learn.ts) → here → propose-yaml.ts. Invariants: the policy passes its schema; it
 * allows every operation that was given, except those in `left`, each with why; it is in audit mode and blocks nothing until a person says so.
 * Bounds: MAX_POLICY_RULES rules; what is above them goes to `left`.
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
  saidOf,
  saidOfEntries,
} from './rule-parts.ts';

export interface Proposal {
  name: string;
  namespace: string;
  spec: RuntimePolicyInput;
  rules: ProposedRule[];
  /** Operations that no rule allows, and why. */
  left: string[];
  /** Of all operations. */
  times: number;
}

export interface ProposeOptions {
  name: string;
  namespace: string;
  matchLabels: Readonly<Record<string, string>>;
  /** Classes that were watched: what they forbid is what no rule allows. */
  classes: readonly PostureClass[];
}

/** The same operations together, each with its programs. */
function fold(learned: readonly Learned[]): { known: Entry[]; unknown: string[] } {
  const entries = new Map<string, Entry>();
  const unknown = new Set<string>();
  for (const one of learned) {
    const { operation, subject, address, port, protocol } = one.operation;
    if (!(OPERATIONS as readonly string[]).includes(operation)) {
      unknown.add(`${operation} ${subject}: an operation that this version does not know`);
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

/** Entries that a policy's lists take. */
const MAX_PATHS = 256;
const MAX_SUFFIXES = 32;
const MAX_ABSTRACT = 64;

type WhereKind = 'file' | 'execute' | 'unix';

/** Groups with the same operations and form, as rules. */
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
      [saidOf(times, programs), note].filter(Boolean).join('; '),
    ]),
  );
  return { rule: { name, action: 'allow', [kind]: match } as RuleInput, comments: [], beside };
}

/** Each name once, and none longer than the 63 characters that a rule's has. */
function nameApart(rules: readonly ProposedRule[]): void {
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

/** Why a policy cannot name it; null when it can. */
function problemOf(subject: string): string | null {
  if (subject.startsWith('…')) return 'its beginning was cut';
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
/** What hangs in no directory: the kernel tells `/memfd:name` of it. */
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
    rule.comments.push('REVIEW: programs without a file (memfd) are how malware avoids the disk');
    rules.push(rule);
  }
  return rules;
}

const VALUES: readonly [OperationName, string, readonly string[]][] = [
  ['capability', 'capabilities', CAPABILITIES],
  ['mount', 'mount', MOUNT_OPERATIONS],
  ['kernel', 'kernel', KERNEL_OPERATIONS],
];

/** Capabilities, mounts and kernel operations: a list each. */
function valueRules(entries: readonly Entry[], left: string[]): ProposedRule[] {
  return VALUES.flatMap(([op, name, known]): ProposedRule[] => {
    const byWord = new Map<string, Entry[]>();
    for (const entry of entries.filter((one) => one.op === op)) {
      const first = entry.subject.split(' ')[0] ?? '';
      // Being traced is allowed with tracing.
      const word = first === 'traceme' ? 'ptrace' : first;
      if (!known.includes(word)) left.push(`${op} ${entry.subject} (${entry.times}): not known`);
      else byWord.set(word, [...(byWord.get(word) ?? []), entry]);
    }
    if (byWord.size === 0) return [];
    const words = [...byWord.keys()].sort();
    const match = op === 'capability' ? { capabilities: words } : { [op]: { operations: words } };
    const rule = allRule(name, match as Partial<RuleInput>, [...byWord.values()].flat());
    rule.comments.length = 0;
    for (const [word, of] of byWord) rule.beside.set(word, saidOfEntries(of));
    return [rule];
  });
}

/** The least policy for what was seen. */
export function proposePolicy(learned: readonly Learned[], options: ProposeOptions): Proposal {
  const { known, unknown } = fold(learned);
  const left = [...unknown];
  // Drift and alike are of no class: no posture asks about them, and no allow rule answers.
  const asked = known.filter(({ op }) => {
    const name = postureOf(op);
    return name !== null && options.classes.includes(name);
  });
  const paths = asked.filter((entry) => isPathOperation(entry.op) && !isNamed(entry) && !isAnonymous(entry));
  const rules = [
    ...pathRules(paths, left),
    ...nameRules(asked),
    ...networkRules(
      asked.filter(({ op }) => isAddressOperation(op)),
      left,
    ),
    ...socketRules(
      asked.filter(({ op }) => op === 'socket'),
      left,
    ),
    ...valueRules(asked, left),
  ];
  for (const { rule } of rules.slice(MAX_POLICY_RULES)) left.push(`rule ${rule.name}: above ${MAX_POLICY_RULES} rules`);
  const kept = rules.slice(0, MAX_POLICY_RULES);
  nameApart(kept);
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

/**
 * What is configured not to be enforced: vectors in audit or off, by cluster, namespace and
 * workload; runtime policies in audit or off; correlation rules and response policies that are
 * disabled; disarms. Pure.
 *
 * A vector counts if its mode is weaker than the built-in one, or than that of the wider scope.
 * Values that readers refuse do not count: another problem reports them.
 */
import {
  type ConfigKey,
  effectiveMode,
  MODES,
  type Mode,
  parseConfigKey,
  parseConfigValue,
  type ResponsePolicy,
  type RuntimePolicy,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  type SpoofScoped,
  spoofCluster,
  TUNABLE_VECTORS,
} from '@bailiff/policy';
import type { InstanceStatus, NodeStatus } from '@bailiff/schemas';
import { age, plural, shortList } from '../status/text.ts';
import { activeInstances } from './instances.ts';
import { notEnforced, type Problem, warn } from './problem.ts';

/** A disarm (break-glass) that is in force. */
export interface ActiveDisarm {
  /** `the whole cluster`, `node node-a`, `namespace shop`. */
  scope: string;
  untilMs: number;
  by: string;
  reason: string;
}

/** A stored value of the configuration. */
export interface ConfigValue {
  key: string;
  json: string;
  /** Why every reader refuses it; empty if they accept it. */
  refused: string;
  /** Only the reader of these facts refuses it: those in the cluster, of another version, accept it. */
  refusedHere?: boolean;
}

/** Vectors of one scope that are weaker than they would be without its policy. */
export interface Weakened {
  key: string;
  /** Both null: the cluster. */
  namespace: string | null;
  workload: string | null;
  mode: Exclude<Mode, 'enforce'>;
  vectors: string[];
  /** Narrower policies that enforce some of them again. */
  restoredIn: string[];
}

/** Runtime policies by their mode, whatever nodes can enforce. */
export interface PoliciesByMode {
  enforce: string[];
  audit: string[];
  off: string[];
}

/** Stored with `enabled: false`, also in the place of a built-in one. */
export interface Disabled {
  rules: string[];
  responses: string[];
}

export interface Enforcement {
  weakened: Weakened[];
  policies: PoliciesByMode;
  disabled: Disabled;
  /** Response policies that are no dry runs. */
  acting: string[];
}

interface Parsed {
  key: ConfigKey;
  text: string;
  value: unknown;
}

function parsed({ key: text, json, refused }: ConfigValue): Parsed[] {
  if (refused !== '') return [];
  const key = parseConfigKey(text);
  return [{ key, text, value: parseConfigValue(key, json) }];
}

const rank = (mode: Mode) => MODES.indexOf(mode);

export function enforcementOf(config: readonly ConfigValue[]): Enforcement {
  const all = config.flatMap(parsed);
  const disabled = { rules: disabledIn(all, 'correlation'), responses: disabledIn(all, 'response') };
  const isActing = ({ key, value }: Parsed) => {
    if (key.kind !== 'response') return false;
    const { enabled, dryRun } = value as ResponsePolicy;
    return enabled && !dryRun;
  };
  const acting = all.filter(isActing).map(({ key: { name } }) => name);
  return { weakened: weakenedIn(all), policies: policiesIn(all), disabled, acting };
}

/** The scope in words, as in problems. */
export const scopeName = ({ namespace, workload }: Pick<Weakened, 'namespace' | 'workload'>): string =>
  namespace === null ? 'cluster' : workload === null ? `namespace ${namespace}` : `workload ${namespace}/${workload}`;

function weakenedIn(all: readonly Parsed[]): Weakened[] {
  const spoof = all.filter(({ key }) => key.kind === 'spoof');
  const widest = spoof.find(({ text }) => text === SPOOF_CLUSTER_KEY)?.value as SpoofCluster | undefined;
  const scopes = spoof.map(({ key, text, value }) => {
    const isCluster = text === SPOOF_CLUSTER_KEY;
    const isWorkload = key.scope === 'workload';
    const ofNamespace = spoof.find((one) => one.key.scope === 'namespace' && one.key.namespace === key.namespace);
    const wider = isCluster ? [] : [widest, isWorkload ? (ofNamespace?.value as SpoofScoped | undefined) : undefined];
    const own = [...wider, value as SpoofScoped];
    const changed = TUNABLE_VECTORS.map((vector) => ({
      vector: vector as string,
      mode: effectiveMode(vector, own),
      before: effectiveMode(vector, wider),
    })).filter(({ mode, before }) => mode !== before);
    const unknown = isCluster ? (value as SpoofCluster).unknown : null;
    if (unknown === 'off')
      changed.push({ vector: 'unknown-interface', mode: 'off', before: spoofCluster.parse({}).unknown });
    const place = { namespace: isCluster ? null : key.namespace, workload: isWorkload ? key.name : null };
    return { key: text, ...place, changed };
  });
  return scopes.flatMap(({ changed, ...scope }) =>
    (['off', 'audit'] as const).flatMap((mode): Weakened[] => {
      const vectors = changed
        .filter((one) => one.mode === mode && rank(mode) < rank(one.before))
        .map(({ vector }) => vector);
      if (vectors.length === 0) return [];
      const restoredIn = scopes
        .filter(
          (other) =>
            isWithin(other, scope) &&
            other.changed.some((one) => one.mode === 'enforce' && vectors.includes(one.vector)),
        )
        .map(scopeName);
      return [{ ...scope, mode, vectors, restoredIn }];
    }),
  );
}

type Place = Pick<Weakened, 'namespace' | 'workload'>;

const isWithin = (inner: Place, outer: Place): boolean =>
  (outer.namespace === null && inner.namespace !== null) ||
  (outer.workload === null && inner.workload !== null && inner.namespace === outer.namespace);

function policiesIn(all: readonly Parsed[]): PoliciesByMode {
  const policies = all.filter(({ key }) => key.kind === 'runtime');
  const named = (test: (policy: RuntimePolicy) => boolean) =>
    policies
      .filter(({ value }) => test(value as RuntimePolicy))
      .map(({ key: { name, namespace } }) => (namespace === null ? name : `${namespace}/${name}`));
  return {
    enforce: named(({ enabled, mode }) => enabled && mode === 'enforce'),
    audit: named(({ enabled, mode }) => enabled && mode === 'audit'),
    off: named(({ enabled }) => !enabled),
  };
}

const disabledIn = (all: readonly Parsed[], kind: 'correlation' | 'response'): string[] =>
  all
    .filter(({ key, value }) => key.kind === kind && !(value as { enabled: boolean }).enabled)
    .map(({ key: { name } }) => name);

/**
 * Whether packets of a pod are judged more leniently than by the built-in modes. A workload is
 * recognised by the name of its pods.
 */
export function isWeakened(pod: { podNamespace: string; podName: string }, weakened: readonly Weakened[]): boolean {
  return weakened.some(({ namespace, workload }) => {
    if (namespace === null) return true;
    if (namespace !== pod.podNamespace) return false;
    return workload === null || pod.podName === workload || pod.podName.startsWith(`${workload}-`);
  });
}

/** Vectors and policies named in one problem; `--json` lists all. */
const MAX_VECTORS = 3;
const MAX_POLICIES = 4;

function textOf({ mode, vectors, restoredIn }: Weakened): string {
  const isAll = TUNABLE_VECTORS.every((vector) => vectors.includes(vector));
  const what = isAll ? 'every vector is' : `${shortList(vectors, MAX_VECTORS)} ${vectors.length === 1 ? 'is' : 'are'}`;
  const effect = mode === 'audit' ? 'in audit: such packets are counted, and pass' : 'off: such packets pass uncounted';
  const except = restoredIn.length > 0 ? ` (enforced again in ${shortList(restoredIn, MAX_POLICIES)})` : '';
  return `${what} ${effect}${except}`;
}

/** What passes uncounted is unknown: it is audited before it is enforced. */
function remedyOf({ key, mode, vectors }: Weakened): string {
  const next = mode === 'off' ? 'audit' : 'enforce';
  const change =
    vectors.length === 1 && vectors[0] !== 'unknown-interface'
      ? `bailiff config set ${key} modes.${vectors[0]}=${next}`
      : `bailiff config get ${key}`;
  return mode === 'off' ? `audit first: ${change}` : `bailiff doctor --would-drop --since 7d, then ${change}`;
}

/** Clusters before namespaces before workloads, and `off` before `audit`. */
export function enforcementProblems(
  { weakened, policies, disabled }: Enforcement,
  disarms: readonly ActiveDisarm[],
  nowMs: number,
): Problem[] {
  const width = ({ namespace, workload }: Weakened) => (namespace === null ? 0 : workload === null ? 1 : 2);
  const problems = disarms.map(({ scope, untilMs, by, reason }) => {
    const who = by ? ` by ${by}` : '';
    return notEnforced('DISARMED', `${scope} for ${age(untilMs - nowMs)}${who}${reason ? `: ${reason}` : ''}`);
  });
  problems.push(
    ...[...weakened]
      .sort((a, b) => width(a) - width(b))
      .map((one) => notEnforced(scopeName(one), textOf(one), remedyOf(one))),
  );
  const { audit, off } = policies;
  if (audit.length > 0) {
    const text = `${shortList(audit, MAX_POLICIES)} in audit: what ${audit.length === 1 ? 'it denies' : 'they deny'} is counted, and passes`;
    problems.push(notEnforced(plural(audit.length, 'runtime policy', 'runtime policies'), text, 'bailiff policy list'));
  }
  if (off.length > 0) {
    const text = `${shortList(off, MAX_POLICIES)} off (enabled: false)`;
    problems.push(notEnforced(plural(off.length, 'runtime policy', 'runtime policies'), text, 'bailiff policy list'));
  }
  return [...problems, ...disabledProblems(disabled)];
}

/** A dry run of all responses is no exit code either. */
export function dryRunProblems(
  { acting }: Pick<Enforcement, 'acting'>,
  instances: readonly InstanceStatus[],
  nowMs: number,
): Problem[] {
  const isDry = activeInstances(instances, nowMs).some(({ dryRun = false }) => dryRun);
  if (!isDry || acting.length === 0) return [];
  const text = `was started with dryRun: ${shortList(acting, MAX_POLICIES)} ${acting.length === 1 ? 'does' : 'do'} nothing either`;
  return [warn('responder', text, 'responder.dryRun=false in the chart, or start it without --dry-run', 'enforcement')];
}

const ENFORCE = `bailiff doctor --would-drop --since 7d, then bailiff config set ${SPOOF_CLUSTER_KEY} 'modes={}'`;

/** Narrower policies hold all the same. */
export function initialModeProblems(node: string, { initialMode }: Pick<NodeStatus, 'initialMode'>): Problem[] {
  if (initialMode !== 'audit') return [];
  const text = `has no ${SPOOF_CLUSTER_KEY}, and its initialMode is audit: forged packets are counted, and pass`;
  return [notEnforced(node, text, ENFORCE)];
}

/** A response policy responds to nothing as a dry run too, the default: that is no exit code. */
function disabledProblems({ rules, responses }: Disabled): Problem[] {
  const problems: Problem[] = [];
  if (rules.length > 0) {
    const text = `${shortList(rules, MAX_POLICIES)} off (enabled: false): violations are not judged by ${rules.length === 1 ? 'it' : 'them'}`;
    problems.push(notEnforced(plural(rules.length, 'correlation rule'), text, 'bailiff config list'));
  }
  if (responses.length > 0) {
    const text = `${shortList(responses, MAX_POLICIES)} off (enabled: false): ${responses.length === 1 ? 'it responds' : 'they respond'} to no verdict`;
    problems.push(
      warn(
        plural(responses.length, 'response policy', 'response policies'),
        text,
        'bailiff config list',
        'enforcement',
      ),
    );
  }
  return problems;
}

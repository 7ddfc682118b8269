/**
 * The effective configuration of a pod, or of future pods of a namespace, with the origin of each
 * value. Pure.
 *
 * Precedence between keys is decided by libs/policy (scopes.ts), libs/runtime (select.ts) and the
 * built-in values, as in collector, correlator and responder. If readers refuse the stored value,
 * the last accepted one is shown (`lastGood`).
 */
import type { StoredConfig } from '@bailiff/bus';
import {
  BUILT_IN_RESPONSE_POLICIES,
  BUILT_IN_RULES,
  type ConfigKey,
  type CorrelationRule,
  type Disarm,
  disarmKeys,
  effectiveMode,
  effectiveSampling,
  formatConfigKey,
  isPermitFor,
  latestDisarm,
  modeScope,
  type PermitScope,
  type ResponsePolicy,
  type RuntimePolicy,
  SAMPLING_FIELDS,
  type Selection,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  type SpoofScoped,
  samplingScope,
  spoofCluster,
  spoofScopeKeys,
  TUNABLE_VECTORS,
} from '@bailiff/policy';
import { selectsPod } from '@bailiff/runtime';
import { ownerText } from '../../shared/config/owner.ts';

/** A stored value that readers accept. */
export interface InForce {
  key: ConfigKey;
  /** With defaults. */
  value: unknown;
  /** As stored. */
  written: unknown;
  stored: StoredConfig;
  /** Readers refuse a newer value and keep this one. */
  lastGood: boolean;
}

/** Origin of a value. */
export type Origin =
  | { source: 'default' }
  | {
      source: 'key';
      key: string;
      revision: number;
      keptBy: string;
      by: string;
      why: string;
      atMicros: number;
      lastGood: boolean;
    };

export interface Setting {
  setting: string;
  value: unknown;
  from: Origin;
  /** Additional information; usually empty. */
  note: string;
}

/** The pods that are asked about. */
export interface Target {
  namespace: string;
  /** Null for all pods of the namespace. */
  workload: string | null;
  node: string | null;
  /** Null for any labels. */
  labels: Readonly<Record<string, string>> | null;
  /** Kind of the controlling owner; null if there is none or it is unknown. */
  ownerKind: string | null;
}

export interface Effective {
  spoof: Setting[];
  disarm: Setting[];
  runtime: Setting[];
  correlation: Setting[];
  response: Setting[];
}

const DEFAULT: Origin = { source: 'default' };

function originOf(one: InForce | undefined): Origin {
  if (!one) return DEFAULT;
  const { revision, by, why, timestampMicros: atMicros } = one.stored;
  return {
    source: 'key',
    key: formatConfigKey(one.key),
    revision,
    keptBy: ownerText(one.stored),
    by,
    why,
    atMicros,
    lastGood: one.lastGood,
  };
}

const isSet = (one: InForce | undefined, ...path: string[]): boolean =>
  path.reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], one?.written) !== undefined;

export function effectiveFor(target: Target, stored: readonly InForce[], nowMs: number): Effective {
  const byKey = new Map(stored.map((one) => [formatConfigKey(one.key), one]));
  return {
    spoof: spoofOf(target, byKey),
    disarm: disarmOf(target, byKey, nowMs),
    runtime: runtimeOf(target, stored),
    correlation: correlationOf(target, stored),
    response: responseOf(target, stored),
  };
}

function spoofOf(target: Target, byKey: ReadonlyMap<string, InForce>): Setting[] {
  const widest = byKey.get(SPOOF_CLUSTER_KEY);
  const cluster = (widest?.value as SpoofCluster | undefined) ?? spoofCluster.parse({});
  const narrower = spoofScopeKeys(target.namespace, target.workload).map((key) => byKey.get(key));
  const values = narrower.map((one) => one?.value as SpoofScoped | undefined);
  const all = [widest, ...narrower];
  const scopes = [cluster, ...values];
  const sampling = effectiveSampling(cluster, values);
  const setting = (name: string, value: unknown, from: Origin, note = ''): Setting => ({
    setting: name,
    value,
    from,
    note,
  });
  const ofCluster = (name: string, value: unknown, note = '') =>
    setting(name, value, isSet(widest, ...name.split('.')) ? originOf(widest) : DEFAULT, note);
  // A permit for one service account counts too: the target has none.
  const permits = (permit: PermitScope) =>
    isPermitFor(permit, { ...target, serviceAccount: permit.serviceAccount ?? '' });
  return [
    ...TUNABLE_VECTORS.map((vector) =>
      setting(`modes.${vector}`, effectiveMode(vector, scopes), originOf(all[modeScope(vector, scopes)])),
    ),
    ...SAMPLING_FIELDS.map((field) => {
      const at = samplingScope(field, values);
      if (at >= 0) return setting(`sampling.${field}`, sampling[field], originOf(narrower[at]));
      return ofCluster(`sampling.${field}`, sampling[field]);
    }),
    ofCluster('unknown', cluster.unknown, 'for interfaces of unknown pods'),
    ofCluster('tunnelPorts.vxlan', cluster.tunnelPorts.vxlan),
    ofCluster('tunnelPorts.geneve', cluster.tunnelPorts.geneve),
    ofCluster('tunnelNetworks.inside', cluster.tunnelNetworks.inside),
    ofCluster('tunnelNetworks.outside', cluster.tunnelNetworks.outside),
    ofCluster('quarantine.allow', cluster.quarantine.allow),
    ...Object.entries({
      allowedPrefixes: cluster.allowedPrefixes.filter(permits).flatMap(({ prefixes }) => prefixes),
      allowedMacs: cluster.allowedMacs.filter(permits).flatMap(({ macs }) => macs),
      allowedTunnels: cluster.allowedTunnels.filter(permits).flatMap(({ peers }) => peers),
      allowedNeighbours: cluster.allowedNeighbours.filter(permits).flatMap(({ prefixes }) => prefixes),
    }).map(([name, values]) => ofCluster(name, values, 'that a pod annotation may request')),
  ];
}

function disarmOf({ node, namespace }: Target, byKey: ReadonlyMap<string, InForce>, nowMs: number): Setting[] {
  const keys = disarmKeys(node, namespace);
  const disarms = keys.map((key) => byKey.get(key)?.value as Disarm | undefined);
  const latest = latestDisarm(disarms, nowMs);
  const { until, reason } = disarms[latest] ?? {};
  const from = originOf(byKey.get(keys[latest] ?? ''));
  return [{ setting: 'disarmed until', value: until ?? null, from, note: reason ?? '' }];
}

function runtimeOf({ namespace, labels }: Target, stored: readonly InForce[]): Setting[] {
  return stored.flatMap((one) => {
    const { key } = one;
    if (key.kind !== 'runtime') return [];
    const policy = one.value as RuntimePolicy;
    const { podLabels, containers, ...places } = policy.selector;
    const candidatePolicy = labels === null ? { ...policy, selector: places } : policy;
    const { name, namespace: within } = key;
    const candidate = { key: formatConfigKey(key), name, namespace: within, policy: candidatePolicy };
    if (!selectsPod(candidate, { namespace, labels: labels ?? {} })) return [];
    const notes = [
      ...(labels === null && podLabels ? ['only pods with its labels'] : []),
      ...(containers ? [`only containers ${containers.join(', ')}`] : []),
    ];
    const note = notes.join('; ');
    return [{ setting: key.name, value: policy.mode, from: originOf(one), note }];
  });
}

/** Built-in and stored values of a kind by name; stored ones win. */
function mergedByName<T>(kind: ConfigKey['kind'], builtIn: Readonly<Record<string, T>>, stored: readonly InForce[]) {
  const all = new Map<string, { value: T; one: InForce | undefined }>(
    Object.entries(builtIn).map(([name, value]) => [name, { value, one: undefined }]),
  );
  for (const one of stored) if (one.key.kind === kind) all.set(one.key.name, { value: one.value as T, one });
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1));
}

const reaches = ({ namespaces, excludeNamespaces }: Selection, namespace: string) =>
  (namespaces?.includes(namespace) ?? true) && !excludeNamespaces?.includes(namespace);

function correlationOf({ namespace }: Target, stored: readonly InForce[]): Setting[] {
  return mergedByName('correlation', BUILT_IN_RULES, stored).flatMap(([setting, { value: rule, one }]) => {
    const stages = 'rules' in rule ? rule.rules.map(({ selection }) => selection) : [rule.selection];
    const within = stages.filter((selection) => reaches(selection, namespace)).length;
    // Other pods of the group can fulfil the other stages.
    const isShared = rule['group-by'] === 'node';
    if (within < (isShared ? 1 : stages.length)) return [];
    return [{ setting, value: rule.enabled ? ruleText(rule) : 'off', from: originOf(one), note: '' }];
  });
}

/** `high: 10 or more within 60s by pod` */
export function ruleText(rule: CorrelationRule): string {
  const by = `within ${rule.timespan} by ${rule['group-by']}`;
  if (rule.type === 'event_count') return `${rule.level}: ${rule.condition.gte} or more ${by}`;
  if (rule.type === 'value_count') return `${rule.level}: ${rule.condition.gte} or more different ${rule.field} ${by}`;
  const names = rule.rules.map(({ name }) => name);
  return `${rule.level}: ${names.join(rule.type === 'temporal' ? ' and ' : ' then ')} ${by}`;
}

function responseOf({ namespace, ownerKind }: Target, stored: readonly InForce[]): Setting[] {
  return mergedByName('response', BUILT_IN_RESPONSE_POLICIES, stored).flatMap(([setting, { value: policy, one }]) => {
    if (!(policy.match.namespaces?.includes(namespace) ?? true)) return [];
    const value = policy.enabled ? policyText(policy) : 'off';
    return [
      { setting, value, from: originOf(one), note: policy.enabled ? protection(policy, namespace, ownerKind) : '' },
    ];
  });
}

/** `dry run of observe, label, delete on high, critical` */
export function policyText({ dryRun, steps, match }: ResponsePolicy): string {
  const actions = steps.map(({ action, after }) => (after === undefined ? action : `${action} after ${after}`));
  const on = [...(match.levels ?? []), ...(match.rules ?? []).map((rule) => `rule ${rule}`)];
  return `${dryRun ? 'dry run of ' : ''}${actions.join(', ')} on ${on.length > 0 ? on.join(', ') : 'every verdict'}${ofActions(match.actions)}`;
}

function ofActions(actions: ResponsePolicy['match']['actions'] = ['drop']): string {
  if (!actions.includes('audit')) return '';
  return actions.includes('drop') ? ', also of audited violations' : ', only of audited violations';
}

function protection({ guards }: ResponsePolicy, namespace: string, ownerKind: string | null): string {
  if (guards.protectedNamespaces.includes(namespace)) return `namespace ${namespace} is protected: observe only`;
  if (ownerKind !== null && guards.protectedOwnerKinds.includes(ownerKind))
    return `pods of a ${ownerKind} are quarantined, not removed`;
  return '';
}

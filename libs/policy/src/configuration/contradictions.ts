/**
 * Contradictions in a value: combinations of valid fields that can never apply. A write with a
 * contradiction is refused, with the field.
 *
 * Separate from the schemas, because readers do not check it: a value that an earlier version
 * stored stays in force. A contradiction cannot apply in any state of the cluster; unusual values
 * are allowed. Pure.
 */
import { DISRUPTIVE_ACTIONS, REMOVING_ACTIONS } from '@bailiff/vocabulary';
import type { CorrelationRule, Selection } from '../documents/correlation.ts';
import type { ResponsePolicy } from '../documents/response.ts';
import type { RuntimePolicy } from '../documents/runtime.ts';
import type { Disarm, SpoofCluster } from '../documents/spoof.ts';
import { parseDurationMs } from '../documents/units.ts';
import type { ConfigKey } from './keys.ts';

export interface Contradiction {
  path: readonly (string | number)[];
  message: string;
}

/** Maximum difference between the clocks of writer and reader. */
const CLOCK_MARGIN_MS = 60_000;

/** @param value parsed by the schema of its key; `nowMs` wall clock, for values with an end */
export function contradictionsOf({ kind, scope }: ConfigKey, value: unknown, nowMs: number): Contradiction[] {
  if (kind === 'response') return ofResponse(value as ResponsePolicy);
  if (kind === 'correlation') return ofRule(value as CorrelationRule);
  if (kind === 'disarm') return ofDisarm(value as Disarm, nowMs);
  if (kind === 'runtime') return ofNamespaces((value as RuntimePolicy).selector, ['selector'], 'selects no pod');
  return scope === 'cluster' ? ofCluster(value as SpoofCluster) : [];
}

function ofResponse({ enabled, dryRun, match, steps, guards }: ResponsePolicy): Contradiction[] {
  const found: Contradiction[] = [];
  const stepsWith = (actions: readonly string[]) =>
    steps.flatMap(({ action }, index) => (actions.includes(action) ? [`steps.${index} (${action})`] : [])).join(', ');
  const { protectedNamespaces, budget } = guards;
  const touching = stepsWith(['label', 'capture', ...DISRUPTIVE_ACTIONS]);
  if (match.namespaces?.every((name) => protectedNamespaces.includes(name)) && touching !== '')
    found.push({
      path: ['match', 'namespaces'],
      message: `${touching} would always be refused: each of these namespaces is in guards.protectedNamespaces`,
    });
  // A dry run is recorded before budgets are checked, so they may be closed until it ends.
  if (!enabled || dryRun) return found;
  const never = (field: string, actions: readonly string[], why: string) => {
    const refused = stepsWith(actions);
    if (refused !== '')
      found.push({ path: ['guards', 'budget', field], message: `${why}: ${refused} would always be refused` });
  };
  const limited = [...(budget.exhausted === 'refuse' ? DISRUPTIVE_ACTIONS : REMOVING_ACTIONS)];
  if (budget.maxPods === 0) never('maxPods', limited, '0 allows no pod');
  if (budget.maxPodsPerNamespace === 0) never('maxPodsPerNamespace', limited, '0 allows no pod');
  if (budget.maxQuarantines === 0) never('maxQuarantines', ['quarantine'], '0 allows no pod');
  if (budget.maxNodes === 0) never('maxNodes', ['cordon'], '0 allows no node');
  return found;
}

function ofRule(rule: CorrelationRule): Contradiction[] {
  if (rule.type === 'temporal' || rule.type === 'temporal_ordered')
    return rule.rules.flatMap(({ selection }, index) => ofSelection(rule, selection, ['rules', index, 'selection']));
  const found = ofSelection(rule, rule.selection, ['selection']);
  return rule.type === 'value_count' ? [...found, ...ofValueCount(rule)] : found;
}

/** Fields of operations only. Packets have vectors. */
const OF_OPERATIONS = ['policies', 'rules', 'operations', 'severities'] as const;
const saysOperations = (selection: Selection) => OF_OPERATIONS.find((field) => selection[field] !== undefined);
const isOnly = (selection: Selection, kind: 'spoof' | 'lsm') => selection.kinds?.every((one) => one === kind) ?? false;

function ofSelection(rule: CorrelationRule, selection: Selection, path: readonly (string | number)[]): Contradiction[] {
  const found = ofNamespaces(selection, path, 'matches no violation');
  const { vectors } = selection;
  const field = saysOperations(selection);
  if (field !== undefined && (isOnly(selection, 'spoof') || vectors !== undefined)) {
    const what = vectors === undefined ? 'kinds names packets only' : 'vectors applies to packets';
    found.push({ path: [...path, field], message: `applies to operations, and ${what}: no violation matches both` });
  }
  if (vectors !== undefined && isOnly(selection, 'lsm'))
    found.push({ path: [...path, 'vectors'], message: 'applies to packets, and kinds names operations only' });
  if (vectors?.every((vector) => vector === 'foreign-pod' || vector === 'invalid-frame') && rule['group-by'] !== 'node')
    found.push({
      path: ['group-by'],
      message: `must be node: a ${vectors[0]} violation is about a node and has no pod`,
    });
  return found;
}

const OPERATION_FIELDS: readonly string[] = ['policyRule', 'operation', 'executable', 'subject'];

function ofValueCount({ selection, field, condition }: Extract<CorrelationRule, { type: 'value_count' }>) {
  const found: Contradiction[] = [];
  const ofPackets = isOnly(selection, 'spoof') || selection.vectors !== undefined;
  const ofOperations = isOnly(selection, 'lsm') || saysOperations(selection) !== undefined;
  if (OPERATION_FIELDS.includes(field) ? ofPackets : field !== 'vector' && ofOperations) {
    const [has, selects] = OPERATION_FIELDS.includes(field) ? ['operations', 'packets'] : ['packets', 'operations'];
    found.push({ path: ['field'], message: `only ${has} have a ${field}, and the selection is of ${selects}` });
  }
  const list = field === 'vector' ? 'vectors' : field === 'operation' ? 'operations' : null;
  const values = list === null ? undefined : selection[list];
  if (values !== undefined && new Set(values).size < condition.gte)
    found.push({
      path: ['condition', 'gte'],
      message: `${condition.gte} different values are never seen: selection.${list} names ${new Set(values).size}`,
    });
  return found;
}

function ofNamespaces(
  { namespaces, excludeNamespaces }: Pick<Selection, 'namespaces' | 'excludeNamespaces'>,
  path: readonly (string | number)[],
  so: string,
): Contradiction[] {
  if (!namespaces?.every((name) => excludeNamespaces?.includes(name))) return [];
  return [{ path: [...path, 'excludeNamespaces'], message: `excludes all that namespaces names, so it ${so}` }];
}

function ofDisarm({ until, duration }: Disarm, nowMs: number): Contradiction[] {
  const leftMs = Date.parse(until) - nowMs;
  // A time in the past ends the disarm.
  if (leftMs <= (parseDurationMs(duration) as number) + CLOCK_MARGIN_MS) return [];
  return [{ path: ['until'], message: `is further away than duration allows (${duration} from now)` }];
}

function ofCluster({ tunnelPorts, tunnelNetworks, quarantine }: SpoofCluster): Contradiction[] {
  const found: Contradiction[] = tunnelPorts.geneve.flatMap((port, index) =>
    tunnelPorts.vxlan.includes(port)
      ? [
          {
            path: ['tunnelPorts', 'geneve', index],
            message: `${port} is a VXLAN port as well: it can be only one of them`,
          },
        ]
      : [],
  );
  tunnelNetworks.outside.forEach((cidr, index) => {
    const path = ['tunnelNetworks', 'outside', index];
    if (tunnelNetworks.inside.includes(cidr)) found.push({ path, message: `${cidr} is inside as well` });
    else if (cidr.endsWith('/0'))
      found.push({ path, message: `${cidr} is every network: to audit all tunnels, set modes.tunnel to audit` });
  });
  quarantine.allow.forEach((cidr, index) => {
    if (cidr.endsWith('/0'))
      found.push({
        path: ['quarantine', 'allow', index],
        message: `${cidr} allows all traffic, so a quarantine would have no effect`,
      });
  });
  return found;
}

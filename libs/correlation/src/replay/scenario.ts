/**
 * Judges a scenario, events that a user wrote, by the fold that correlators run. Pure; the base of
 * `bailiff rules test`. Every pod of an event is listed on its node from the start.
 */
import type { NodeSnapshot, PodRef, Verdict, Violation } from '@bailiff/schemas';
import { PodInventory } from '../attribution/pod-inventory.ts';
import { CorrelationEngine, type Refusal } from '../engine/engine.ts';
import type { RuleHistory } from '../engine/rule-history.ts';
import { SimCollector, T0 } from './sim-collector.ts';

export interface ScenarioEvent {
  /** Since the begin of the scenario. */
  atMicros: number;
  node: string;
  pod: PodRef;
  /** Packets, or calls of an operation. */
  count: number;
  /** Fields that differ from those of a dropped packet with a foreign IPv4 source. */
  violation: Partial<Violation>;
}

export interface ScenarioResult {
  verdicts: { atMicros: number; verdict: Verdict }[];
  /** Events that a correlator rejects, with the reason. */
  refusals: Refusal[];
}

function snapshotOf(node: string, pods: readonly PodRef[]): NodeSnapshot {
  return {
    nodeName: node,
    revision: 1,
    pods: pods.map(({ uid, namespace, name, serviceAccount, ownerKind, ownerName, ownerUid }) => ({
      uid,
      namespace,
      name,
      serviceAccount,
      labels: {},
      owners: ownerUid === '' ? [] : [{ kind: ownerKind, name: ownerName, uid: ownerUid }],
      interfaces: [],
      hostNetwork: false,
      containers: [],
      allowedPrefixes: [],
      probePorts: [],
      revision: 1,
      createdAt: new Date(0).toISOString(),
    })),
  };
}

export function judgeScenario(rules: RuleHistory, events: readonly ScenarioEvent[]): ScenarioResult {
  const pods = new Map<string, Map<string, PodRef>>();
  for (const { node, pod } of events) pods.set(node, (pods.get(node) ?? new Map()).set(pod.uid, pod));
  const inventory = new PodInventory();
  let revision = 0;
  for (const [node, listed] of pods) {
    revision += 1;
    const json = JSON.stringify(snapshotOf(node, [...listed.values()]));
    inventory.apply({ node, timestampMicros: 1, revision, previousRevision: 0, json });
  }
  const result: ScenarioResult = { verdicts: [], refusals: [] };
  const engine = new CorrelationEngine({
    inventory,
    rules,
    onVerdict: (verdict) => result.verdicts.push({ atMicros: verdict.triggeredAt - T0, verdict }),
    onRefusal: (refusal) => result.refusals.push(refusal),
  });
  const collectors = new Map<string, SimCollector>();
  let sequence = 0;
  for (const { atMicros, node, pod, count, violation } of [...events].sort((a, b) => a.atMicros - b.atMicros)) {
    const collector = collectors.get(node) ?? new SimCollector(node);
    collectors.set(node, collector);
    const timestampMicros = T0 + atMicros;
    collector.spoof(pod, count, violation);
    const frame = collector.flush(timestampMicros);
    sequence += 1;
    if (frame) engine.processFrame({ sequence, timestampMicros, node }, frame);
  }
  return result;
}

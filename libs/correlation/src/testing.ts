/** Builders for tests of correlation: pod lists, rules and an engine that records its verdicts. */
import type { PodRef, ViolationFrame } from '@bailiff/schemas';
import { podIdentityOf } from '@bailiff/schemas/testing';
import { PodInventory } from './attribution/pod-inventory.ts';
import { CorrelationEngine, type CorrelationEngineOptions, type FramePosition } from './engine/engine.ts';
import { RuleHistory } from './engine/rule-history.ts';

export {
  makeFrame,
  makeViolation,
  operationSample,
  packetSample,
  podRef,
  SimCollector,
  T0,
} from './replay/sim-collector.ts';
export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;

/** A snapshot of a node's pods, as ipam-sync writes it. */
export function snapshotJson(node: string, pods: readonly PodRef[], revision = 1): string {
  return JSON.stringify({ nodeName: node, revision, pods: pods.map((pod) => podIdentityOf(pod)) });
}

/** An inventory whose lists are complete from the start. */
export function podInventoryOf(lists: Readonly<Record<string, readonly PodRef[]>>): PodInventory {
  const inventory = new PodInventory();
  let revision = 0;
  for (const [node, pods] of Object.entries(lists)) {
    revision++;
    inventory.apply({ node, timestampMicros: 1, revision, previousRevision: 0, json: snapshotJson(node, pods) });
  }
  return inventory;
}

/** A rule history with only these rules, each as an operator writes it. */
export function ruleHistoryOf(rules: Readonly<Record<string, unknown>>): RuleHistory {
  const history = new RuleHistory({});
  let sequence = 0;
  for (const [name, rule] of Object.entries(rules)) {
    sequence++;
    const problems = history.apply({
      sequence,
      timestampMicros: 1,
      key: `correlation.cluster._.${name}`,
      json: JSON.stringify(rule),
    })?.problems;
    if (problems && problems.length > 0) throw new Error(problems[0]?.message);
  }
  return history;
}

/** An engine that records its verdicts and refusals. */
export function recordingEngine(options: Omit<CorrelationEngineOptions, 'onVerdict' | 'onRefusal'>) {
  const verdicts: Parameters<CorrelationEngineOptions['onVerdict']>[0][] = [];
  const refusals: Parameters<NonNullable<CorrelationEngineOptions['onRefusal']>>[0][] = [];
  const engine = new CorrelationEngine({
    ...options,
    onVerdict: (verdict) => verdicts.push(verdict),
    onRefusal: (refusal) => refusals.push(refusal),
  });
  let sequence = 0;
  return {
    engine,
    verdicts,
    refusals,
    /**
     * Processes a frame stored at a time. By default its position has the node that the frame
     * names.
     */
    send(timestampMicros: number, frame: ViolationFrame, place: Partial<FramePosition> = {}) {
      sequence++;
      engine.processFrame({ sequence, timestampMicros, node: frame.nodeName, ...place }, frame);
    },
  };
}

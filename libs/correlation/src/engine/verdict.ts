/** Puts a verdict together from a window that crossed its threshold. Pure. */
import { cutEnd, type Evidence, MAX_TEXT, type Verdict, type VerdictPod } from '@bailiff/schemas';
import type { GroupWindow } from '../windows/group-window.ts';
import type { Interner } from '../windows/string-interner.ts';
import type { CompiledRule } from './rules.ts';
import { cooldownEpoch, verdictIdOf } from './verdict-id.ts';

export interface Crossing {
  rule: CompiledRule;
  /** Of the configuration in force. */
  configRevision: number;
  window: GroupWindow;
  observed: number;
  nodeName: string;
  /** Whose violation crossed the threshold; null when nobody's (a node that is blamed). */
  pod: VerdictPod | null;
  /** What the numbers of vectors in the window's evidence mean. */
  vectors: Interner;
}

/** The verdict of a crossing; its trigger time is the window's clock. */
export function makeVerdict({
  rule,
  configRevision,
  window,
  observed,
  nodeName,
  pod,
  vectors: words,
}: Crossing): Verdict {
  const startAt = window.startAt(rule.timespanMicros);
  const evidence = window.evidenceSince(startAt, words);
  const vectors = [...new Set(evidence.map((piece) => piece.vector))].sort();
  const epoch = cooldownEpoch(window.clock, rule.cooldownMicros);
  return {
    verdictId: verdictIdOf(rule.name, rule.groupBy, window.groupKey, epoch),
    rule: rule.name,
    ruleType: rule.type,
    level: rule.level,
    groupBy: rule.groupBy,
    groupKey: window.groupKey,
    configRevision,
    triggeredAt: window.clock,
    windowStartAt: Math.floor(startAt),
    observed,
    threshold: rule.threshold,
    vectors,
    nodeName,
    pod,
    evidence,
    evidenceOmitted: Math.max(0, window.violations - evidence.length),
    reason: cutEnd(describe(rule, observed, vectors, nodeName, pod) + byWhom(evidence), MAX_TEXT.Verdict.reason.bytes),
    tags: [...rule.tags],
  };
}

const UNITS = { event_count: 'packets', temporal: 'stages', temporal_ordered: 'stages in their order' };

function describe(
  rule: CompiledRule,
  observed: number,
  vectors: readonly string[],
  nodeName: string,
  pod: VerdictPod | null,
): string {
  const what = rule.type === 'value_count' ? `distinct values of ${rule.field}` : UNITS[rule.type];
  const whose = { pod: 'pod', owner: 'pods of the owner of', namespace: 'the namespace of', node: '' };
  const who =
    pod === null || rule.groupBy === 'node'
      ? `by node ${nodeName}`
      : `from ${whose[rule.groupBy]} ${pod.namespace}/${pod.name} on ${nodeName}`;
  const seconds = rule.timespanMicros / 1_000_000;
  return `${observed} ${what} (${vectors.join(', ')}) ${who} within ${seconds} s; ${rule.threshold} make it ${rule.level}`;
}

/** The newest process that the evidence knows, in words; empty when it knows none. */
function byWhom(evidence: readonly Evidence[]): string {
  const process = evidence.findLast((piece) => piece.process !== null)?.process;
  if (!process) return '';
  const container = process.containerName === '' ? '' : ` in container ${process.containerName}`;
  return `; by ${process.executable || process.comm} (pid ${process.tgid})${container}`;
}

/** Builds the verdict of a window that reached its threshold, and its id. Pure. */
import { createHash } from 'node:crypto';
import { cutEnd, type Evidence, MAX_TEXT, type Verdict, type VerdictPod } from '@bailiff/schemas';
import type { CompiledRule } from '../windows/compiled-rule.ts';
import type { GroupWindow } from '../windows/group-window.ts';
import type { StringInterner } from '../windows/string-interner.ts';

export interface ThresholdCrossing {
  rule: CompiledRule;
  /** Revision of the rule set in force. */
  configRevision: number;
  window: GroupWindow;
  observed: number;
  nodeName: string;
  /** Pod of the violation that reached the threshold; null for a verdict about a node. */
  pod: VerdictPod | null;
  /** Resolves the vector numbers in the window's evidence. */
  vectors: StringInterner;
}

/** The verdict of a threshold crossing. Its trigger time is the window's clock. */
export function makeVerdict({
  rule,
  configRevision,
  window,
  observed,
  nodeName,
  pod,
  vectors: words,
}: ThresholdCrossing): Verdict {
  const startAt = window.startAt(rule.timespanMicros);
  const evidence = withinPathBytes(window.evidenceSince(startAt, words));
  const vectors = [...new Set(evidence.map((piece) => piece.vector))].sort();
  const audited = window.auditedAt >= startAt;
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
    reason: cutEnd(
      describe(rule, observed, vectors, nodeName, pod) + (audited ? AUDITED : '') + describeProcess(evidence),
      MAX_TEXT.Verdict.reason.bytes,
    ),
    tags: [...rule.tags],
    audited,
  };
}

/**
 * Number of the cooldown epoch that contains the time. Epochs have fixed bounds, so no state of
 * earlier verdicts is needed.
 */
function cooldownEpoch(triggeredAtMicros: number, cooldownMicros: number): number {
  return Math.floor(triggeredAtMicros / cooldownMicros);
}

/**
 * Two replicas, a restart after a crash and a later replay compute the same id, so the bus rejects
 * the second copy. 32 lower-case hexadecimal digits: a valid subject token.
 */
function verdictIdOf(rule: string, groupBy: string, groupKey: string, epoch: number): string {
  // JSON is unambiguous: different parts never serialize to the same text.
  return createHash('sha256')
    .update(JSON.stringify(['verdict', rule, groupBy, groupKey, epoch]))
    .digest('hex')
    .slice(0, 32);
}

/**
 * Bytes of all paths in the evidence of a verdict: 32 processes with paths of ordinary length. A pod
 * chooses its paths, and verdicts share VERDICTS, so longer ones are recorded for the newest pieces
 * only. Their violations hold all of them.
 */
export const MAX_EVIDENCE_PATH_BYTES = 8 * 1024;

/** Empties the paths of the oldest pieces that do not fit. Exported for tests. */
export function withinPathBytes(evidence: readonly Evidence[]): Evidence[] {
  let left = MAX_EVIDENCE_PATH_BYTES;
  const newestFirst = evidence.toReversed().map((piece) => {
    const { process } = piece;
    if (!process) return piece;
    const paths = [process.executable, process.parentExecutable, process.subject];
    left -= paths.reduce((sum, path) => sum + Buffer.byteLength(path), 0);
    return left >= 0 ? piece : { ...piece, process: { ...process, executable: '', parentExecutable: '', subject: '' } };
  });
  return newestFirst.reverse();
}

/** `(other)` is the engine's own. */
const WORD = /^([\w@%+=:./-]+|\(other\))$/;

/**
 * A word of a node or a pod in a sentence of this engine. One with other characters, such as spaces, is
 * quoted, so that it cannot go on with a sentence of its own.
 */
const word = (text: string): string => (WORD.test(text) ? text : JSON.stringify(text));

const AUDITED = '; audited violations count';
const UNITS = { event_count: 'packets', temporal: 'stages', temporal_ordered: 'stages in their order' };

function describe(
  rule: CompiledRule,
  observed: number,
  vectors: readonly string[],
  nodeName: string,
  pod: VerdictPod | null,
): string {
  const counted = rule.type === 'value_count' ? `distinct values of ${rule.field}` : UNITS[rule.type];
  const groups = { pod: 'pod', owner: 'pods of the owner of', namespace: 'the namespace of', node: '' };
  const source =
    pod === null ? `by node ${nodeName}` : `from ${groups[rule.groupBy]} ${pod.namespace}/${pod.name} on ${nodeName}`;
  const seconds = rule.timespanMicros / 1_000_000;
  return `${observed} ${counted} (${vectors.map(word).join(', ')}) ${source} within ${seconds} s; ${rule.threshold} make it ${rule.level}`;
}

/** Describes the newest process in the evidence; empty if there is none. */
function describeProcess(evidence: readonly Evidence[]): string {
  const process = evidence.findLast((piece) => piece.process !== null)?.process;
  if (!process) return '';
  const container = process.containerName === '' ? '' : ` in container ${word(process.containerName)}`;
  return `; by ${word(process.executable || process.comm)} (pid ${process.tgid})${container}`;
}

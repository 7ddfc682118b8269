/** Explanations as JSON. Pure. */

import type { PodViolations } from '@bailiff/insight';
import { type Chain, eventJson, isoMicros, recordsOf, responseJson, verdictJson } from '@bailiff/insight';

export function chainJson(chain: Chain): Record<string, unknown> {
  const { nodeName } = chain.verdict.verdict;
  return {
    verdict: verdictJson(chain.verdict),
    violations: chain.evidence.map(({ evidence, violation, storedAtMicros }) =>
      violation
        ? eventJson({
            sequence: evidence.streamSequence,
            index: evidence.index,
            storedAtMicros: storedAtMicros ?? 0,
            nodeName,
            refused: null,
            kind: violation.kind,
            violation,
            packets: evidence.packets,
          })
        : { type: 'gone', sequence: evidence.streamSequence, ...evidence },
    ),
    responses: chain.tasks.map((task) => ({ taskId: task.taskId, records: recordsOf(task).map(responseJson) })),
    latenciesMs: chain.latencies,
  };
}

export function summaryJson(seen: PodViolations): unknown[] {
  return seen.tally.groups().map((group) => ({
    ...group.key,
    packets: group.packets,
    violations: group.violations,
    firstAt: isoMicros(group.firstAtMicros),
    lastAt: isoMicros(group.lastAtMicros),
    firstSequence: group.firstSequence,
    lastSequence: group.lastSequence,
  }));
}

/**
 * capture: what runs in the pod, told by its node's collector, goes into the record. It is of a moment: what cannot be had now is not tried
 * again, because the deletion that waits for it (order-gate.ts) is worth more.
 */
import { BusError } from '@bailiff/bus';
import { MAX_CAPTURE_FIRST, type Verdict } from '@bailiff/schemas';
import { type Action, DONE, type Outcome } from './action.ts';

export const capture: Action = {
  /** One that was taken and not recorded is lost: it is taken again, if the pod is still there. */
  tookEffect: () => false,

  async carryOut({ task, verdict, requestCapture: askNode }) {
    const request = {
      podUid: verdict.pod?.uid ?? '',
      arguments: task.step.arguments ?? 'redacted',
      first: culprits(verdict),
    } as const;
    try {
      const answer = await askNode(verdict.nodeName, request);
      if ('refused' in answer) return failed(answer.refused, `${verdict.nodeName}: ${answer.reason}`);
      return { ...DONE, capture: answer.capture };
    } catch (error) {
      if (!(error instanceof BusError)) return failed('bad-answer', `${verdict.nodeName}: ${(error as Error).message}`);
      const { code } = error;
      if (code === 'BUS_NO_STREAM') return failed('no-collector', `no collector of ${verdict.nodeName} is on the bus`);
      if (code === 'BUS_TIMEOUT')
        return failed('no-answer', `the collector of ${verdict.nodeName} did not answer in time`);
      throw error;
    }
  },
};

/** Processes that the verdict's evidence names, the newest first. */
function culprits({ evidence }: Verdict): number[] {
  const pids = evidence.toReversed().flatMap(({ process }) => (process && process.tgid > 0 ? [process.tgid] : []));
  return [...new Set(pids)].slice(0, MAX_CAPTURE_FIRST);
}

function failed(reasonCode: string, reason: string): Outcome {
  return { reasonCode, reason, failed: true };
}

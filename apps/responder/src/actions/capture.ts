/**
 * capture: records the processes of the pod, as reported by its node's collector. A failed capture
 * is not retried, because the deletion that waits for it (order-gate.ts) is more important.
 */
import { BusError } from '@bailiff/bus';
import { quoted } from '@bailiff/response';
import { MAX_CAPTURE_FIRST, type Verdict } from '@bailiff/schemas';
import { type Action, DONE, type Outcome } from './action.ts';

export const capture: Action = {
  /** A capture that was not recorded is lost, and is repeated if the pod still exists. */
  tookEffect: () => false,

  async carryOut({ task, verdict, requestCapture }) {
    const request = {
      podUid: verdict.pod?.uid ?? '',
      arguments: task.step.arguments ?? 'redacted',
      first: suspects(verdict),
    } as const;
    try {
      const reply = await requestCapture(verdict.nodeName, request);
      if ('refused' in reply) return failed(reply.refused, `${verdict.nodeName}: ${quoted(reply.reason)}`);
      return { ...DONE, capture: reply.capture };
    } catch (error) {
      // The message has parts of the response.
      if (!(error instanceof BusError))
        return failed('bad-answer', `${verdict.nodeName}: ${quoted((error as Error).message)}`);
      const { code } = error;
      if (code === 'BUS_NO_STREAM')
        return failed('no-collector', `the collector of ${verdict.nodeName} is not connected to the bus`);
      if (code === 'BUS_TIMEOUT')
        return failed('no-answer', `the collector of ${verdict.nodeName} did not reply in time`);
      throw error;
    }
  },
};

/** Processes in the verdict's evidence, newest first. */
function suspects({ evidence }: Verdict): number[] {
  const pids = evidence.toReversed().flatMap(({ process }) => (process && process.tgid > 0 ? [process.tgid] : []));
  return [...new Set(pids)].slice(0, MAX_CAPTURE_FIRST);
}

function failed(reasonCode: string, reason: string): Outcome {
  return { reasonCode, reason, failed: true };
}

/** Streams of the page Now: read from a time on, and followed. */
import { filters, isCopy, MAX_MESSAGES, readNewest, readToEnd, type StreamMessage, streamInfo } from '@bailiff/bus';
import type { LiveEvents, LiveStream } from '@bailiff/console';
import { CounterHulls } from '@bailiff/correlation';
import { NodeFrames, outcomeOf, type Reader } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { Violation } from '@bailiff/schemas';
import { namespaceOf, namespaceOfVerdict, responseRow, verdictRow } from './rows.ts';

/** A reading that is this far behind the end at two checks skips to the newest messages. */
const MAX_BEHIND = 500;
const CHECK_MS = 250;
/** Messages that are read before the newest one after that. */
const RESUME = 50;

/**
 * Follows a stream. Once it has caught up, it skips what it cannot read in time: a page that is late misleads.
 * Counters are cumulative, so the next frame of a counter makes up for those that were skipped.
 */
export async function follow(reader: Reader, stream: LiveStream, sinceMs: number, events: LiveEvents): Promise<void> {
  const { bus, signal } = reader;
  const read = readerOf(reader, stream, sinceMs, events);
  let count = 0;
  let last = 0;
  let end = 0;
  let isFollowing = false;
  let isResumed = false;
  let checksBehind = 0;
  let checkedMs = 0;
  const check = async (stop: () => void) => {
    checkedMs = performance.now();
    end = (await streamInfo(bus, stream)).state.last_seq;
    checksBehind = end - last > MAX_BEHIND ? checksBehind + 1 : 0;
    if (checksBehind >= 2) stop();
  };
  const options = {
    filterSubjects: [STREAM_FILTERS[stream]],
    onMessage: (message: StreamMessage, stop: () => void) => {
      if (isResumed) events.onSkipped(stream, Math.max(0, message.sequence - last - 1));
      isResumed = false;
      last = message.sequence;
      count += 1;
      events.onProgress(stream, message.pending);
      const isDue = isFollowing && stream === 'VIOLATIONS' && performance.now() - checkedMs > CHECK_MS;
      if (!isDue) return read(message);
      return Promise.resolve(read(message)).then(() => check(stop));
    },
    onFollow: () => {
      isFollowing = true;
      events.onCaughtUp(stream, count >= MAX_MESSAGES);
    },
    signal,
  };
  await readNewest(bus, stream, { sinceMs, ...options });
  while (checksBehind >= 2 && !signal.aborted) {
    checksBehind = 0;
    isResumed = true;
    await readToEnd(bus, stream, { start: { sequence: Math.max(last, end - RESUME) + 1 }, ...options });
  }
}

function readerOf(reader: Reader, stream: LiveStream, sinceMs: number, events: LiveEvents) {
  const { decoder } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const hulls = new CounterHulls();
  const seen = (violation: Violation, node: string, storedMs: number) => {
    const { pod, vector } = violation;
    const grown = hulls.growth(node, violation);
    const who = pod && { namespace: pod.namespace, name: podName(pod), uid: pod.uid };
    events.onViolation({ storedMs, node, vector, action: outcomeOf(violation).text, pod: who, count: grown });
  };
  return (message: StreamMessage): void | Promise<void> => {
    const { sequence, timestampMicros: storedAtMicros } = message;
    if (stream === 'VERDICTS')
      return decoder.read(message, 'Verdict', (verdict) =>
        events.onVerdict(verdictRow({ sequence, storedAtMicros, verdict }), namespaceOfVerdict(verdict)),
      );
    if (stream === 'RESPONSES')
      return isCopy(message)
        ? undefined
        : decoder.read(message, 'Response', (response) =>
            events.onResponse(responseRow({ sequence, storedAtMicros, response }), namespaceOf(response)),
          );
    return frames.read(message, ({ node, frame, refused }) =>
      frame.violations.forEach((violation, index) => {
        if (refused[index]) events.onRefused();
        else seen(violation, node, storedAtMicros / 1000);
      }),
    );
  };
}

export const STREAM_FILTERS = {
  VIOLATIONS: filters.violations({}),
  VERDICTS: filters.verdicts(),
  RESPONSES: filters.responses(),
};

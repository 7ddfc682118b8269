/** Streams of the page Now: read from a time on, and followed. */
import { filters, isCopy, MAX_MESSAGES, readNewest, readToEnd, type StreamMessage, streamInfo } from '@bailiff/bus';
import type { LiveEvents, LiveStream } from '@bailiff/console';
import { CounterHulls } from '@bailiff/correlation';
import { NodeFrames, outcomeOf, type Reader } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import type { Violation } from '@bailiff/schemas';
import { Lateness } from './lateness.ts';
import { namespaceOf, namespaceOfVerdict, responseRow, verdictRow } from './tables.ts';

/**
 * Follows a stream. Once it has caught up, it skips what it cannot read in time: a page that is late misleads.
 * Counters are cumulative, so the next frame of a counter makes up for those that were skipped.
 */
export async function follow(reader: Reader, stream: LiveStream, sinceMs: number, events: LiveEvents): Promise<void> {
  const { bus, signal } = reader;
  const read = readerOf(reader, stream, sinceMs, events);
  const late = new Lateness(async () => (await streamInfo(bus, stream)).state);
  let count = 0;
  let last = 0;
  let isFollowing = false;
  let isResumed = false;
  const options = {
    // Old servers send one message a request, and several at once only without a filter.
    ...(stream === 'VIOLATIONS' ? {} : { filterSubjects: [STREAM_FILTERS[stream]] }),
    onMessage: (message: StreamMessage, stop: () => void) => {
      if (isResumed) events.onSkipped(stream, Math.max(0, message.sequence - last - 1));
      isResumed = false;
      last = message.sequence;
      count += 1;
      events.onProgress(stream, message.pending);
      if (isFollowing && stream === 'VIOLATIONS' && late.isTooLate(message)) stop();
      return read(message);
    },
    onFollow: () => {
      isFollowing = true;
      events.onCaughtUp(stream, count >= MAX_MESSAGES);
    },
    signal,
  };
  await readNewest(bus, stream, { sinceMs, ...options });
  while (late.resumeAt !== null && !signal.aborted) {
    const sequence = Math.max(last + 1, late.resumeAt);
    late.reset();
    isResumed = true;
    await readToEnd(bus, stream, { start: { sequence }, ...options });
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
    const storedMs = storedAtMicros / 1000;
    if (stream === 'VERDICTS')
      return decoder.read(message, 'Verdict', (verdict) =>
        events.onVerdict({
          row: verdictRow({ sequence, storedAtMicros, verdict }),
          storedMs,
          namespace: namespaceOfVerdict(verdict),
          kind: '',
        }),
      );
    if (stream === 'RESPONSES')
      return isCopy(message)
        ? undefined
        : decoder.read(message, 'Response', (response) =>
            events.onResponse({
              row: responseRow({ sequence, storedAtMicros, response }),
              storedMs,
              namespace: namespaceOf(response),
              kind: `${response.action} ${response.phase}`,
            }),
          );
    return frames.read(message, ({ node, frame, refused }) =>
      frame.violations.forEach((violation, index) => {
        if (refused[index]) events.onRefused();
        else seen(violation, node, storedMs);
      }),
    );
  };
}

export const STREAM_FILTERS = {
  VIOLATIONS: filters.violations({}),
  VERDICTS: filters.verdicts(),
  RESPONSES: filters.responses(),
};

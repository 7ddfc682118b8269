/** Reads the durable consumer of a format (libs/bus/src/streams/durable.ts). */
import { type Bus, consumeDurable, siemConsumer } from '@bailiff/bus';
import type { ConsumeOptions, Format, SiemEvent } from './api.ts';
import { eventOf } from './event.ts';

const MAX_EVENTS = 1_000;
const DEFAULT_EVENTS = 64;

export function consumeEvents<F extends Format>(
  bus: Bus,
  format: F,
  handle: (event: SiemEvent<F>) => unknown,
  counts: { skipped: number },
  { signal = new AbortController().signal, maxEvents = DEFAULT_EVENTS, onError }: ConsumeOptions,
): Promise<void> {
  if (!(maxEvents >= 1 && maxEvents <= MAX_EVENTS)) throw new RangeError(`maxEvents: 1 to ${MAX_EVENTS}`);
  return consumeDurable(bus, 'SIEM', siemConsumer(format), {
    maxMessages: maxEvents,
    onMessage: (message, deliveries) => {
      const event = eventOf(format, message, deliveries);
      if (event) return handle(event);
      counts.skipped += 1;
      return undefined;
    },
    onFailed: (error) => {
      if (!onError) throw error;
      onError(error);
    },
    signal,
  });
}

/**
 * Events of a subscription. The client reads as fast as the bus sends, so what its reader has not taken
 * is bounded: beyond MAX_WAITING the oldest are dropped and counted.
 */
import { type Bus, contentOf, filters, type Incoming, subscribe } from '@bailiff/bus';
import type { Format, SiemEvent } from './api.ts';
import { eventOf } from './event.ts';

/** At most 32 KiB each. */
export const MAX_WAITING = 1_000;

export async function* liveEvents<F extends Format>(
  bus: Bus,
  format: F,
  counts: { dropped: number; skipped: number },
): AsyncGenerator<SiemEvent<F>> {
  const waiting: Incoming[] = [];
  let failure: Error | null = null;
  let isOver = false;
  let wake = () => {};
  const subscription = subscribe(bus, filters.siem({ format }), (error, message) => {
    failure ??= error;
    if (!error) waiting.push(message);
    if (waiting.length > MAX_WAITING) {
      waiting.shift();
      counts.dropped += 1;
    }
    wake();
  });
  void subscription.closed.then(() => {
    isOver = true;
    wake();
  });
  try {
    for (;;) {
      const message = waiting.shift();
      if (message) {
        const event = eventOf(format, { subject: message.subject, ...contentOf(message, false) }, 1);
        if (event) yield event;
        else counts.skipped += 1;
        continue;
      }
      if (failure) throw failure;
      if (isOver) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    subscription.unsubscribe();
  }
}

/**
 * The wall time of the bus, by which the responder decides: budgets, cooldowns, ages, and the end of
 * effects. Records have it too, so that they agree with the times that the bus gives messages, and a
 * wrong clock of this machine, also for a moment, changes no decision.
 *
 * It is never ahead of the servers, and behind them by at most a thousandth of the time since their last
 * response: RetentionController requests one every MAX_TICK_MS. Without the bus it goes on.
 */
import type { Bus } from '@bailiff/bus';
import type { Clock } from '@bailiff/service';

/** @param own its wall time counts until a server has responded */
export function busTime({ serverClock }: Pick<Bus, 'serverClock'>, own: Clock): Clock {
  const nowMicros = () => serverClock.nowMicros() || own.nowMicros();
  return {
    nowMicros,
    nowMs: () => Math.floor(nowMicros() / 1000),
    monotonicMs: () => own.monotonicMs(),
    setTimer: (fn, delayMs) => own.setTimer(fn, delayMs),
    setRepeating: (fn, periodMs) => own.setRepeating(fn, periodMs),
    sleep: (delayMs, signal) => own.sleep(delayMs, signal),
  };
}

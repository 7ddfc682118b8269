/** A scenario: what it needs, its control run, and the run itself. */
import { pause } from '@bailiff/service/retry';
import type { BusWatch } from '../bus/watch.ts';
import type { Access } from '../cluster/facts.ts';
import type { Stage } from '../cluster/stage.ts';
import type { Result } from '../report/result.ts';

export interface Live extends Access {
  watch: BusWatch;
  stage: Stage;
  /** Flags of the CLI that select the bus. */
  busFlags: readonly string[];
  /** Node of attackers and victims. */
  node: string;
  log(text: string): void;
  /** Guarded packets that all scenarios sent so far, by pod UID and vector. */
  sent: Map<string, number>;
}

/** Remembers guarded packets for the last comparison of totals. */
export function remember(live: Live, podUid: string, vector: string, sent: number): void {
  const key = `${podUid} ${vector}`;
  live.sent.set(key, (live.sent.get(key) ?? 0) + sent);
}

export type Outcome = Pick<Result, 'status' | 'detail'> & Partial<Pick<Result, 'counts' | 'measured'>>;

export interface Scenario {
  name: string;
  about: string;
  /** Pods of the scenario, before the control. Returns the UIDs that must be guarded before `run`. */
  prepare?(live: Live): Promise<string[]>;
  /** Runs while the node is detached. */
  control?(live: Live): Promise<void>;
  run(live: Live): Promise<Outcome>;
}

/** Waits until `read` returns `expected` or more; returns the last value, also when the time is up. */
export async function settled(read: () => number, expected: number, timeoutMs = 20_000): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  while (read() < expected && performance.now() < deadline) await pause(50);
  return read();
}

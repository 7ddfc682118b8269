/**
 * Types that the folders share: stored verdicts, the response log, jobs, and the crash points of
 * tests.
 */
import { RESPONSE_ACTIONS } from '@bailiff/policy';
import type { Response, Verdict } from '@bailiff/schemas';
import * as z from 'zod';

/** Longest name in a job: that of a policy. */
const MAX_ID = 253;

/** A verdict with its stream position. */
export interface StoredVerdict {
  verdict: Verdict;
  sequence: number;
  /** Bus time. */
  atMicros: number;
}

/** `exists`: the bus already has a record with this id and keeps it. */
export type Published = { outcome: 'stored'; sequence: number } | { outcome: 'exists' };
/** `moved`: not stored, because the stream has grown, perhaps by a record with this id. */
export type Reserved = { outcome: 'stored'; sequence: number } | { outcome: 'moved' };

export interface ResponseLog {
  /** Stores the record unless its id exists. @throws BusError */
  publish(response: Response): Promise<Published>;
  /** Stores the record only if the stream ends at `lastSequence`. @throws BusError */
  reserve(response: Response, lastSequence: number): Promise<Reserved>;
  /**
   * Resolves when every record that is in the stream now is applied.
   * @throws BusError BUS_TIMEOUT
   */
  caughtUp(): Promise<void>;
}

/**
 * Content of a job: names and attempts. Everything else is read from the streams, because others may
 * write to Redis.
 */
const job = z.object({
  /** `clear`: after a release by a person, remove the visible record. */
  kind: z.enum(['do', 'undo', 'clear']),
  taskId: z.string().max(MAX_ID),
  action: z.enum(RESPONSE_ACTIONS) satisfies z.ZodType<Response['action']>,
  verdictId: z.string().max(MAX_ID),
  policy: z.string().max(MAX_ID),
  /** Sequence of the verdict in VERDICTS; 0 for an undo. */
  sequence: z.int().nonnegative(),
  tries: z.int().nonnegative(),
  /** Wall time of the first failed attempt; 0 without one. */
  failingSinceMs: z.number().nonnegative(),
});
export type Job = z.infer<typeof job>;

/** The job in a value from Redis; null if it is none. */
export function jobOf(value: unknown): Job | null {
  const { data } = job.safeParse(value);
  return data && (data.kind !== 'do' || data.sequence > 0) ? data : null;
}

/**
 * `later`: run again after the delay, with the given attempts. `turn`: it has had its turn,
 * and then has this one.
 */
export type JobResult =
  | { kind: 'done' }
  | { kind: 'later'; delayMs: number; tries: number; failingSinceMs: number; turn?: number };

/**
 * Crash points of tests. A crash between any two must lose nothing: the verdict is read, its jobs
 * are added, `started` is stored, the API server has accepted a change, the terminal record comes
 * next.
 */
export type Step = 'verdict-read' | 'job-added' | 'started' | 'called' | 'before-terminal';
export type StepHook = (step: Step, names: { verdictId: string; action: string }) => void | Promise<void>;

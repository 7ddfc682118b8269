/** What the core asks of its surroundings: the bus as a log of responses, what a job is, and the moments a test may stop at. */
import type { Response, Verdict } from '@bailiff/schemas';

/** A verdict with its place on the bus. */
export interface StoredVerdict {
  verdict: Verdict;
  sequence: number;
  /** The bus's time of it. */
  atMicros: number;
}

/** `exists`: the bus has a record of this id already, and keeps that one. */
export type Published = { outcome: 'stored'; sequence: number } | { outcome: 'exists' };
/** `moved`: the stream has grown beyond the expected end, perhaps by a record of this id; nothing was stored. */
export type Reserved = { outcome: 'stored'; sequence: number } | { outcome: 'moved' };

export interface ResponseLog {
  /** Stores the record unless its id is there. @throws BusError */
  publish(response: Response): Promise<Published>;
  /** The same on the condition that the stream ends at `lastSequence`. @throws BusError */
  reserve(response: Response, lastSequence: number): Promise<Reserved>;
  /** Resolves when every record that is on the stream now is folded. @throws BusError BUS_TIMEOUT */
  caughtUp(): Promise<void>;
}

/** What a job carries: only names, and the tries so far. All else is found again from the streams. */
export interface Job {
  /** `clear`: after a person's release, take away what `undo` would have. */
  kind: 'do' | 'undo' | 'clear';
  taskId: string;
  action: Response['action'];
  verdictId: string;
  policy: string;
  /** Of the verdict in VERDICTS. */
  sequence: number;
  tries: number;
  /** Wall time of the first failed try; 0 while none has failed. */
  failingSinceMs: number;
}

/** `later`: run again after the delay, with the tries as given. */
export type JobResult = { kind: 'done' } | { kind: 'later'; delayMs: number; tries: number; failingSinceMs: number };

/**
 * The moments between which a crash must lose nothing: the verdict is read, its jobs are added, `started` is on the bus, the API server
 * has accepted a change, the terminal record is about to be written.
 */
export type Step = 'verdict-read' | 'job-added' | 'started' | 'called' | 'before-terminal';
export type StepHook = (step: Step, names: { verdictId: string; action: string }) => void | Promise<void>;

/**
 * An output of the delivery engine: the receiver that outputs/runner.ts delivers events of SIEM to.
 *
 * The runner owns position, batches, retries, dead letters and metrics. An output only writes to its
 * receiver and classifies failures.
 */
import type { OcsfVersion } from '@bailiff/siem';

export interface BatchLimits {
  maxEvents: number;
  maxBytes: number;
  /** Longest wait for more events. */
  lingerMs: number;
}

/** The receiver took a request, but rejected some of its events without naming them. */
export interface Rejection {
  rejected: number;
  message: string;
}

/** One event of SIEM. */
export interface OutputEvent {
  /** In SIEM. */
  sequence: number;
  subject: string;
  /** Stable: a repeated event has the same one. */
  uid: string;
  className: string;
  node: string;
  /** OCSF severity, 0 to 5. */
  severity: number;
  /** When the event happened, and when SIEM stored it. */
  timeMicros: number;
  storedMicros: number;
  data: Uint8Array;
}

export interface Output {
  /** Label of metrics, and prefix of dead letters' reasons: `syslog`, `webhook-pager`. */
  readonly name: string;
  readonly filterSubjects: readonly string[];
  /** Of the events in OCSF that it gets; absent: as they are in SIEM. */
  readonly ocsfVersion?: OcsfVersion | undefined;
  readonly limits: BatchLimits;
  /** Where the first start begins; absent: as the relay. */
  readonly startAt?: 'new';
  /** Whose backlog delays an event; absent: that of all. Turns follow each other, and events of one are delivered in order. */
  turnOf?(event: OutputEvent): string;
  /** Whether an event is delivered; absent: each is. */
  accepts?(event: OutputEvent): boolean;
  /** Writes an event ahead of `deliver`, which then only confirms it. Waits while the receiver does not read. */
  write?(event: OutputEvent, signal: AbortSignal): Promise<void>;
  /**
   * Delivers events in the given order; resolves when the receiver has them, or has rejected some. @throws DeliveryError; any other
   * error counts as one that time may heal
   */
  deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<Rejection | null>;
  /** Alerts that are not sent again, or results that ended, because of a limit. */
  readonly unkept?: number;
  /** How far back events are given to `restore` after a restart; absent: not at all. */
  readonly restoreMs?: number;
  /** Takes an event that was delivered before the restart. */
  restore?(event: OutputEvent): void;
  /**
   * Called every second or so: sends again what has to be repeated. @returns whether the receiver
   * has confirmed anything @throws as deliver
   */
  tick?(signal: AbortSignal): Promise<boolean>;
  /** Called when written events became undelivered. Set by the runner. */
  onBroken?: (error: Error) => void;
  close(): void;
}

/**
 * OUTPUT_UNREACHABLE: no connection, or it broke. OUTPUT_TIMEOUT: no response in time.
 * OUTPUT_BUSY: the receiver asks for a pause (429, 503). OUTPUT_FAILED: an error of the receiver
 * (5xx). OUTPUT_MISCONFIGURED: the receiver refuses every event, such as for a wrong URL or secret
 * (401, 403, 404, a redirect), or a secret cannot be read. OUTPUT_ADDRESS: the destination has a
 * private address and this is not allowed. OUTPUT_REFUSED: the receiver refuses these events;
 * retrying does not help.
 */
export type DeliveryErrorCode =
  | 'OUTPUT_UNREACHABLE'
  | 'OUTPUT_TIMEOUT'
  | 'OUTPUT_BUSY'
  | 'OUTPUT_FAILED'
  | 'OUTPUT_MISCONFIGURED'
  | 'OUTPUT_ADDRESS'
  | 'OUTPUT_REFUSED';

export class DeliveryError extends Error {
  readonly code: DeliveryErrorCode;
  /** Requested by the receiver; null without a request. */
  readonly retryAfterMs: number | null;
  constructor(code: DeliveryErrorCode, message: string, options: ErrorOptions & { retryAfterMs?: number | null } = {}) {
    super(message, options);
    this.name = 'DeliveryError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

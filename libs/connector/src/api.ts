/**
 * The interface of the package. Types only: the published declarations are this file and those of the
 * Avro schemas (tools/package/connector.ts).
 */
import type { Response, Verdict, ViolationFrame } from '@bailiff/schemas';

export type { Response, Verdict, ViolationFrame };

export interface ConnectOptions {
  /** `tls://host:4222`, several separated by commas. Default: NATS_URL. */
  servers?: string;
  /** Default: NATS_USER, or `siem-reader`. Replays need `reader`. */
  user?: string;
  /** One password a line, the newest first; read at each attempt. Default: NATS_PASSWORD_FILE. */
  passwordFile?: string;
  /** CA certificates (PEM) of the bus. Default: NATS_CA_FILE; empty: those of the system. */
  caFile?: string;
  /** Shown by the servers' monitoring. Default: `connector`. */
  name?: string;
  /** Ends the attempt to connect. */
  signal?: AbortSignal;
}

export type Format = 'ocsf' | 'ecs' | 'cef';

/** Fields of OCSF that every event has, and those of verdicts. docs/siem/README.md lists the others. */
export interface OcsfEvent {
  class_uid: number;
  class_name: string;
  activity_name: string;
  severity_id: number;
  severity: string;
  /** Milliseconds since 1970. */
  time: number;
  message: string;
  metadata: { uid: string; version: string; sequence: number; correlation_uid?: string };
  finding_info?: { uid: string; title: string; desc?: string };
  unmapped?: { k8s?: Record<string, string>; bailiff?: Record<string, unknown> };
  [field: string]: unknown;
}

export interface EcsEvent {
  '@timestamp': string;
  message: string;
  event: { id: string; kind: string; action: string; severity: number; [field: string]: unknown };
  [field: string]: unknown;
}

/** What an event contains in each format; CEF is a line. */
export interface Contents {
  ocsf: OcsfEvent;
  ecs: EcsEvent;
  cef: string;
}

export interface SiemEvent<F extends Format> {
  /** Stable: an event that is delivered again has the same one. */
  uid: string;
  format: F;
  /** Such as `detection-finding`. */
  className: string;
  /** Of the pod; empty without one. */
  namespace: string;
  node: string;
  /** OCSF: 0 unknown to 5 critical. */
  severity: number;
  /** Milliseconds since 1970. */
  timeMs: number;
  /** How often the bus has delivered it, from 1: more after a failed handler or a crash. */
  deliveries: number;
  data: Contents[F];
}

export interface ConsumeOptions {
  /** Ends consumption after the events that are being handled. */
  signal?: AbortSignal;
  /** Events requested ahead, 1 to 1,000. Default 64. */
  maxEvents?: number;
  /** An event was not handled, and comes again. Without it, consumption ends with the error. */
  onError?(error: Error): void;
}

export type Stream = 'VIOLATIONS' | 'VERDICTS' | 'RESPONSES';

export interface Values {
  VIOLATIONS: ViolationFrame;
  VERDICTS: Verdict;
  RESPONSES: Response;
}

export interface ReplayOptions {
  /** The first sequence, or the time since which messages were stored. */
  from: { sequence: number } | { time: Date };
  signal?: AbortSignal;
}

export interface StoredMessage<S extends Stream> {
  stream: S;
  sequence: number;
  /** When the bus stored it, milliseconds since 1970. */
  storedMs: number;
  subject: string;
  /** null: the message cannot be read, because a node can store any bytes. */
  value: Values[S] | null;
  /** Why it cannot be read; empty otherwise. */
  problem: string;
}

/** Errors have a `code`, such as BUS_AUTHENTICATION or BUS_PERMISSION. */
export interface Connector extends AsyncDisposable {
  readonly user: string;
  /** Events that `events` has dropped, because its reader is slower than they arrive. */
  readonly dropped: number;
  /** Messages under a subject of events that are none of siem-relay. */
  readonly skipped: number;
  /** Events while this program is connected. For all events, use `consume`. Ends with `close`. */
  events<F extends Format>(format: F): AsyncIterable<SiemEvent<F>>;
  /**
   * All events of a format, in the order of the bus, each until `handle` has returned or resolved: then
   * it is acknowledged. After a rejection it comes again, with a growing delay, under the same uid, and
   * later events do not wait for it. The bus delivers no more once 5,000 events are not acknowledged:
   * set one aside that fails for ever. Programs that consume the same format share its events.
   * Resolves when the signal aborts, or after `close`.
   */
  consume<F extends Format>(
    format: F,
    handle: (event: SiemEvent<F>) => unknown,
    options?: ConsumeOptions,
  ): Promise<void>;
  /** Stored messages, decoded, up to the newest one at the start. The user has to be `reader`. */
  replay<S extends Stream>(stream: S, options: ReplayOptions): AsyncIterable<StoredMessage<S>>;
  /** Ends events and consumption, waits for running handlers up to 5 s, and ends the connection. */
  close(): Promise<void>;
}

/** Logs in. Reconnects by itself, also while passwords are rotated. @throws an error with a code */
export type Connect = (options?: ConnectOptions) => Promise<Connector>;

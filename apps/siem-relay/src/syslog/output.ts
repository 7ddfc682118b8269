/**
 * The output to syslog, over one connection at a time.
 *
 * Events are written as they arrive, and delivered when their connection ended in order
 * (connection.ts). After any other end, all of the batch is written to a new connection. Limits:
 * MAX_UNCONFIRMED events and MAX_UNCONFIRMED_BYTES, the maximum that a broken connection repeats.
 */
import { filters, type SiemFormat } from '@bailiff/bus';
import type { OcsfVersion } from '@bailiff/siem';
import type { BatchLimits, Output, OutputEvent } from '../outputs/output.ts';
import { type Receiver, SyslogConnection } from './connection.ts';
import { type Facility, syslogFrame } from './message.ts';

export const MAX_UNCONFIRMED = 10_000;
export const MAX_UNCONFIRMED_BYTES = 4 * 1024 * 1024;

export interface SyslogOptions {
  format: SiemFormat;
  ocsfVersion?: OcsfVersion | undefined;
  facility: Facility;
  receiver: Receiver;
  confirmMs: number;
  confirmTimeoutMs: number;
  version: string;
}

export class SyslogOutput implements Output {
  readonly name = 'syslog';
  readonly filterSubjects: readonly string[];
  readonly limits: BatchLimits;
  readonly ocsfVersion: OcsfVersion | undefined;
  readonly #o: SyslogOptions;
  #connection: SyslogConnection | null = null;
  /** Uids of the events on the connection, in order. */
  #written: string[] = [];
  onBroken: (error: Error) => void = () => undefined;
  connections = 0;

  constructor(options: SyslogOptions) {
    this.#o = options;
    this.ocsfVersion = options.ocsfVersion;
    this.filterSubjects = [filters.siem({ format: options.format })];
    const { confirmMs } = options;
    this.limits = { maxEvents: MAX_UNCONFIRMED, maxBytes: MAX_UNCONFIRMED_BYTES, lingerMs: confirmMs };
  }

  /** @throws SyslogError; the signal's reason */
  async write(event: OutputEvent, signal: AbortSignal): Promise<void> {
    try {
      this.#connection ??= await this.#open(signal);
      await this.#connection.write(this.#frameOf(event), signal);
      this.#written.push(event.uid);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Writes what the connection does not have, and ends it. @throws SyslogError; the signal's reason */
  async deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<null> {
    // Without a connection, or with one that has other events, everything is written again.
    if (this.#written.some((uid, index) => events[index]?.uid !== uid)) this.close();
    for (const event of events.slice(this.#written.length)) await this.write(event, signal);
    const connection = this.#connection;
    try {
      await connection?.confirm(this.#o.confirmTimeoutMs, signal);
      return null;
    } finally {
      this.close();
    }
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = null;
    this.#written = [];
  }

  async #open(signal: AbortSignal): Promise<SyslogConnection> {
    const connection = await SyslogConnection.open(this.#o.receiver, signal);
    this.connections += 1;
    connection.onBroken = (error) => {
      if (this.#connection !== connection) return;
      this.close();
      this.onBroken(error);
    };
    return connection;
  }

  #frameOf({ severity, timeMicros, node, className, data }: OutputEvent): Buffer {
    const { facility, version } = this.#o;
    const procId = String(process.pid);
    return syslogFrame({
      facility,
      severity,
      timeMicros,
      host: node,
      procId,
      messageId: className,
      version,
      text: data,
    });
  }
}

/**
 * Splits a byte stream into lines: a watch sends one JSON object a line, in arbitrary chunks. Line
 * length is limited, so that a server that sends no newline cannot exhaust memory.
 */
import { KubeError } from './errors.ts';

/**
 * etcd accepts objects of 1.5 MiB by default. JSON escapes characters such as `<` with six bytes, so
 * one object can have 9 MiB.
 */
export const MAX_LINE_BYTES = 12 * 1024 * 1024;

const NEWLINE = 10;

/** Lines that are not kept. */
export interface LongLines {
  /** A longer line is offered to `skip`. */
  bytes: number;
  /** @param head the line so far. @returns whether its rest is skipped, and the line not called back */
  skip(head: Buffer): boolean;
}

export class LineSplitter {
  #onLine: (line: string) => void;
  #maxBytes: number;
  #long: LongLines | undefined;
  #parts: Buffer[] = [];
  #size = 0;
  /** Of the current line; undecided: it is not long yet. */
  #fate: 'undecided' | 'kept' | 'skipped' = 'undecided';

  constructor(onLine: (line: string) => void, maxBytes: number = MAX_LINE_BYTES, long?: LongLines) {
    this.#onLine = onLine;
    this.#maxBytes = maxBytes;
    this.#long = long;
  }

  /**
   * Adds a chunk and calls back for each completed line; empty lines are skipped. @throws KubeError
   * KUBE_PROTOCOL
   */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      this.#take(chunk.subarray(from, at));
      from = at + 1;
      const line = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#size = 0;
      this.#fate = 'undecided';
      if (line.length > 0) this.#onLine(line.toString('utf8'));
    }
    if (from < chunk.length) this.#take(chunk.subarray(from));
  }

  /** Bytes of the incomplete line. */
  get pendingBytes(): number {
    return this.#size;
  }

  #take(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > this.#maxBytes) throw new KubeError('KUBE_PROTOCOL', `line above ${this.#maxBytes} bytes`);
    if (this.#fate === 'skipped') return;
    this.#parts.push(part);
    if (this.#fate === 'kept' || !this.#long || this.#size <= this.#long.bytes) return;
    this.#fate = this.#long.skip(Buffer.concat(this.#parts)) ? 'skipped' : 'kept';
    if (this.#fate === 'skipped') this.#parts = [];
  }
}

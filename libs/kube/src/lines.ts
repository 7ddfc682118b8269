/**
 * Cuts a byte stream into lines, as a watch sends them: one JSON object a line, cut anywhere by the network. A line is
 * bounded: a server that never sends a newline must not fill the memory.
 */
import { KubeError } from './errors.ts';

/** etcd takes objects of 1.5 MiB by default. JSON has six bytes for characters such as `<`, so that one object can be 9 MiB. */
export const MAX_LINE_BYTES = 12 * 1024 * 1024;

const NEWLINE = 10;

export class LineSplitter {
  #onLine: (line: string) => void;
  #maxBytes: number;
  #parts: Buffer[] = [];
  #size = 0;

  constructor(onLine: (line: string) => void, maxBytes: number = MAX_LINE_BYTES) {
    this.#onLine = onLine;
    this.#maxBytes = maxBytes;
  }

  /** Takes a chunk and calls back for each line it completes; empty lines are skipped. @throws KubeError KUBE_PROTOCOL */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      this.#take(chunk.subarray(from, at));
      from = at + 1;
      const line = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#size = 0;
      if (line.length > 0) this.#onLine(line.toString('utf8'));
    }
    if (from < chunk.length) this.#take(chunk.subarray(from));
  }

  /** Bytes of a line that has begun and not ended. */
  get pendingBytes(): number {
    return this.#size;
  }

  #take(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > this.#maxBytes) throw new KubeError('KUBE_PROTOCOL', `line above ${this.#maxBytes} bytes`);
    this.#parts.push(part);
  }
}

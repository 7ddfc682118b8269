/**
 * Counters and samples of containers under a runtime policy -> frames on the bus; when, is flush-loop.ts.
 *
 * Bounds: MAX_CELLS_PER_TURN cells, and as many violations, of one account a turn (a set may have thousands; the next turn goes on), SWEEP_CELLS read at a sweep
 * (a system call each; the sweeps go round, and a breach's first sample has its account read at once).
 */

import type { OperationSample } from '@bailiff/schemas';
import { FlushLoop, type FlushLoopOptions, type Voice } from '../../publishing/flusher.ts';
import { type FrameBuilder, MAX_FRAME_VIOLATIONS, type Owed } from '../../publishing/frame-builder.ts';
import type { Account } from '../counting/account.ts';
import { fillLsmViolation } from './lsm-violation.ts';
import { partsOf, withSample } from './sample-dedup.ts';

/** Two frames: behind one that is nearly full they fit into the spare ones of the bus. */
export const MAX_CELLS_PER_TURN = 2 * MAX_FRAME_VIOLATIONS;
/** Some 20 ms of system calls. */
export const SWEEP_CELLS = 16_384;

export interface RuntimeFlusherOptions extends Omit<FlushLoopOptions, 'maxPending'> {
  accounts: ReadonlyMap<number, Account>;
  /** The cells of an account whose subject is the kernel's. */
  read(account: Account): Float64Array;
  bootNs(): bigint;
  /** The bus has these cells: cell and count in turn. To be made durable. */
  onAcked(account: Account, cells: readonly number[]): void;
  /** It went and the bus has all of it. */
  onSettled(account: Account): void;
}

export class RuntimeFlusher {
  readonly #o: RuntimeFlusherOptions;
  readonly #loop: FlushLoop<Account>;
  /** Generation behind which the next sweep begins. */
  #sweptTo = 0;

  constructor(options: RuntimeFlusherOptions) {
    this.#o = options;
    const voice: Voice<Account> = {
      all: () => options.accounts.values(),
      sweepable: () => this.#sweepable(),
      collect: (account, frame, send) => this.#collect(account, frame, send),
      onAcked: ({ speaker, cells }) => options.onAcked(speaker, cells),
      onRefused: ({ speaker }: Owed<Account>) => {
        speaker.finalFrom = 0;
      },
    };
    this.#loop = new FlushLoop({ ...options, maxPending: 0 }, voice);
  }

  /** A sample of a cell. */
  take(account: Account, cell: number, sample: OperationSample): void {
    account.samples.set(cell, withSample(account.samples.get(cell), sample));
  }

  heard(accounts: Iterable<Account>): void {
    this.#loop.heard(accounts);
  }

  touch(account: Account): void {
    this.#loop.touch(account);
  }

  /** Tells what these counted so far, before what they count comes to mean something else. */
  flush(accounts: Iterable<Account>): void {
    this.#loop.flush(accounts);
  }

  sweep(): void {
    this.#loop.sweep();
  }

  stop(timeoutMs: number): Promise<{ unacked: number }> {
    return this.#loop.stop(timeoutMs);
  }

  /** The next ones in the order of their generations, and all that went. */
  #sweepable(): Account[] {
    const all = [...this.#o.accounts.values()].sort((a, b) => a.stored.generation - b.stored.generation);
    const from = all.findIndex(({ stored }) => stored.generation > this.#sweptTo);
    const ordered = from < 0 ? all : [...all.slice(from), ...all.slice(0, from)];
    const picked: Account[] = [];
    let cells = 0;
    for (const account of ordered) {
      if (account.counts === null && cells >= SWEEP_CELLS) continue;
      picked.push(account);
      if (account.counts !== null) continue;
      cells += account.stored.count;
      this.#sweptTo = account.stored.generation;
    }
    return picked;
  }

  #collect(account: Account, frame: FrameBuilder<Account>, send: () => void): void {
    account.flushedAtMs = this.#o.clock.nowMs();
    const reading = account.counts ?? this.#o.read(account);
    const sayFinal = account.gone && !account.finalSaid;
    const wanted = sayFinal
      ? account.book.counted(reading).filter((cell) => cell >= account.finalFrom)
      : account.book.grown(reading);
    const cells = wanted.slice(0, MAX_CELLS_PER_TURN);
    this.#loop.setPace(account, cells.length > 0);
    const nowMicros = this.#o.clock.nowMicros();
    const disarmed = account.auditUntilNs > this.#o.bootNs();
    // Every cell has room for one violation; what is left of the turn shows more than one operation of a cell.
    let spare = MAX_CELLS_PER_TURN - cells.length;
    for (const cell of cells) {
      const grown = { enqueued: account.book.enqueued(cell), cumulative: reading[cell] as number };
      const parts = partsOf(account.samples.get(cell), grown, 1 + spare);
      spare -= parts.length - 1;
      for (const part of parts) {
        const violation = frame.add(account, cell, part.cumulative);
        fillLsmViolation(violation, { bootId: this.#o.bootId, account, cell, part, nowMicros, disarmed });
        account.book.enqueue(cell, part.cumulative);
        if (frame.isFull) send();
      }
      account.samples.delete(cell);
    }
    if (sayFinal) {
      account.finalSaid = cells.length === wanted.length;
      account.finalFrom = account.finalSaid ? 0 : (cells.at(-1) as number) + 1;
    }
    const owesNothing = cells.length === 0 && account.framesInFlight === 0 && account.book.settled(reading);
    if (account.gone && owesNothing) this.#o.onSettled(account);
  }
}

/**
 * Reads the counters and samples of accounts of runtime policies and writes their growth into
 * frames. flusher.ts decides when.
 *
 * Limits: MAX_CELLS_PER_TURN cells, and as many violations, of one account per turn; its next turn
 * continues. SWEEP_CELLS cells per sweep, one system call each; the sweeps go round robin, and a
 * sample causes a read at once.
 */
import { RUNTIME_EXTRA_CELLS, type RuntimeSample } from '@bailiff/bpf';
import type { OperationSample } from '@bailiff/schemas';
import type { CollectResult, SourceAdapter } from '../../publishing/flusher.ts';
import { type FrameWriter, MAX_FRAME_VIOLATIONS, type Unacked } from '../../publishing/frame.ts';
import type { Account, ContainerRef } from '../counting/account.ts';
import { toOperationSample } from './operation.ts';
import { addSample, splitIncrement } from './sample-dedup.ts';
import { fillLsmViolation } from './violations.ts';

/** Two frames: behind an almost full one they fit into the spare frames of the bus link. */
export const MAX_CELLS_PER_TURN = 2 * MAX_FRAME_VIOLATIONS;
/** About 20 ms of system calls. */
export const SWEEP_CELLS = 16_384;

export interface AccountAdapterOptions {
  bootId: string;
  accounts: ReadonlyMap<number, Account>;
  clock: { nowMicros(): number; bootWallMicros(): number };
  /** Reads the cells of an account while the kernel counts in them. */
  read(account: Account): Float64Array;
  bootNs(): bigint;
  /** The bus stored these cells, cell and count in turn: to be made durable. */
  onAcked(account: Account, cells: readonly number[]): void;
  /** Its subject is gone and every count is acknowledged. */
  onSettled(account: Account): void;
}

export class AccountAdapter implements SourceAdapter<Account> {
  readonly #o: AccountAdapterOptions;
  /** The next sweep begins behind this generation. */
  #sweptTo = 0;

  constructor(options: AccountAdapterOptions) {
    this.#o = options;
  }

  all(): Iterable<Account> {
    return this.#o.accounts.values();
  }

  /**
   * Stores samples with their cells.
   * @param containerOf the container of an operation in a pod's own account; null: unknown
   * @returns the accounts of these samples
   */
  takeSamples(
    samples: readonly RuntimeSample[],
    containerOf: (sample: RuntimeSample) => ContainerRef | null,
  ): ReadonlySet<Account> {
    const bootWall = this.#o.clock.bootWallMicros();
    const received = new Set<Account>();
    for (const sample of samples) {
      const account = this.#o.accounts.get(sample.generation);
      if (!account) continue; // forgotten after its last count, which included the operation
      const extra = account.stored.count - RUNTIME_EXTRA_CELLS;
      const cell = sample.extra ? extra + sample.rule : sample.rule;
      const operation = toOperationSample(sample, bootWall, account.stored.container ?? containerOf(sample));
      this.addSample(account, cell, operation);
      received.add(account);
    }
    return received;
  }

  addSample(account: Account, cell: number, sample: OperationSample): void {
    account.samples.set(cell, addSample(account.samples.get(cell), sample));
  }

  /**
   * The next accounts in the order of their generations, and every account whose subject is gone.
   */
  sweepable(): Account[] {
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

  collect(account: Account, frames: FrameWriter<Account>): CollectResult {
    const reading = account.counts ?? this.#o.read(account);
    const isFinal = account.gone && !account.finalPublished;
    const grown = isFinal
      ? account.ledger.counted(reading).filter((cell) => cell >= account.finalFrom)
      : account.ledger.grown(reading);
    const cells = grown.slice(0, MAX_CELLS_PER_TURN);
    this.#addGrown(account, reading, cells, frames);
    if (isFinal) {
      account.finalPublished = cells.length === grown.length;
      account.finalFrom = account.finalPublished ? 0 : (cells.at(-1) as number) + 1;
    }
    const isSettled = cells.length === 0 && account.framesInFlight === 0 && account.ledger.settled(reading);
    if (account.gone && isSettled) this.#o.onSettled(account);
    return cells.length > 0 ? 'grew' : 'unchanged';
  }

  #addGrown(account: Account, reading: Float64Array, cells: readonly number[], frames: FrameWriter<Account>): void {
    const nowMicros = this.#o.clock.nowMicros();
    const disarmed = account.auditUntilNs > this.#o.bootNs();
    // Every cell has one violation; the rest of the turn is for further operations of a cell.
    let spare = MAX_CELLS_PER_TURN - cells.length;
    for (const cell of cells) {
      const increment = { enqueued: account.ledger.enqueued(cell), cumulative: reading[cell] as number };
      const parts = splitIncrement(account.samples.get(cell), increment, 1 + spare);
      spare -= parts.length - 1;
      for (const part of parts) {
        const violation = frames.add(account, cell, part.cumulative);
        fillLsmViolation(violation, { bootId: this.#o.bootId, account, cell, part, nowMicros, disarmed });
        account.ledger.enqueue(cell, part.cumulative);
        frames.sendIfFull();
      }
      account.samples.delete(cell);
    }
  }

  onAcked({ source, cells }: Unacked<Account>): void {
    this.#o.onAcked(source, cells);
  }

  onRejected({ source }: Unacked<Account>): void {
    source.finalFrom = 0;
  }
}

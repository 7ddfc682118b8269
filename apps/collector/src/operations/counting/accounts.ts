/**
 * The accounts of this process by generation, and the durable record of what the bus acknowledged:
 * pinned cells while the kernel counts, the account's file after its last reading.
 */
import type { Account } from './account.ts';
import type { AccountStore } from './account-store.ts';
import type { AckedCells } from './acked-cells.ts';

export interface AccountsOptions {
  acked: AckedCells;
  store: AccountStore;
  onError(error: Error): void;
}

export class Accounts {
  /** Every account, also of subjects that are gone. */
  readonly byGeneration = new Map<number, Account>();
  readonly #o: AccountsOptions;
  #closed = false;

  constructor(options: AccountsOptions) {
    this.#o = options;
  }

  /** Records acknowledged counts. @param cells cell and count in turn */
  acknowledged(account: Account, cells: readonly number[]): void {
    // An acknowledgement may arrive after the account was settled and its cells have another owner.
    if (this.#closed || this.byGeneration.get(account.stored.generation) !== account) return;
    try {
      this.#write(account, cells);
    } catch (error) {
      this.#o.onError(error as Error);
    }
  }

  #write(account: Account, cells: readonly number[]): void {
    if (account.counts === null) {
      for (let i = 0; i < cells.length; i += 2) {
        const cell = cells[i] as number;
        this.#o.acked.write(account.stored.base + cell, account.ledger.acked()[cell] as number);
      }
      return;
    }
    const { final } = account.stored;
    if (!final) return;
    const acked = [...account.ledger.acked().entries()].filter(([, value]) => value !== 0);
    account.stored = { ...account.stored, final: { ...final, acked } };
    this.#o.store.save(account.stored, account.facts);
  }

  /** Forgets an account whose last count is acknowledged. */
  settle(account: Account): void {
    this.byGeneration.delete(account.stored.generation);
    this.#o.store.remove(account.stored);
  }

  close(): void {
    this.#closed = true;
    this.#o.acked.close();
  }
}

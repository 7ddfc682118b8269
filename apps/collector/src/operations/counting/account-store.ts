/**
 * Stores accounts on disk: one small file per generation under `<stateDir>/<bootId>/runtime/`. It
 * is written before the subject enters the kernel and removed after the last count is acknowledged.
 * The meaning of the cells is in one file per policy set, named by its digest. After a kill, the
 * next process finds the pod and the meaning of every cell.
 *
 * A file that cannot be read is reported and ignored. Limit: MAX_ACCOUNTS files of each kind, of which a
 * namespace gets a further one only while more are free than it has.
 */

import { FairCounts, FileStore } from '@bailiff/service';
import * as z from 'zod';
import type { OnProblem } from '../../process/problem-log.ts';
import { type CellFacts, cellFacts, type StoredAccount, storedAccount } from './account.ts';

/** Live subjects, and as many that are gone while the bus is unavailable. */
export const MAX_ACCOUNTS = 8192;

const accountFile = (generation: number): string => `account-${generation}.json`;
const factsFile = (digest: string): string => `set-${digest}.json`;
const FACTS = /^set-([0-9a-f]{64})\.json$/;

export interface LoadedAccount {
  readonly stored: StoredAccount;
  readonly facts: readonly CellFacts[];
}

export class AccountStore {
  readonly #store: FileStore;
  /** Generations with a file, by the digest of their set. */
  readonly #users = new Map<string, Set<number>>();
  /** Accounts with a file, by namespace. */
  readonly #files: FairCounts;

  /** @param options.most for tests */
  constructor(dir: string, options: { most?: number; onProblem: OnProblem }) {
    this.#files = new FairCounts(options.most ?? MAX_ACCOUNTS);
    this.#store = new FileStore(dir, options.onProblem);
  }

  /** Every readable account. Creates the directory and removes facts without an account. */
  load(): LoadedAccount[] {
    this.#store.create();
    const loaded = this.read();
    this.#files.clear();
    for (const { stored } of loaded) {
      this.#use(stored.digest).add(stored.generation);
      this.#files.add(stored.pod.namespace);
    }
    for (const name of this.#store.names(FACTS)) {
      const digest = FACTS.exec(name)?.[1] as string;
      if (!this.#users.has(digest)) this.#store.remove(name);
    }
    return loaded;
  }

  /** Every readable account. Changes nothing, so another process may own the files. */
  read(): LoadedAccount[] {
    const facts = new Map<string, CellFacts[]>();
    const loaded: LoadedAccount[] = [];
    for (const name of this.#store.names(/^account-\d+\.json$/)) {
      const stored = this.#store.read(name, (text): StoredAccount => {
        const parsed = storedAccount.parse(JSON.parse(text));
        if (accountFile(parsed.generation) !== name) throw new Error('the file belongs to another generation');
        return parsed;
      });
      if (stored === undefined) continue;
      const { digest } = stored;
      const read = () => this.#store.read(factsFile(digest), (text) => z.array(cellFacts).parse(JSON.parse(text)));
      const cells = facts.get(digest) ?? read();
      if (cells === undefined) continue;
      facts.set(digest, cells);
      loaded.push({ stored, facts: cells });
    }
    return loaded;
  }

  #use(digest: string): Set<number> {
    const users = this.#users.get(digest) ?? new Set();
    this.#users.set(digest, users);
    return users;
  }

  /** False: the disk failed or has no room. This is reported; enforcement is not affected. */
  save(stored: StoredAccount, facts: readonly CellFacts[]): boolean {
    const users = this.#use(stored.digest);
    const isNew = !users.has(stored.generation);
    const name = accountFile(stored.generation);
    const { namespace } = stored.pod;
    const hasRoom = !isNew || this.#files.hasRoom(namespace);
    if (!hasRoom)
      this.#store.problem(name, `namespace ${namespace} has its share of the ${this.#files.most} accounts on disk`);
    const saved =
      hasRoom &&
      (users.size > 0 || this.#store.save(factsFile(stored.digest), JSON.stringify(facts))) &&
      this.#store.save(name, JSON.stringify(stored));
    if (saved && isNew) {
      users.add(stored.generation);
      this.#files.add(namespace);
    }
    if (users.size === 0) this.#users.delete(stored.digest);
    return saved;
  }

  remove({ generation, digest, pod }: StoredAccount): void {
    const users = this.#users.get(digest);
    if (!users?.delete(generation)) return;
    this.#files.remove(pod.namespace);
    this.#store.remove(accountFile(generation));
    if (users.size > 0) return;
    this.#users.delete(digest);
    this.#store.remove(factsFile(digest));
  }
}

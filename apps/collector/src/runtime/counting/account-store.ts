/**
 * Stores accounts on disk: one small file per generation under `<stateDir>/<bootId>/runtime/`. It
 * is written before the subject enters the kernel and removed after the last count is acknowledged.
 * The meaning of the cells is in one file per policy set, named by its digest. After a kill, the
 * next process finds the pod and the meaning of every cell.
 *
 * A file that cannot be read is reported and ignored. Limit: MAX_ACCOUNTS files of each kind.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PACKET_ACTIONS } from '@bailiff/vocabulary';
import * as z from 'zod';
import type { CellFacts, StoredAccount } from './account.ts';

/** Live subjects, and as many that are gone while the bus is unavailable. */
export const MAX_ACCOUNTS = 8192;

const count = z.number().int().nonnegative();
const text = z.string();
const sparse = z.array(z.tuple([count, z.number().nonnegative()]));
const pod = z.object({
  uid: text,
  namespace: text,
  name: text,
  serviceAccount: text,
  ownerKind: text,
  ownerName: text,
  ownerUid: text,
});
const storedAccount = z.object({
  generation: z.number().int().positive(),
  pins: text,
  podUid: z.string().regex(/^[0-9a-f]{32}$/),
  pod,
  container: z.object({ name: text, id: text, cgroupId: z.string().regex(/^\d+$/) }).nullable(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  set: count,
  compiledBy: text,
  base: count,
  count: z.number().int().positive(),
  bucket: z.number().int(),
  final: z.object({ counts: sparse, acked: sparse }).optional(),
});
const cellFacts = z.array(
  z.object({
    vector: text,
    action: z.enum(PACKET_ACTIONS),
    policy: text,
    policyRevision: z.number(),
    severity: text,
    tags: z.array(text),
    message: text,
  }),
);

export interface LoadedAccount {
  readonly stored: StoredAccount;
  readonly facts: readonly CellFacts[];
}

export class AccountStore {
  readonly #dir: string;
  readonly #onProblem: (problem: { file: string; reason: string }) => void;
  /** Generations with a file, by the digest of their set. */
  readonly #users = new Map<string, Set<number>>();
  #files = 0;

  constructor(dir: string, options: { onProblem(problem: { file: string; reason: string }): void }) {
    this.#dir = dir;
    this.#onProblem = options.onProblem;
  }

  #accountFile(generation: number): string {
    return path.join(this.#dir, `account-${generation}.json`);
  }

  #factsFile(digest: string): string {
    return path.join(this.#dir, `set-${digest}.json`);
  }

  /** Every readable account. Creates the directory and removes facts without an account. */
  load(): LoadedAccount[] {
    this.#attempt(this.#dir, () => mkdirSync(this.#dir, { recursive: true, mode: 0o700 }));
    const loaded = this.read();
    for (const { stored } of loaded) this.#use(stored.digest).add(stored.generation);
    this.#files = loaded.length;
    for (const name of this.#names()) {
      const digest = /^set-([0-9a-f]{64})\.json$/.exec(name)?.[1];
      if (digest !== undefined && !this.#users.has(digest)) this.#remove(path.join(this.#dir, name));
    }
    return loaded;
  }

  /** Every readable account. Changes nothing, so another process may own the files. */
  read(): LoadedAccount[] {
    const facts = new Map<string, CellFacts[]>();
    const loaded: LoadedAccount[] = [];
    for (const name of this.#names()) {
      if (!/^account-\d+\.json$/.test(name)) continue;
      const file = path.join(this.#dir, name);
      this.#attempt(file, () => {
        const { final, ...rest } = storedAccount.parse(JSON.parse(readFileSync(file, 'utf8')));
        const stored: StoredAccount = final ? { ...rest, final } : rest;
        if (this.#accountFile(stored.generation) !== file) throw new Error('the file belongs to another generation');
        const { digest } = stored;
        const cells = facts.get(digest) ?? cellFacts.parse(JSON.parse(readFileSync(this.#factsFile(digest), 'utf8')));
        facts.set(digest, cells);
        loaded.push({ stored, facts: cells });
      });
    }
    return loaded;
  }

  #names(): string[] {
    return this.#attempt(this.#dir, () => readdirSync(this.#dir)) ?? [];
  }

  #use(digest: string): Set<number> {
    const users = this.#users.get(digest) ?? new Set();
    this.#users.set(digest, users);
    return users;
  }

  #attempt<T>(file: string, action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      this.#onProblem({ file, reason: (error as Error).message });
      return undefined;
    }
  }

  #remove(file: string): void {
    this.#attempt(file, () => rmSync(file, { force: true }));
  }

  #write(file: string, value: unknown): void {
    writeFileSync(`${file}.new`, JSON.stringify(value), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  /** False: the disk failed or has no room. This is reported; enforcement is not affected. */
  save(stored: StoredAccount, facts: readonly CellFacts[]): boolean {
    const users = this.#use(stored.digest);
    const isNew = !users.has(stored.generation);
    const file = this.#accountFile(stored.generation);
    const saved = this.#attempt(file, () => {
      if (isNew && this.#files >= MAX_ACCOUNTS) throw new Error(`more than ${MAX_ACCOUNTS} accounts`);
      if (users.size === 0) this.#write(this.#factsFile(stored.digest), facts);
      this.#write(file, stored);
      return true;
    });
    if (saved && isNew) {
      users.add(stored.generation);
      this.#files += 1;
    }
    if (users.size === 0) this.#users.delete(stored.digest);
    return saved === true;
  }

  remove({ generation, digest }: StoredAccount): void {
    const users = this.#users.get(digest);
    if (!users?.delete(generation)) return;
    this.#files -= 1;
    this.#remove(this.#accountFile(generation));
    if (users.size > 0) return;
    this.#users.delete(digest);
    this.#remove(this.#factsFile(digest));
  }
}

/**
 * Runtime enforcement in `collector status`: subjects and their policy sets, from pins and files
 * only.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import {
  boottimeNs,
  openPinnedRuntimeMaps,
  RUNTIME_EXTRA_CELLS,
  type RuntimeMaps,
  type RuntimeSubject,
} from '@bailiff/bpf';
import { AccountStore, type LoadedAccount } from '../operations/counting/account-store.ts';

export interface RuntimeRow {
  /**
   * `<namespace>/<name>`, with the container if it has its own set; the pod's UID if there is no
   * file.
   */
  subject: string;
  generation: number;
  set: number;
  /** Start of the content hash; empty: no policy, or no file. */
  digest: string;
  rules: number;
  denied: number;
  audited: number;
  disarmed: boolean;
}

export interface RuntimeReport {
  /** Attached programs. */
  links: string[];
  subjects: RuntimeRow[];
  losses: Record<string, number>;
}

const DIGEST_CHARS = 12;

function rowOf(maps: RuntimeMaps, name: string, value: RuntimeSubject, account: LoadedAccount | undefined): RuntimeRow {
  const counts = value.counterCount > 0 ? maps.counters(value.counterBase, value.counterCount).map(Number) : [];
  const sum = (action: 'drop' | 'audit') =>
    counts.reduce((total, n, cell) => total + (account?.facts[cell]?.action === action ? n : 0), 0);
  const { stored } = account ?? {};
  const container = stored?.container ? ` ${stored.container.name}` : '';
  return {
    subject: stored ? `${stored.pod.namespace}/${stored.pod.name}${container}` : name,
    generation: value.generation,
    set: value.set,
    digest: stored?.digest.slice(0, DIGEST_CHARS) ?? '',
    rules: Math.max(0, value.counterCount - RUNTIME_EXTRA_CELLS),
    denied: sum('drop'),
    audited: sum('audit'),
    disarmed: value.auditUntilNs > boottimeNs(),
  };
}

/** @returns null: no pins of runtime programs. @param accountsDir `<stateDir>/<bootId>/runtime` */
export function runtimeReport(bpfDir: string, accountsDir: string): RuntimeReport | null {
  using pinned = openPinnedRuntimeMaps(bpfDir);
  if (!pinned) return null;
  const { maps } = pinned;
  const accounts = existsSync(accountsDir) ? new AccountStore(accountsDir, { onProblem: () => undefined }).read() : [];
  const byGeneration = new Map(accounts.map((account) => [account.stored.generation, account]));
  const row = (name: string, value: RuntimeSubject) => rowOf(maps, name, value, byGeneration.get(value.generation));
  const links = path.join(bpfDir, 'runtime/links');
  return {
    links: existsSync(links) ? readdirSync(links) : [],
    subjects: [
      ...maps.pods.entries().map(([uid, value]) => row(uid, value)),
      ...maps.containers.entries().map(([id, value]) => row(`cgroup ${id}`, value)),
    ],
    losses: Object.fromEntries(Object.entries(maps.losses()).map(([loss, n]) => [loss, Number(n)])),
  };
}

/** Cells of a table, the header first. */
export function runtimeTable({ subjects }: RuntimeReport): string[][] {
  const header = ['POLICIES OF', 'SET', 'RULES', 'DENIED', 'AUDITED', 'DIGEST'];
  return [
    header,
    ...subjects.map((row) => [
      row.subject,
      row.set === 0 ? 'none' : `${row.set}${row.disarmed ? ',disarmed' : ''}`,
      String(row.rules),
      String(row.denied),
      String(row.audited),
      row.digest,
    ]),
  ];
}

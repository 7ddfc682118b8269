// Files of accounts, which namespaces share.

import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, expect, it } from 'vitest';
import type { StoredAccount } from './account.ts';
import { AccountStore } from './account-store.ts';

let dir: string;
let problems: string[];
beforeEach(() => {
  dir = temporaryDirectory();
  problems = [];
});

const open = () => {
  const store = new AccountStore(dir, { most: 16, onProblem: (_, reason) => problems.push(reason) });
  store.load();
  return store;
};
const account = (generation: number, namespace: string): StoredAccount => ({
  generation,
  pins: 'pins',
  podUid: '0'.repeat(32),
  container: null,
  digest: 'a'.repeat(64),
  set: 1,
  compiledBy: '1',
  base: 0,
  count: 1,
  bucket: 0,
  pod: {
    uid: '0'.repeat(32),
    namespace,
    name: `pod-${generation}`,
    serviceAccount: '',
    ownerKind: '',
    ownerName: '',
    ownerUid: '',
  },
});
const savedOf = (store: AccountStore, namespace: string, first: number, count: number) =>
  Array.from({ length: count }, (_, n) => store.save(account(first + n, namespace), [])).filter(Boolean).length;

it('accounts - a namespace with many leaves files to others, also after a restart; of as many namespaces, none is left', () => {
  const store = open();
  expect([savedOf(store, 'tenant', 1, 100), savedOf(store, 'shop', 200, 3)]).toEqual([8, 3]);
  expect(problems[0]).toBe('namespace tenant has its share of the 16 accounts on disk');
  const next = open();
  expect([savedOf(next, 'tenant', 100, 1), savedOf(next, 'shop', 300, 1)]).toEqual([0, 1]);
  for (let generation = 1; generation <= 8; generation += 1) next.remove(account(generation, 'tenant'));
  expect(savedOf(next, 'tenant', 400, 100)).toBe(6);

  for (const file of readdirSync(dir)) rmSync(path.join(dir, file));
  const control = open();
  const many = Array.from({ length: 20 }, (_, n) => savedOf(control, `namespace-${n}`, n + 1, 1));
  expect([many.filter((saved) => saved === 1).length, savedOf(control, 'shop', 200, 3)]).toEqual([16, 0]);
});

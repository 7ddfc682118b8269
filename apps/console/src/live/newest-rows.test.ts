import { expect, it } from 'vitest';
import { DAY_MS, NewestRows } from './newest-rows.ts';

const NOW_MS = 1_800_000_000_000;
const seen = (name: string, agoMs: number, kind = '') => ({
  row: () => ({ key: name, cells: [name] }),
  storedMs: NOW_MS - agoMs,
  namespace: 'shop',
  kind,
});
const keys = (rows: NewestRows, nowMs: number) => {
  const { rows: shown, omitted } = rows.table([], nowMs);
  return [shown.map(({ key }) => key), omitted];
};

it('rows - newest first; what is older than a day leaves the table and the numbers', () => {
  const rows = new NewestRows();
  rows.add(seen('old', DAY_MS - 3_600_000, 'delete refused'));
  rows.add(seen('new', 0, 'delete succeeded'));
  expect(keys(rows, NOW_MS)).toEqual([['new', 'old'], 0]);
  expect(keys(rows, NOW_MS + 2 * 3_600_000)).toEqual([['new'], 0]);
  expect(rows.counts(NOW_MS + 2 * 3_600_000)).toEqual([['delete succeeded', 1]]);
});

it('numbers - count also the rows that are not kept', () => {
  const rows = new NewestRows();
  rows.add(seen('first', 60_000, 'delete refused'));
  for (let n = 0; n < 70; n += 1) rows.add(seen(String(n), 0, 'label succeeded'));
  const [shown, omitted] = keys(rows, NOW_MS);
  expect([(shown as string[]).length, (shown as string[])[0], omitted]).toEqual([50, '69', 21]);
  expect(rows.counts(NOW_MS)).toEqual([
    ['label succeeded', 70],
    ['delete refused', 1],
  ]);
});

import { expect, it } from 'vitest';
import { MissingVerdicts } from './missing-verdicts.ts';

const at = (ms: number) => new Date(ms).toISOString();

it('missing verdicts - are reported until ten minutes after the last one', () => {
  const missing = new MissingVerdicts();
  expect(missing.observe(0, 1_000)).toBeUndefined();
  expect(missing.observe(3, 20_000)).toEqual({ count: 3, since: at(20_000) });
  expect(missing.observe(5, 300_000)).toEqual({ count: 5, since: at(20_000) });
  expect(missing.observe(5, 800_000)).toEqual({ count: 5, since: at(20_000) });
  expect(missing.observe(5, 900_001)).toBeUndefined();
  expect(missing.observe(6, 900_002)).toEqual({ count: 1, since: at(900_002) });
});

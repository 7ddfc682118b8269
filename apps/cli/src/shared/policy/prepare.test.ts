import { expect, it } from 'vitest';
import { summaryOf } from './prepare.ts';

it.each([
  [{ mode: 'enforce', rules: [{}] }, 'enforce, 1 rule'],
  [{ mode: 'audit', rules: [] }, 'audit, 0 rules'],
])('a new policy in a line - %j: %s', (policy, line) => {
  expect(summaryOf(policy)).toBe(line);
});

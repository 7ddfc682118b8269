import { expect, it } from 'vitest';
import { skewOf } from './version.ts';

it.each([
  ['1.2.3', '1.2.9', false],
  ['1.2.3', 'v1.2.0', false],
  ['1.2.3', '1.3.0', true],
  ['0.1.0', '0.2.0', true],
  ['1.2.3', 'unknown', true],
])('client %s, part %s: %s', (client, version, differs) => {
  expect(skewOf(client, [{ part: 'correlator', version, instances: 2 }])).toHaveLength(differs ? 1 : 0);
});

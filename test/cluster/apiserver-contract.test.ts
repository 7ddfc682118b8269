// One suite of expectations for the API stand-in and, if there is one, a real API server. Other
// tests may rely on whatever passes against both. contract/target.ts documents how to name a real
// server.

import { afterAll, beforeAll, describe, test } from 'vitest';
import { customResourceTests } from './contract/custom.ts';
import { deletionTests, evictionTests } from './contract/deletes.ts';
import { type Bench, clearBench, makeBench } from './contract/fixtures.ts';
import { listTests } from './contract/lists.ts';
import { objectTests } from './contract/objects.ts';
import { patchTests } from './contract/patches.ts';
import { surfaceTests } from './contract/surface.ts';
import { type Target, targetKinds } from './contract/target.ts';
import { tokenTests } from './contract/tokens.ts';
import { watchTests } from './contract/watches.ts';

const kinds = targetKinds(process.env);
const startTimeoutMs = 120_000;

describe.each(kinds)('API contract: $name', (kind) => {
  let target: Target;
  let bench: Bench;
  beforeAll(async () => {
    target = await kind.start();
    bench = await makeBench(target);
  }, startTimeoutMs);
  afterAll(async () => {
    if (bench !== undefined) await clearBench(bench);
    await target?.[Symbol.asyncDispose]();
  });
  const current = () => bench;

  objectTests(current);
  patchTests(current);
  listTests(current);
  watchTests(current);
  deletionTests(current);
  evictionTests(current);
  customResourceTests(current);
  surfaceTests(current);
  tokenTests(current);
});

if (kinds.length === 1) {
  test('API contract: a real API server', ({ skip }) =>
    skip('optional: none is named; set KUBEBUILDER_ASSETS, or KUBECONFIG with BAILIFF_CONTRACT=1'));
}

/**
 * The module `vitest` of test files inside the virtual machine: the runner and assertions of vitest
 * without its command, which takes 20 s to start under emulation. bundle.ts puts it in place.
 * `vi`, snapshots, `expect.poll` and `expect.soft` are missing.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  type ExpectStatic,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
} from '@vitest/expect';

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, onTestFinished, test } from '@vitest/runner';

for (const plugin of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(plugin);
const globals = globalThis as Record<symbol, unknown>;

export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  globals[ASYMMETRIC_MATCHERS_OBJECT],
) as ExpectStatic;
globals[GLOBAL_EXPECT] = expect;

type Extend = (expect: ExpectStatic, matchers: typeof customMatchers) => void;
(chai.expect as unknown as { extend: Extend }).extend(expect, customMatchers);

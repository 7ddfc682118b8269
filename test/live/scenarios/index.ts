/** All scenarios, in the order of a run. */
import { BENIGN } from './benign.ts';
import { CHAOS_SCENARIOS } from './chaos.ts';
import { DRAIN } from './drain.ts';
import { LOAD_SCENARIOS } from './load.ts';
import { RESPONSE_SCENARIOS } from './responses.ts';
import { RUNTIME } from './runtime.ts';
import type { Scenario } from './scenario.ts';
import { SPOOF_SCENARIOS } from './spoof.ts';
import { TOTALS } from './totals.ts';
import { UNINSTALL } from './uninstall.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...SPOOF_SCENARIOS,
  BENIGN,
  ...LOAD_SCENARIOS,
  ...RESPONSE_SCENARIOS,
  ...CHAOS_SCENARIOS,
  DRAIN,
  RUNTIME,
  TOTALS,
  UNINSTALL,
];

/** All scenarios, in the order of a run. */
import type { Scenario } from './scenario.ts';
import { SPOOF_SCENARIOS } from './spoof.ts';

export const SCENARIOS: readonly Scenario[] = [...SPOOF_SCENARIOS];

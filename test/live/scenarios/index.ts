/** All scenarios, in the order of a run. */
import { BENIGN } from './benign.ts';
import { BUDGETS } from './budgets.ts';
import { CHAOS_SCENARIOS } from './chaos.ts';
import { DRAIN } from './drain.ts';
import { FIRST_PACKET } from './first-packet.ts';
import { FLOOD } from './load.ts';
import { REBOOT } from './reboot.ts';
import { RESPONSE_SCENARIOS } from './responses.ts';
import { RUNTIME } from './runtime.ts';
import type { Scenario } from './scenario.ts';
import { SPOOF_SCENARIOS } from './spoof.ts';
import { TOTALS } from './totals.ts';
import { UNINSTALL } from './uninstall.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...SPOOF_SCENARIOS,
  BENIGN,
  FLOOD,
  FIRST_PACKET,
  ...RESPONSE_SCENARIOS,
  ...BUDGETS,
  ...CHAOS_SCENARIOS,
  DRAIN,
  REBOOT,
  RUNTIME,
  TOTALS,
  UNINSTALL,
];

// Further ways to send forged frames to the guard: queues, and actions of traffic control that rewrite or
// redirect. A stock kernel has more of them than this one: BAILIFF_VM_FILES=guard-bypass-more-ways.
import { NETKITS, testWays, VETHS } from './harness/way-tests.ts';
import { PRINCIPAL } from './harness/ways.ts';

testWays([...VETHS, ...NETKITS], (name) => !PRINCIPAL.includes(name));

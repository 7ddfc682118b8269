// Further ways to send forged frames to the guard: queues, and actions of traffic control that rewrite or
// redirect. A stock kernel has more of them than this one: BAILIFF_VM_FILES=guard-bypass-more-ways.
// netkit-more-ways.test.ts has those of netkit.
import { testWays, VETHS } from './harness/way-tests.ts';
import { PRINCIPAL } from './harness/ways.ts';

testWays(VETHS, (name) => !PRINCIPAL.includes(name));

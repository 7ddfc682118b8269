// The principal ways to send forged frames (harness/ways.ts) to the guard of a netkit pair. Needs Linux 6.7:
// BAILIFF_VM_FILES=netkit-ways. netkit-more-ways.test.ts has the others.
import { NETKITS, testWays } from './harness/way-tests.ts';
import { PRINCIPAL } from './harness/ways.ts';

testWays(NETKITS, (name) => PRINCIPAL.includes(name));

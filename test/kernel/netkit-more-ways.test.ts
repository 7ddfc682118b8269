// Further ways to send forged frames to the guard of a netkit pair, as guard-bypass-more-ways.test.ts. Needs Linux 6.7:
// BAILIFF_VM_FILES=netkit-more-ways.
import { NETKITS, testWays } from './harness/way-tests.ts';
import { PRINCIPAL } from './harness/ways.ts';

testWays(NETKITS, (name) => !PRINCIPAL.includes(name));

// The principal ways to send forged frames to the guard (harness/ways.ts), which other kernels run too.
// guard-bypass-more-ways.test.ts has the others.
import { testWays, VETHS } from './harness/way-tests.ts';
import { PRINCIPAL } from './harness/ways.ts';

testWays(VETHS, (name) => PRINCIPAL.includes(name));

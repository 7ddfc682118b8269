// Network enforcement on a second kernel: runs test/kernel inside and reports each of its tests
// here.
import { tierInVm } from './inside.ts';

await tierInVm('kernel');

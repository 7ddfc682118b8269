// Network enforcement on a second kernel: test/kernel runs inside, each of its tests is reported here.
import { tierInVm } from './inside.ts';

await tierInVm('kernel');

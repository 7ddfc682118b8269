// The network half on a second kernel: test/kernel runs inside, each of its tests is told here.
import { tierInVm } from './inside.ts';

await tierInVm('kernel');

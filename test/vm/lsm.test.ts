// Runtime enforcement, in a kernel that loads BPF-LSM programs: test/lsm runs inside, each of its tests is reported here. Fully preemptible,
// so that the programs are interrupted wherever they can be.
import { tierInVm } from './inside.ts';

await tierInVm('lsm', { kernelArgs: ['preempt=full'] });

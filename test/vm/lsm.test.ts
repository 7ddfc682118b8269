// Runtime enforcement, in a kernel that loads BPF-LSM programs: runs test/lsm inside and reports
// each of its tests here. The kernel is fully preemptible, so that programs are interrupted
// wherever possible.
import { tierInVm } from './inside.ts';

await tierInVm('lsm', { kernelArgs: ['preempt=full'] });

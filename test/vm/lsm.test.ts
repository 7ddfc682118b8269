// The runtime half, in a kernel that loads BPF-LSM programs: test/lsm runs inside, each of its tests is told here.
import { tierInVm } from './inside.ts';

await tierInVm('lsm');

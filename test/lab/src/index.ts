/** Public interface of the lab for tests and benchmarks. */

export { CHECKOUT, LABS_DIR } from './names.ts';

export { exec } from './process/exec.ts';

export { type LabInfo, type LabPodInfo, readState } from './state/state.ts';
export { startLab } from './supervisor/bring-up.ts';
export type { Lab } from './supervisor/lab.ts';

/** Public interface of the lab for tests and benchmarks. */

export { LabError, type LabErrorCode } from './errors.ts';
export { POD_PORT } from './kubelet/sandbox.ts';
export { CHECKOUT, LABS_DIR } from './names.ts';
export { ensureLabtool, labtoolArgs } from './native-tool.ts';
export { type CniPlugin, DEFAULT_OPTIONS, type LabOptions } from './plan.ts';
export { exec } from './process/exec.ts';
export { type LineProcess, startLines, stopLines } from './process/lines.ts';
export type { Child } from './services/children.ts';
export { removeEverything, takeDown } from './state/cleanup.ts';
export { isAlive, type LabInfo, type LabPodInfo, type LabState, listLabs, readState } from './state/state.ts';
export { type BringUp, startLab } from './supervisor/bring-up.ts';
export type { Lab } from './supervisor/lab.ts';
export { until } from './until.ts';

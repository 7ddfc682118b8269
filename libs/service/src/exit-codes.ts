/**
 * Exit codes of every process, as systemd.exec(5) lists them. Imports no other file, so that pure
 * libraries can use it (`@bailiff/service/exit-codes`).
 */

/** Exit codes of a process. 5 is not used: systemd defines it as "not installed". */
export const EXIT = {
  ok: 0,
  bug: 1,
  badFlags: 2,
  kernelLacksFeature: 3,
  missingPrivilege: 4,
  badConfiguration: 6,
  dependencyUnreachable: 7,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

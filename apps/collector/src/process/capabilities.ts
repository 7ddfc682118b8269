/** Capabilities of a process, as /proc/<pid>/status tells them. Pure. */

/** Numbers of include/uapi/linux/capability.h. */
export const CAPABILITY = { sysAdmin: 21, perfmon: 38 } as const;

/** Whether one is in force. Unknown text counts as having it: then the kernel's own answer is all that is told. */
export function isCapable(status: string, capability: number): boolean {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  return mask === undefined || ((BigInt(`0x${mask}`) >> BigInt(capability)) & 1n) === 1n;
}

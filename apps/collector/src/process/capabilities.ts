/** Effective capabilities of a process, from the text of /proc/<pid>/status. Pure. */

/** Numbers of include/uapi/linux/capability.h. */
export const CAPABILITY = { sysAdmin: 21, perfmon: 38 } as const;

/** False only if the text shows that the capability is missing. */
export function isCapable(status: string, capability: number): boolean {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  return mask === undefined || ((BigInt(`0x${mask}`) >> BigInt(capability)) & 1n) === 1n;
}

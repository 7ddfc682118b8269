/** Removes interfaces from the kernel. A failed step does not prevent the others. */
import type { Direction, IfaceKey, SpoofObject } from '@bailiff/bpf';

export interface ProblemSink {
  onProblem(problem: { interfaceName: string; reason: string; error?: unknown }): void;
}

/** Reports an exception as a problem of the interface. */
export function attempt(to: ProblemSink, interfaceName: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    to.onProblem({ interfaceName, reason: (error as Error).message, error });
  }
}

/**
 * Removes identity and links; counters stay until they are acknowledged.
 * @param directions of the links; default: all
 */
export function release(
  parts: ProblemSink & { object: SpoofObject },
  key: IfaceKey,
  ownsRecord: boolean,
  directions?: readonly Direction[],
): void {
  const { object } = parts;
  const { maps } = object;
  const name = `ifindex ${key.ifindex}`;
  attempt(parts, name, () => object.detach(key, directions));
  attempt(parts, name, () => maps.addresses.replace(key, []));
  attempt(parts, name, () => maps.probePorts.replace(key, []));
  if (ownsRecord) attempt(parts, name, () => maps.ifaces.delete(key.ifindex));
}

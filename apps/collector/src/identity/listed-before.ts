/**
 * A later sandbox of a pod has other addresses: its pause container died, or the node was started again.
 * Until the kubelet has reported them, the list of the bus has those of the former sandbox, which another
 * pod may have by now. So what the list had when an interface was bound, and the addresses of former sandboxes
 * that it may still get, do not replace the addresses of a record that proves to be its own. What else the list
 * has later does. Pure.
 */
import type { PodIdentity } from '@bailiff/schemas';
import { type Binding, isPrimary } from './identity.ts';

/**
 * Listed addresses of which none is in the record of a binding, and those of former sandboxes; none: the list decides.
 */
export function listedBefore(binding: Binding, listed: readonly string[], former: readonly string[] = []): string[] {
  const { addresses, fromCall, isDoubtful, source } = binding;
  // A record that is older than its interface may be left over.
  const isProven = source === 'cni' && (fromCall === true || isDoubtful === false);
  if (!isProven || !isPrimary(binding) || addresses.length === 0) return [];
  if (listed.some((address) => addresses.includes(address))) return [];
  return [...new Set([...listed, ...former.filter((address) => !addresses.includes(address))])];
}

/** The pod as if it was not started yet, while its list has only such addresses. */
export function withoutListed(pod: PodIdentity | null, before: readonly string[]): PodIdentity | null {
  if (pod === null || before.length === 0) return pod;
  const listed = pod.interfaces.flatMap(({ addresses }) => addresses);
  return listed.every((address) => before.includes(address)) ? { ...pod, interfaces: [] } : pod;
}

/**
 * Handles one request of the CNI plugin: finds the host side of the pod's interface, guards and
 * binds it by the same functions as netlink events and CNI records, and reports whether the kernel
 * has programs and identity.
 *
 * Data path: plugin → socket-server.ts → here → packets/engine.ts → kernel maps. Idempotent.
 */

import { getLink, type IfaceKey, type LinkRecord, type PodEndPins } from '@bailiff/bpf';
import type { CniRecord } from '../identity/cni-record.ts';
import { type GuardedInterface, keyOf } from '../packets/subjects/guarded-interface.ts';
import { HOST_KINDS, hostSides } from '../packets/subjects/node-links.ts';
import type { OtherInterface, Registry } from '../packets/subjects/registry.ts';
import type { OnProblem } from '../process/problem-log.ts';
import { isShortage } from '../process/shortage.ts';
import { type CniRequest, type PodLink, readRequest } from './request.ts';

/**
 * - guarded: programs are attached and the identity is in the kernel.
 * - not-applicable: this interface cannot be guarded, or an operator detached the node.
 * - failed: the failure policy of the plugin decides.
 */
export interface Answer {
  outcome: 'guarded' | 'not-applicable' | 'failed';
  reason: string;
  /** It failed for want of descriptors or memory: the plugin repeats the request within its bound. */
  again?: true;
  /** What the plugin attaches at the pod's end of a veth, before the pod starts. */
  podEnd?: PodEndPins;
}

export interface HandlerOptions {
  registry: Pick<Registry, 'live' | 'others'>;
  /** Handles the link events that precede the request. */
  readLinkEvents(): void;
  /** Guards the interface and binds it by the record. */
  apply(record: CniRecord, link: LinkRecord): void;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
  podEndPins(key: IfaceKey): PodEndPins | null;
  nowMs(): number;
  onProblem: OnProblem;
}

const failed = (reason: string, again = false): Answer => ({ outcome: 'failed', reason, ...(again ? { again } : {}) });
const notApplicable = (reason: string): Answer => ({ outcome: 'not-applicable', reason });

/** @returns the command, for metrics, and the answer. Never throws. */
export function handleRequest(json: string, options: HandlerOptions): { command: string; answer: Answer } {
  const request = readRequest(json, options.nowMs());
  if ('reason' in request) {
    options.onProblem('', request.reason);
    return { command: 'invalid', answer: failed(request.reason) };
  }
  const { command } = request;
  if (command === 'STATUS') return { command, answer: { outcome: 'guarded', reason: '' } };
  const { podNamespace, podName } = request.record;
  const subject = `${podNamespace}/${podName}`;
  for (const reason of request.dropped) options.onProblem(subject, reason);
  let answer: Answer;
  try {
    answer = guardPod(request, options);
  } catch (error) {
    answer = failed((error as Error).message, isShortage(error));
  }
  if (answer.outcome === 'failed') options.onProblem(subject, answer.reason);
  return { command, answer };
}

function guardPod(request: Exclude<CniRequest, { command: 'STATUS' }>, options: HandlerOptions): Answer {
  options.readLinkEvents();
  const found = findHostSide(request.record, request.podLink);
  if ('outcome' in found) return found;
  const { link, exact } = found;
  const record: CniRecord = {
    ...request.record,
    hostInterfaces: [link.name],
    // A pod that runs may have changed the MAC at its side (a network that Multus attaches later).
    podMac: request.record.podMac || exact?.mac || '',
  };
  options.apply(record, link);
  const live = options.registry.live(link.ifindex);
  if (!live) return unguardedAnswer(link, options.registry.others.get(link.ifindex));
  return guardedAnswer(live, record, options);
}

/**
 * The host side that the result names, or, if it names none that exists, the one by the index that the kernel gave
 * for the pod's side. A pod that runs can have exchanged that side since the plugin before ours made it.
 */
function findHostSide(
  record: CniRecord,
  podLink: PodLink | null,
): { link: LinkRecord; exact: PodLink | null } | Answer {
  const names = record.hostInterfaces;
  const read = podLink && hostSideOf(podLink);
  if (read && names.includes(read.name)) return { link: read, exact: podLink };
  const links = names.length === 0 ? [] : hostSides();
  const named = links.find(({ name }) => names.includes(name));
  if (named) return { link: named, exact: null };
  if (read) return { link: read, exact: podLink };
  if (podLink !== null)
    return notApplicable(`interface ${record.ifName} has no host side that programs can be attached to`);
  return failed(`the result of the call names no host interface for ${record.ifName}`);
}

function hostSideOf({ hostIfindex, ifindex }: PodLink): LinkRecord | null {
  const link = hostIfindex === 0 ? null : getLink(hostIfindex);
  return link && HOST_KINDS.includes(link.kind) && link.peerIfindex === ifindex ? link : null;
}

function unguardedAnswer(link: LinkRecord, other: OtherInterface | undefined): Answer {
  const reason = `${link.name} is not guarded: ${other?.reason ?? 'it disappeared'}`;
  const isUnsupported = other?.coverage === 'not-applicable' || link.netkit?.primary === false;
  return isUnsupported ? notApplicable(reason) : failed(reason, other?.isShort);
}

function guardedAnswer(
  iface: GuardedInterface,
  { podUid }: CniRecord,
  { whyNotAttach, podEndPins }: Pick<HandlerOptions, 'whyNotAttach' | 'podEndPins'>,
): Answer {
  const { name } = iface.link;
  if (iface.binding?.podUid !== podUid)
    return failed(`${name} is bound to ${iface.binding ? `pod ${iface.binding.podUid}` : 'no pod'}`);
  if (iface.applyError) return failed(`${name}: ${iface.applyError}`);
  const detached = whyNotAttach();
  if (detached !== '') return notApplicable(detached);
  if (iface.attachError !== '') return failed(`${name}: ${iface.attachError}`, iface.isShort);
  const podEnd = iface.link.kind === 'veth' ? podEndPins(keyOf(iface)) : null;
  return { outcome: 'guarded', reason: '', ...(podEnd && { podEnd }) };
}

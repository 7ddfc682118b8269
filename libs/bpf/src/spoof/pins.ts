/**
 * Layout of the pin directory on the bpffs, and names of the links.
 *
 *   maps/<map>, programs/<program>
 *   links/link-<ifindex>-<generation>-<in|out>       a tcx or netkit link
 *   programs/note_peer-link                          the link of note_peer, one for the node
 *   links/link-<ifindex>-<generation>-redirected     a tcx link at the host side of a netkit pair
 *   links/link-<ifindex>-<generation>-pod-end        a tcx link of the pod's end, created by
 *                                                    cni/src/pod_end.c; updated and detached here
 *   links/tc-<ifindex>-<generation>-<in|out>[-q]     program of a clsact filter, which has no pin of
 *                                                    its own; -q: Bailiff created its qdisc
 *   links/…-moving                                   a new link that replaces the one without suffix
 *
 * Data path: object.ts, detach.ts, and `status` without a collector read their attachments here.
 * Invariants: a name that does not parse is not Bailiff's and stays. All filters have one priority
 * and handle.
 */
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import type { BpfProgram } from '../core/bpf-program.ts';
import { ClsactFilter } from '../core/clsact.ts';
import { listPins } from '../core/pins.ts';
import { isBpffs, tryLock } from '../core/system.ts';
import type { ChainHook, TcxDirection } from '../core/tcx.ts';
import { type Attachment, type Direction, SpoofError } from './api.ts';

/** Lowest number. Of the filters that have it, the newest runs first. */
export const CLSACT_PRIORITY = 1;
/** Arbitrary, but equal in every process. */
export const CLSACT_HANDLE = 0xba1;
/** Of the filter that judges while the other one moves to the head. */
export const CLSACT_MOVING_HANDLE = 0xba2;

export const PROGRAM_OF = {
  in: 'spoof_ingress',
  out: 'spoof_egress',
  'pod-end': 'spoof_pod_end',
  redirected: 'spoof_redirected',
} as const;
/** Notes redirections for spoof_redirected. */
export const NOTE_PROGRAM = 'note_peer';
export const HOOK_OF: Readonly<Record<Direction, TcxDirection>> = {
  in: 'ingress',
  out: 'egress',
  'pod-end': 'egress',
  redirected: 'ingress',
};
/** Those of every host side. */
export const DIRECTIONS: readonly Direction[] = ['in', 'out'];
/** Those of the host side of a netkit pair. */
export const NETKIT_DIRECTIONS: readonly Direction[] = [...DIRECTIONS, 'redirected'];

/**
 * Hook of a link at an interface of this kind. On netkit, packets from the pod are judged before
 * programs at `netkit-peer` can redirect them past tcx ingress. Packets to the pod are judged at tcx
 * egress, which runs before `netkit-primary`, where `skb->ifindex` would not be the interface's.
 */
export function linkHook(kind: string, direction: Direction): ChainHook {
  return kind === 'netkit' && direction === 'in' ? 'netkit-peer' : HOOK_OF[direction];
}

export interface PinnedAttachment extends Attachment {
  readonly pinPath: string;
  /** False for tcx. */
  readonly createdQdisc: boolean;
}

export const mapsDir = (pinDir: string): string => path.join(pinDir, 'maps');
export const programsDir = (pinDir: string): string => path.join(pinDir, 'programs');
/** Where `detachAll` of older versions finds it too. */
export const notePin = (pinDir: string): string => path.join(programsDir(pinDir), `${NOTE_PROGRAM}-link`);
export const linksDir = (pinDir: string): string => path.join(pinDir, 'links');

/** Creates the missing ones of the three directories. */
export function createPinDirs(pinDir: string): void {
  if (!existsSync(pinDir)) mkdirSync(pinDir, { mode: 0o700 });
  for (const dir of [mapsDir(pinDir), programsDir(pinDir), linksDir(pinDir)]) {
    if (!existsSync(dir)) mkdirSync(dir, { mode: 0o700 });
  }
}

/** Suffix of a pin that will replace another. */
export const MOVING_SUFFIX = '-moving';

const NAME = /^(link|tc)-(\d+)-(\d+)-(in|out|pod-end|redirected)(-q)?(?:-moving)?$/;

/** Attachment that the name of a pin encodes. Null if the name is not Bailiff's. */
export function parsePinName(dir: string, name: string): PinnedAttachment | null {
  const match = NAME.exec(name);
  if (match === null) return null;
  const [, kind, ifindex, generation, direction, q] = match;
  return {
    ifindex: Number(ifindex),
    generation: Number(generation),
    direction: direction as Direction,
    mode: kind === 'tc' ? 'clsact' : 'tcx',
    pinPath: path.join(dir, name),
    createdQdisc: q !== undefined,
  };
}

export function pinName(attachment: Attachment, createdQdisc = false): string {
  const kind = attachment.mode === 'tcx' ? 'link' : 'tc';
  return `${kind}-${attachment.ifindex}-${attachment.generation}-${attachment.direction}${createdQdisc ? '-q' : ''}`;
}

/**
 * All pinned attachments. Those with a qdisc of Bailiff come last, so that the qdisc is empty when
 * it is removed.
 */
export function readAttachments(pinDir: string): PinnedAttachment[] {
  const dir = linksDir(pinDir);
  return listPins(dir)
    .map((name) => parsePinName(dir, name))
    .filter((attachment) => attachment !== null)
    .sort((a, b) => Number(a.createdQdisc) - Number(b.createdQdisc) || a.ifindex - b.ifindex);
}

/** Adds the filter, or replaces one of this handle. @returns whether it made the qdisc */
export function attachFilter(program: BpfProgram, attachment: Attachment, handle = CLSACT_HANDLE): boolean {
  const place = { priority: CLSACT_PRIORITY, handle, replace: true };
  return program.attachClsact(attachment.ifindex, HOOK_OF[attachment.direction], place).createdQdisc;
}

/** Handle on the filter that a `tc-` pin names. */
export function filterOf(attachment: Attachment, createdQdisc = false, handle = CLSACT_HANDLE): ClsactFilter {
  const { ifindex, direction } = attachment;
  return new ClsactFilter({ ifindex, direction: HOOK_OF[direction], priority: CLSACT_PRIORITY, handle, createdQdisc });
}

/** A process that ended during a move left this filter. */
export const movingFilterOf = (attachment: Attachment): ClsactFilter =>
  filterOf(attachment, false, CLSACT_MOVING_HANDLE);

/**
 * Locks the pin directory, so that this process alone writes with it until it ends or closes the
 * returned descriptor. The lock is on the directory itself, because a bpffs holds no files. Errors:
 * ERR_SPOOF_IN_USE, ERR_SPOOF_BPFFS.
 */
export function lockPins(pinDir: string): number {
  requireBpffs(pinDir);
  createPinDirs(pinDir);
  const fd = tryLock(pinDir);
  if (fd === null) throw new SpoofError('ERR_SPOOF_IN_USE', `another collector guards with ${pinDir}`, { pinDir });
  return fd;
}

export function requireBpffs(pinDir: string): void {
  const place = existsSync(pinDir) ? pinDir : path.dirname(pinDir);
  if (!existsSync(place) || !isBpffs(place))
    throw new SpoofError('ERR_SPOOF_BPFFS', `${pinDir} is not on a bpffs`, { pinDir });
}

/**
 * Detaches programs and reads where they are attached. Needs only a pin directory: no bus,
 * configuration, object file or running collector.
 *
 * Invariants: a link is detached before it is unpinned, so that it ends even if another process
 * holds it open. A failure on one object is reported and the others are still removed. Run it in
 * the network namespace of the interfaces.
 */
import { existsSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { BpfLink } from '../core/bpf-link.ts';
import { BpfProgram } from '../core/bpf-program.ts';
import { BpfError } from '../core/errors.ts';
import { getLink } from '../core/netlink.ts';
import { isPinGone, listPins } from '../core/pins.ts';
import { queryTcx, queryTcxIfAny } from '../core/tcx.ts';
import type { DetachReport, Place, PlacedAttachment } from './api.ts';
import {
  filterOf,
  HOOK_OF,
  linksDir,
  MOVING_SUFFIX,
  mapsDir,
  movingFilterOf,
  type PinnedAttachment,
  programsDir,
  readAttachments,
} from './pins.ts';

/** True if an error means that the interface is gone. */
export function isInterfaceGone(error: unknown): boolean {
  return error instanceof BpfError && ['ENODEV', 'ENOLINK'].includes(error.errnoName);
}

/**
 * True if nothing is left to detach: the interface, its qdisc (EINVAL) or its filter (ENOENT) is
 * gone.
 */
function isDetached(error: unknown): boolean {
  return isInterfaceGone(error) || (error instanceof BpfError && ['ENOENT', 'EINVAL'].includes(error.errnoName));
}

function detachLink(pinPath: string): void {
  using link = BpfLink.openPinned(pinPath);
  try {
    link.detach();
  } catch (error) {
    // The kernel detached the program when the interface was deleted.
    if (!isInterfaceGone(error)) throw error;
  }
}

/** Detaches one attachment and removes its pin. */
export function detachPinned(pinned: PinnedAttachment): void {
  if (pinned.mode === 'clsact') {
    try {
      movingFilterOf(pinned).detach();
      filterOf(pinned, pinned.createdQdisc).detach();
    } catch (error) {
      if (!isDetached(error)) throw error;
    }
  } else {
    detachLink(pinned.pinPath);
  }
  unlinkSync(pinned.pinPath);
}

/** Completes interrupted moves to the head: removes the old link and renames the new one. */
export function finishMoves(pinDir: string): void {
  for (const { pinPath } of readAttachments(pinDir)) {
    if (!pinPath.endsWith(MOVING_SUFFIX)) continue;
    const final = pinPath.slice(0, -MOVING_SUFFIX.length);
    if (existsSync(final)) detachLink(final);
    renameSync(pinPath, final);
  }
}

function placeOfLink(pinned: PinnedAttachment): Place {
  using link = BpfLink.openPinned(pinned.pinPath);
  const { ifindex, linkId, hook } = link.info();
  if (ifindex === 0 || hook === null) return getLink(pinned.ifindex) === null ? 'interface-gone' : 'missing';
  if (pinned.direction === 'pod-end') return 'head';
  const chain = queryTcx(pinned.ifindex, hook).programs;
  if (chain[0]?.linkId === linkId) return 'head';
  return chain.some((member) => member.linkId === linkId) ? 'behind' : 'missing';
}

function placeOfFilter(pinned: PinnedAttachment): Place {
  if (getLink(pinned.ifindex) === null) return 'interface-gone';
  using program = BpfProgram.openPinned(pinned.pinPath);
  const state = filterOf(pinned).state();
  if (state?.programId !== program.info.id) return 'missing';
  return state.isFirst && !isBehindTcx(pinned) ? 'head' : 'behind';
}

/** The kernel runs tcx programs before the filters of a qdisc. */
const isBehindTcx = ({ ifindex, direction }: PinnedAttachment): boolean =>
  queryTcxIfAny(ifindex, HOOK_OF[direction]).programs.length > 0;

/** Position of one attachment. */
export function placeOf(pinned: PinnedAttachment): Place {
  try {
    return pinned.mode === 'tcx' ? placeOfLink(pinned) : placeOfFilter(pinned);
  } catch (error) {
    // The interface can disappear between two calls.
    if (isInterfaceGone(error)) return 'interface-gone';
    throw error;
  }
}

/** Every pinned attachment with its position, as `status` shows it without a collector. */
export function verifyAttachments(pinDir: string): PlacedAttachment[] {
  return readAttachments(pinDir).map((pinned) => {
    const { ifindex, generation, direction, mode } = pinned;
    return { ifindex, generation, direction, mode, place: placeOf(pinned) };
  });
}

function removeUnlessMounted(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
}

/**
 * Removes links, filters, programs, maps and directories under `pinDir`. Missing objects are not
 * errors. The directory itself stays if the bpffs is mounted there, or if it holds an entry named
 * in `keep`.
 */
export function detachAll(pinDir: string, keep: readonly string[] = []): DetachReport {
  const failures: { path: string; error: unknown }[] = [];
  const attempt = (target: string, remove: () => void): number => {
    try {
      remove();
      return 1;
    } catch (error) {
      if (!isPinGone(error)) failures.push({ path: target, error });
      return 0;
    }
  };
  const removePins = (dir: string): number =>
    listPins(dir)
      .map((name) => path.join(dir, name))
      .map((file) => attempt(file, () => unlinkSync(file)))
      .reduce((sum, removed) => sum + removed, 0);

  let links = 0;
  for (const pinned of readAttachments(pinDir)) links += attempt(pinned.pinPath, () => detachPinned(pinned));
  const programs = removePins(programsDir(pinDir));
  const maps = removePins(mapsDir(pinDir));
  for (const dir of [linksDir(pinDir), programsDir(pinDir), mapsDir(pinDir)]) {
    if (existsSync(dir)) attempt(dir, () => rmdirSync(dir));
  }
  const isKept = listPins(pinDir).some((name) => keep.includes(name));
  if (existsSync(pinDir) && !isKept) attempt(pinDir, () => removeUnlessMounted(pinDir));
  return { links, programs, maps, failures };
}

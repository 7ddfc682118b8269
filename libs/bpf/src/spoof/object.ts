/**
 * Loads, pins and attaches the packet programs of this node, and adopts them after a restart.
 *
 * Data path: collector → here → bpf-object.ts, bpf-link.ts, clsact.ts. Invariants: an attached
 * interface stays guarded through close, crash and restart. Opening loads the object over the
 * pinned maps and then replaces each link's program atomically. Maps are reused only if their ABI
 * and shape match; otherwise ERR_SPOOF_ABI, and nothing changes. Run it in the network namespace of
 * the interfaces. Limits: maxInterfaces and ringSizeBytes are fixed when the maps are created.
 */
import assert from 'node:assert/strict';
import { existsSync, renameSync, unlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpfLink } from '../core/bpf-link.ts';
import type { BpfProgram } from '../core/bpf-program.ts';
import { BpfError } from '../core/errors.ts';
import { type Probe, probeTcx } from '../core/feature-probe.ts';
import { encodeU32 } from '../core/integers.ts';
import { getLink } from '../core/netlink.ts';
import { RingReader } from '../core/ring-reader.ts';
import { boottimeNs } from '../core/system.ts';
import {
  type AttachMode,
  type Attachment,
  type Direction,
  type OpenSpoofOptions,
  type PlacedAttachment,
  type PodEndPins,
  type SampleReader,
  SpoofError,
  type SpoofMaps,
} from './api.ts';
import { type DecodedBatch, decodeBatch } from './decode.ts';
import { detachPinned, finishMoves, isInterfaceGone, placeOf, verifyAttachments } from './detach.ts';
import { encodeMeta, type IfaceKey } from './encode.ts';
import { initialMeta } from './initial-meta.ts';
import { AbiValues } from './layout.gen.ts';
import { closeLoaded, type Loaded, load } from './load.ts';
import { spoofMaps } from './maps.ts';
import { attachNotes, hasNetkit, noteRedirections } from './netkit.ts';
import { loadByOffload } from './offload.ts';
import { readPinnedAbi } from './pinned-maps.ts';
import {
  attachFilter,
  CLSACT_MOVING_HANDLE,
  createPinDirs,
  DIRECTIONS,
  filterOf,
  linkHook,
  linksDir,
  MOVING_SUFFIX,
  mapsDir,
  movingFilterOf,
  NETKIT_DIRECTIONS,
  notePin,
  type PinnedAttachment,
  PROGRAM_OF,
  pinName,
  programsDir,
  readAttachments,
  requireBpffs,
} from './pins.ts';

/** In force from the first open until user space sets others. */
export const DEFAULT_SETTINGS = { sampleBurst: 8, samplesPerSecond: 10, unknownMode: 'audit' } as const;

/**
 * Path of the compiled programs: BAILIFF_SPOOF_OBJECT (bundled apps) or this package's build
 * directory.
 */
export function spoofObjectPath(): string {
  return process.env['BAILIFF_SPOOF_OBJECT'] || fileURLToPath(new URL('../../build/bpf/spoof.bpf.o', import.meta.url));
}

function chooseMode(wanted: AttachMode | 'auto'): AttachMode {
  if (wanted === 'clsact') return 'clsact';
  const tcx = probeTcx();
  if (tcx.available) return 'tcx';
  if (wanted === 'auto') return 'clsact';
  throw new SpoofError('ERR_SPOOF_MODE', 'tcx was requested and this kernel has none', { errnoName: tcx.errnoName });
}

function replacePin(program: BpfProgram, pin: string): void {
  if (existsSync(pin)) unlinkSync(pin);
  program.pin(pin);
}

const kindOf = (ifindex: number): string => getLink(ifindex)?.kind ?? '';

/** Loading is the probe, as for `offload`. */
function podEndProbe(available: boolean, mode: AttachMode): Probe {
  const hint =
    mode === 'clsact'
      ? 'a pod with CAP_NET_ADMIN can send frames past the guard by an ifb device: it needs Linux 6.6 (tcx). Where no workload needs ifb, forbid the module: `install ifb /bin/false` in /etc/modprobe.d'
      : 'a pod with CAP_NET_ADMIN can send frames past the guard by an ifb device: it needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF)';
  return { feature: 'guard-bypass', available, errnoName: null, hint: available ? null : hint };
}

/**
 * Loads the programs or adopts the pinned ones. Errors: SpoofError, BpfError (BPF_LOAD with the
 * verifier log).
 */
export function openSpoofObject(options: OpenSpoofOptions): SpoofObject {
  assert.equal(endianness(), 'LE', 'layouts are written for little-endian machines');
  const { pinDir } = options;
  const objectPath = options.objectPath ?? spoofObjectPath();
  if (!existsSync(objectPath)) {
    throw new SpoofError('ERR_SPOOF_OBJECT', `${objectPath} is missing: run the build`, { objectPath });
  }
  requireBpffs(pinDir);
  const mode = chooseMode(options.mode ?? 'auto');
  const pinnedAbi = readPinnedAbi(pinDir);
  if (pinnedAbi !== 0 && pinnedAbi !== AbiValues.BAILIFF_ABI) {
    const data = { pinned: pinnedAbi, wanted: AbiValues.BAILIFF_ABI };
    throw new SpoofError('ERR_SPOOF_ABI', `pinned maps are of ABI ${data.pinned}, not ${data.wanted}`, data);
  }
  createPinDirs(pinDir);
  return new SpoofObject(objectPath, options, mode, pinnedAbi !== 0);
}

export class SpoofObject implements Disposable {
  readonly maps: SpoofMaps;
  readonly mode: AttachMode;
  /** True if pinned maps were found and adopted. */
  readonly reused: boolean;
  /** Number of links whose program was replaced at open. */
  readonly updatedLinks: number;
  readonly pinDir: string;
  /** Whether this kernel exposes the checksum fields that the vector checksum-offload needs. */
  readonly offload: Probe;
  /** Whether this kernel can run a program at the pod's end, which the vector guard-bypass needs. */
  readonly podEnd: Probe;
  /** Whether frames that a pod redirects past its guard on netkit are dropped. Null: no netkit here. */
  readonly redirected: Probe | null;
  readonly #image: Buffer;
  readonly #options: OpenSpoofOptions;
  readonly #loaded: Loaded;
  #closed = false;

  constructor(objectPath: string, options: OpenSpoofOptions, mode: AttachMode, reused: boolean) {
    this.#options = options;
    this.pinDir = options.pinDir;
    this.mode = mode;
    this.reused = reused;
    finishMoves(this.pinDir);
    const { loaded, image, offload } = loadByOffload(objectPath, (one) => load(one, options, mode));
    this.#loaded = loaded;
    this.#image = image;
    this.offload = offload;
    this.podEnd = podEndProbe(loaded.programs['pod-end'] !== null, mode);
    this.maps = spoofMaps(this.#loaded.raw);
    if (!reused) {
      this.maps.setSettings(DEFAULT_SETTINGS);
      this.#loaded.raw.meta.set(encodeU32(0), encodeMeta(initialMeta(boottimeNs())));
    }
    // A collector without a fast-path cache may have written records since. Rebuild the cache
    // before a program reads it.
    if (reused) this.maps.ifaces.rebuildFastPathCache();
    this.redirected = hasNetkit() ? noteRedirections(loaded.note, this.pinDir, options.attaches ?? true) : null;
    this.updatedLinks = readAttachments(this.pinDir).filter((pinned) => this.#update(pinned)).length;
    this.#pinPrograms();
  }

  /**
   * Attaches the program that finds redirections on netkit again, if its pin is gone. False: it was there, or
   * the kernel cannot run it.
   */
  restoreNotes(): boolean {
    const { note } = this.#loaded;
    if (note === null || !this.redirected?.available || existsSync(notePin(this.pinDir))) return false;
    attachNotes(note, this.pinDir);
    return true;
  }

  /** Programs of the host side of an interface of this kind. */
  directionsOf(kind: string): readonly Direction[] {
    return kind === 'netkit' && this.redirected?.available ? NETKIT_DIRECTIONS : DIRECTIONS;
  }

  #pinPrograms(): void {
    for (const [direction, program] of Object.entries(this.#loaded.programs)) {
      const pin = path.join(programsDir(this.pinDir), PROGRAM_OF[direction as Direction]);
      if (program) replacePin(program, pin);
      else if (existsSync(pin)) unlinkSync(pin);
    }
  }

  /**
   * Pins maps and programs again after `detachAll` removed their pins. Nothing is attached: call
   * `restoreNotes`, and `attach` for each interface.
   */
  repin(): void {
    createPinDirs(this.pinDir);
    for (const [name, map] of Object.entries(this.#loaded.raw)) {
      const pin = path.join(mapsDir(this.pinDir), name);
      if (!existsSync(pin)) map?.pin(pin);
    }
    this.#pinPrograms();
  }

  /**
   * Replaces an older program by the one just loaded. False if the interface, the hook or the filter is gone:
   * another link may have the index of the interface.
   */
  #update(pinned: PinnedAttachment): boolean {
    const program = this.#loaded.programs[pinned.direction];
    if (program === null) return false;
    try {
      if (pinned.mode === 'clsact') {
        if (filterOf(pinned).programId() === null) return false;
        attachFilter(program, pinned);
        replacePin(program, pinned.pinPath);
        movingFilterOf(pinned).detach();
      } else {
        using link = BpfLink.openPinned(pinned.pinPath);
        link.update(program);
      }
      return true;
    } catch (error) {
      if (isInterfaceGone(error)) return false;
      if (!(error instanceof BpfError) || error.errnoName !== 'EOPNOTSUPP') throw error;
      // The qdisc became one without an egress side.
      unlinkSync(pinned.pinPath);
      return false;
    }
  }

  #attachAt(attachment: Attachment, kind: string): void {
    const { ifindex, mode, direction } = attachment;
    const program = this.#loaded.programs[direction];
    assert(program !== null, `this kernel cannot run the program of ${direction}`);
    const hook = linkHook(kind, direction);
    try {
      if (mode === 'clsact' && hook !== 'netkit-peer' && direction !== 'redirected') {
        const name = pinName(attachment, attachFilter(program, attachment));
        replacePin(program, path.join(linksDir(this.pinDir), name));
        return;
      }
      using link = program.attachTcx(ifindex, { direction: hook, position: 'head' });
      link.pin(path.join(linksDir(this.pinDir), pinName({ ...attachment, mode: 'tcx' })));
    } catch (error) {
      if (!(error instanceof BpfError) || error.errnoName !== 'ENODEV') throw error;
      throw new SpoofError('ERR_SPOOF_INTERFACE', `no interface ${ifindex}`, { ifindex }, error);
    }
  }

  #pinned(key: IfaceKey, direction?: Direction): PinnedAttachment[] {
    return readAttachments(this.pinDir).filter(
      (pinned) =>
        pinned.ifindex === key.ifindex &&
        pinned.generation === key.generation &&
        (direction === undefined || pinned.direction === direction),
    );
  }

  /**
   * Attaches the programs of the host side at the head of their chains and pins the links. Write the
   * record and the counters entry first: without a record, `unknownMode` decides. Idempotent for the
   * same ifindex and generation. cni/src attaches the program of the pod's end.
   */
  attach(key: IfaceKey): void {
    const { ifindex, generation } = key;
    const kind = kindOf(ifindex);
    for (const direction of this.directionsOf(kind)) {
      const [present] = this.#pinned(key, direction);
      if (present !== undefined) {
        const place = placeOf(present);
        if (place === 'head' || place === 'behind') continue;
        detachPinned(present);
      }
      this.#attachAt({ ifindex, generation, direction, mode: this.mode }, kind);
    }
  }

  /** Detaches and unpins the programs of this interface. False if there were none. */
  detach(key: IfaceKey): boolean {
    const pinned = this.#pinned(key);
    for (const one of pinned) detachPinned(one);
    return pinned.length > 0;
  }

  /**
   * Where the program of the pod's end is pinned, and where cni/src pins its link. Null: this kernel
   * cannot run it.
   */
  podEndPins(key: IfaceKey): PodEndPins | null {
    if (this.#loaded.programs['pod-end'] === null) return null;
    return {
      program: path.join(programsDir(this.pinDir), PROGRAM_OF['pod-end']),
      link: path.join(linksDir(this.pinDir), pinName({ ...key, direction: 'pod-end', mode: 'tcx' })),
    };
  }

  /** Renames the attachments to another generation, without a gap. The caller writes the record. */
  rekey(from: IfaceKey, generation: number): void {
    for (const pinned of this.#pinned(from)) {
      const name = pinName({ ...pinned, generation }, pinned.createdQdisc);
      renameSync(pinned.pinPath, path.join(linksDir(this.pinDir), name));
    }
  }

  /** Attachments by the names of the pins. */
  attached(): Attachment[] {
    return readAttachments(this.pinDir).map(({ ifindex, generation, direction, mode }) => {
      return { ifindex, generation, direction, mode };
    });
  }

  /** Attachments by the names of the pins, compared with the kernel. */
  verify(): PlacedAttachment[] {
    return verifyAttachments(this.pinDir);
  }

  /**
   * Moves a filter before the others, or replaces it by a tcx program where that is the mode now.
   * False: a tcx program runs before all filters.
   */
  #moveFilter(pinned: PinnedAttachment): boolean {
    const program = this.#loaded.programs[pinned.direction];
    assert(program !== null, `this kernel cannot run the program of ${pinned.direction}`);
    if (this.mode === 'tcx') {
      this.#attachAt({ ...pinned, mode: 'tcx' }, kindOf(pinned.ifindex));
      detachPinned(pinned);
      return true;
    }
    if (filterOf(pinned).state()?.isFirst !== true) {
      // The newest filter of a priority runs first.
      attachFilter(program, pinned, CLSACT_MOVING_HANDLE);
      filterOf(pinned).detach();
      attachFilter(program, pinned);
      replacePin(program, pinned.pinPath);
      movingFilterOf(pinned).detach();
    }
    return placeOf(pinned) === 'head';
  }

  /**
   * Moves the program back to the head of its chain, without a gap. False if the interface is gone,
   * or if a filter stays behind tcx programs.
   */
  reattach(attachment: Attachment): boolean {
    const { direction } = attachment;
    assert(direction !== 'pod-end', 'the program of a pod end is attached in its namespace, by cni/src');
    const [old] = this.#pinned(attachment, attachment.direction);
    const place = old === undefined ? 'missing' : placeOf(old);
    if (place === 'head') return true;
    if (place === 'interface-gone') return false;
    if (place === 'missing' || old === undefined) {
      if (old !== undefined) detachPinned(old);
      this.#attachAt(attachment, kindOf(attachment.ifindex));
      return true;
    }
    if (old.mode === 'clsact') return this.#moveFilter(old);
    // A chain holds a program once, so a fresh copy attaches at the head before the old link is
    // detached. In that moment both see each packet, and no packet passes unseen. The copy is
    // pinned under its own name first, so that after a crash the interface stays guarded and
    // finishMoves() completes the move.
    const copy = load(this.#image, this.#options, this.mode);
    try {
      const program = copy.programs[direction];
      assert(program !== null, `this kernel cannot run the program of ${direction}`);
      const hook = linkHook(kindOf(attachment.ifindex), direction);
      using link = program.attachTcx(attachment.ifindex, { direction: hook, position: 'head' });
      link.pin(old.pinPath + MOVING_SUFFIX);
      finishMoves(this.pinDir);
    } finally {
      closeLoaded(copy);
    }
    return true;
  }

  /**
   * Delivers samples from the ring, at most one batch per turn of the event loop. Close the reader
   * before the object. If the callback throws, the process ends as with any uncaught error.
   */
  openSamples(onBatch: (batch: DecodedBatch) => void): SampleReader {
    return new RingReader(this.#loaded.raw.samples, { onBatch: (batch) => onBatch(decodeBatch(batch)) });
  }

  /** Closes descriptors only. Programs, maps and links stay pinned and in force. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeLoaded(this.#loaded);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

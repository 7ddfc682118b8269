/**
 * The native addon: the same names in the same order as native/binding exports them. Every
 * argument is given, `null` if unset. Defaults, names for numbers and validation are in the classes
 * of core/, which the rest of Bailiff uses.
 *
 * All calls are synchronous system calls. A wrong argument type is a TypeError; a refusal of the
 * kernel is a BpfError (errors.ts). `close` may be repeated; any other call after it is a BpfError
 * with code BPF_CLOSED.
 * Any number of worker threads may load the addon; an object belongs to the thread that created it.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { BpfError, NativeMissingError } from './errors.ts';

export interface NativeMapInfo {
  readonly name: string;
  /** Kernel-wide id. */
  readonly id: number;
  /** BPF_MAP_TYPE_*; see MAP_TYPE in bpf-map.ts. */
  readonly type: number;
  readonly keySizeBytes: number;
  readonly valueSizeBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Size of one look-up: for per-CPU maps, possible CPUs × the value size rounded up to 8. */
  readonly valueBlockBytes: number;
}

export interface NativeMap {
  info(): NativeMapInfo;
  get(key: Uint8Array): Buffer | null;
  getInto(key: Uint8Array, value: Uint8Array): boolean;
  set(key: Uint8Array, value: Uint8Array, flags: number): void;
  delete(key: Uint8Array): boolean;
  entries(): { readonly count: number; readonly keys: Buffer; readonly values: Buffer };
  count(): number;
  pin(path: string): void;
  close(): void;
}

export interface NativeProgramInfo {
  readonly name: string;
  readonly id: number;
  /** BPF_PROG_TYPE_*. */
  readonly type: number;
  /** 16 hex digits over the instructions: equal programs have equal tags. */
  readonly tag: string;
  /** After the verifier. */
  readonly instructions: number;
  /** Processed by the verifier; 0 below Linux 5.16. */
  readonly verifiedInstructions: number;
  /** While kernel.bpf_stats_enabled is 1: number of runs, and their nanoseconds in total. */
  readonly runs: number;
  readonly runNs: number;
}

export interface NativeTestRun {
  readonly retval: number;
  readonly durationNs: number;
  readonly dataOut: Buffer;
  readonly contextOut: Buffer | null;
}

export interface NativeClsactState {
  readonly programId: number;
  /** No other filter of this side runs before it. */
  readonly isFirst: boolean;
}

export interface NativeClsactFilter {
  readonly priority: number;
  readonly handle: number;
  readonly programId: number;
  readonly createdQdisc: boolean;
}

export interface NativeProgram {
  info(): NativeProgramInfo;
  testRun(data: Uint8Array, context: Uint8Array | null, repeat: number, dataOutBytes: number): NativeTestRun;
  attachTcx(
    ifindex: number,
    attachType: number,
    flags: number,
    relativeId: number,
    expectedRevision: bigint,
  ): NativeLink;
  attachClsact(
    ifindex: number,
    ingress: boolean,
    priority: number,
    handle: number,
    replace: boolean,
  ): NativeClsactFilter;
  attach(): NativeLink;
  pin(path: string): void;
  close(): void;
}

export interface NativeLinkInfo {
  /** BPF_LINK_TYPE_*; 11 is tcx, 13 netkit. */
  readonly type: number;
  readonly linkId: number;
  readonly programId: number;
  /**
   * 0 if the interface is gone or the link is neither tcx nor netkit. For `netkit-peer`, the index of
   * the other end in its own namespace.
   */
  readonly ifindex: number;
  readonly attachType: number;
}

export interface NativeLink {
  info(): NativeLinkInfo;
  programTag(): string;
  update(newProgram: NativeProgram, oldProgram: NativeProgram | null): void;
  detach(): void;
  pin(path: string): void;
  close(): void;
}

export interface NativeObjectMap {
  readonly name: string;
  readonly type: number;
  readonly keySizeBytes: number;
  readonly valueSizeBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface NativeObjectProgram {
  readonly name: string;
  readonly section: string;
  readonly type: number;
  readonly attachType: number;
  readonly instructionCount: number;
}

export interface NativeObjectVariable {
  readonly name: string;
  readonly section: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface NativeObject {
  maps(): NativeObjectMap[];
  programs(): NativeObjectProgram[];
  variables(): NativeObjectVariable[];
  setMapMaxEntries(name: string, maxEntries: number): void;
  setMapPinPath(name: string, path: string): void;
  setMapAutocreate(name: string, autocreate: boolean): void;
  setProgramAutoload(name: string, autoload: boolean): void;
  reuseMap(name: string, path: string): void;
  setInitialValue(section: string, offsetBytes: number, value: Uint8Array): void;
  load(): void;
  map(name: string): NativeMap;
  program(name: string): NativeProgram;
  close(): void;
}

export interface NativeRingReader {
  take(): { readonly batch: Buffer; readonly count: number } | null;
  close(): void;
}

export interface NativeLinkMonitor {
  takeQueued(): { readonly links: LinkRecord[]; readonly overrun: boolean };
  close(): void;
}

/** An address of an interface. */
export interface AddressRecord {
  readonly ifindex: number;
  readonly address: string;
  readonly prefixLength: number;
}

/** An interface of RTM_NEWLINK; `null` and '' for missing attributes. */
export interface LinkRecord {
  /** RTM_DELLINK: the interface is gone from this namespace. */
  readonly removed: boolean;
  readonly ifindex: number;
  readonly name: string;
  /** `veth`, `bridge`, …; '' for hardware and loopback. */
  readonly kind: string;
  /** `aa:bb:cc:dd:ee:ff`. */
  readonly mac: string;
  /** IFF_*. */
  readonly flags: number;
  readonly mtu: number;
  /** IF_OPER_*; 6 is up. */
  readonly operstate: number;
  /** ifindex of the bridge or bond. */
  readonly master: number | null;
  /** The other end of a veth or netkit pair, an index in its own namespace. */
  readonly peerIfindex: number | null;
  /** Namespace of the other end; null if it is this one, or unknown yet. */
  readonly linkNetnsid: number | null;
  /** On removal: the namespace that it moved to. */
  readonly newNetnsid: number | null;
  /** Cumulative, exact below 2^53. */
  readonly rxPackets: number | null;
  readonly txPackets: number | null;
  /** An XDP program is attached. */
  readonly xdp: boolean;
  /** Of kind `netkit`; null for other kinds. */
  readonly netkit: NetkitInfo | null;
}

export interface NetkitInfo {
  /** Programs of both ends are attached at this one. */
  readonly primary: boolean;
  /** Packets from the other end are dropped while it has no program (policy `blackhole`). */
  readonly peerDrops: boolean;
}

export interface Native {
  setErrorFactory(
    factory: (operation: string, errno: number, detail: string, verifierLog: string | null) => Error,
  ): void;
  openObject(source: string | Uint8Array, name: string | null): NativeObject;
  createMap(
    type: number,
    name: string,
    keySizeBytes: number,
    valueSizeBytes: number,
    maxEntries: number,
    flags: number,
  ): NativeMap;
  openPinnedMap(path: string): NativeMap;
  openPinnedProgram(path: string): NativeProgram;
  openPinnedLink(path: string): NativeLink;
  openProgramById(id: number): NativeProgram;
  openRing(
    map: NativeMap,
    onBatch: (batch: Buffer, count: number) => void,
    maxRecords: number,
    maxBytes: number,
  ): NativeRingReader;
  openLinkMonitor(
    onLinks: (links: LinkRecord[]) => void,
    onOverrun: () => void,
    receiveBufferBytes: number,
  ): NativeLinkMonitor;
  queryTcx(
    ifindex: number,
    attachType: number,
  ): { readonly revision: bigint; readonly programs: { readonly programId: number; readonly linkId: number }[] };
  queryClsact(ifindex: number, ingress: boolean, priority: number, handle: number): NativeClsactState | null;
  detachClsact(ifindex: number, ingress: boolean, priority: number, handle: number, removeQdisc: boolean): boolean;
  dumpLinks(targetNetnsid: number | null): LinkRecord[];
  dumpLinksOf(kind: string): LinkRecord[];
  firstLinks(targetNetnsid: number | null, atMost: number): LinkRecord[];
  getLink(ifindex: number, targetNetnsid: number | null): LinkRecord | null;
  deleteLink(ifindex: number): void;
  dumpAddresses(): AddressRecord[];
  dumpLocalNetworks(): string[];
  getNsid(pid: number): number | null;
  probeProgramType(type: number): number;
  probeMapType(type: number): number;
  probeHelper(programType: number, helper: number): number;
  probeAtomics(): number;
  probeTcx(): number;
  probeLsm(hook: string): number;
  lsmHooks(): string[];
  hasKernelFunction(name: string): boolean;
  possibleCpus(): number;
  boottimeNs(): bigint;
  cgroupId(path: string): bigint;
  mountBpffs(path: string): void;
  isBpffs(path: string): boolean;
  releaseFilePages(): number;
  isGroOn(interfaceName: string): boolean;
  tryLock(fd: number): boolean;
  peerCredentials(fd: number): { readonly uid: number; readonly pid: number };
}

let loaded: Native | undefined;

/** Path of the addon: BAILIFF_NATIVE (bundled apps), otherwise this package's build directory. */
export function nativePath(): string {
  return (
    process.env['BAILIFF_NATIVE'] || fileURLToPath(new URL('../../build/Release/bailiff_bpf.node', import.meta.url))
  );
}

/**
 * The addon, loaded by the first call. Throws NativeMissingError (NATIVE_MISSING) if it cannot be
 * loaded.
 */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  const path = nativePath();
  let addon: Native;
  try {
    addon = createRequire(import.meta.url)(path) as Native;
  } catch (error) {
    throw new NativeMissingError(path, error);
  }
  addon.setErrorFactory(
    (operation, errno, detail, verifierLog) => new BpfError({ operation, errno, detail, verifierLog }),
  );
  loaded = addon;
  return addon;
}

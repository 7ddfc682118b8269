/**
 * Loads, pins and attaches the LSM programs of this node, and adopts them after a restart.
 *
 *   <pinDir>/runtime/maps/<map>, <pinDir>/runtime/links/<program>; the ring at `samplesPin`
 *
 * Data path: collector → here → bpf-object.ts, bpf-link.ts. Invariants: loading the programs is the
 * feature probe. A missing hook is skipped and reported; after any other failure the pinned
 * programs stay in force. The kernel cannot replace the program of an LSM link. A link that already
 * runs the same program is kept. Otherwise a new link attaches beside the old one and takes its
 * name, so that no operation is missed. While both are attached, the newer program runs first: its
 * refusals are counted once, an audit is counted by both, and a chain of executed programs holds
 * one entry twice. A shared flag could lose a count instead, which is worse.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import path from 'node:path';
import { BpfLink } from '../core/bpf-link.ts';
import { BpfMap } from '../core/bpf-map.ts';
import { BpfObject } from '../core/bpf-object.ts';
import type { BpfProgram } from '../core/bpf-program.ts';
import { BpfError } from '../core/errors.ts';
import { hasKernelFunction, lsmHooks, probeLsm } from '../core/feature-probe.ts';
import { encodeU32 } from '../core/integers.ts';
import { isPinGone, listPins } from '../core/pins.ts';
import { isBpffs, possibleCpus } from '../core/system.ts';
import type { OpenRuntimeOptions, RuntimeProgram } from './api.ts';
import { setCacheLocks } from './cache-control.ts';
import { findCacheLocks } from './cache-locks.ts';
import { decodeRuntimeSettings, type RuntimeSettings } from './encode.ts';
import { RuntimeError } from './errors.ts';
import { RuntimeAbiValues } from './layout.gen.ts';
import { RUNTIME_MAP_NAMES, type RuntimeMapName, type RuntimeMaps, type RuntimeRawMaps, runtimeMaps } from './maps.ts';
import { defaultSamplesPin, linksDir, mapsDir, runtimeDir, runtimeObjectPath } from './places.ts';

/** In force from the first open until user space sets others. */
export const DEFAULT_RUNTIME_SAMPLES = { sampleBurst: 8, samplesPerSecond: 10 } as const;
const RING_SIZE_BYTES = 1 << 20;
const HASH_KEY_BYTES = 16;
/** Suffix of a new link that will replace one with an older program. */
const NEW_SUFFIX = '-new';
const LSM_SECTION = 'lsm/';
const FUNCTION_SECTION = 'fentry/';
/** Program that notices dentries which reuse the address of another. */
const NEW_DENTRIES = 'handle_d_instantiate';
/** Tasks that this kernel allows, by its memory. Not namespaced. */
const THREADS_MAX = '/proc/sys/kernel/threads-max';

interface Loaded {
  readonly raw: RuntimeRawMaps;
  readonly programs: ReadonlyMap<string, BpfProgram>;
  readonly list: readonly { readonly name: string; readonly section: string; readonly missing: string | null }[];
}

function refuseOtherShape(object: BpfObject, pins: ReadonlyMap<string, string>): void {
  for (const { name, ...wanted } of object.maps()) {
    const pin = pins.get(name);
    if (pin === undefined || !existsSync(pin)) continue;
    using map = BpfMap.openPinned(pin);
    const { type, keySizeBytes, valueSizeBytes } = map.info;
    if (type !== wanted.type || keySizeBytes !== wanted.keySizeBytes || valueSizeBytes !== wanted.valueSizeBytes)
      throw new RuntimeError('ERR_RUNTIME_ABI', `pinned map ${name} has another shape`, { map: name, pin });
    if (map.info.maxEntries > 0) object.setMapMaxEntries(name, map.info.maxEntries);
  }
}

/** Map → path of its pin. */
function pinsOf({ pinDir, samplesPin }: OpenRuntimeOptions): Map<string, string> {
  const pins = new Map<string, string>(RUNTIME_MAP_NAMES.map((name) => [name, path.join(mapsDir(pinDir), name)]));
  return pins.set('samples', samplesPin ?? defaultSamplesPin(pinDir));
}

/**
 * Sets the sizes of new maps; pinned ones keep theirs. The slots of working memory behind the
 * spares belong to the CPUs.
 */
function sizeMaps(object: BpfObject, { ringSizeBytes, maxTasks }: OpenRuntimeOptions): void {
  const sizes = new Map(object.maps().map(({ name, maxEntries }) => [name, maxEntries]));
  const sizeOf = (name: RuntimeMapName): number => sizes.get(name) as number;
  object.setMapMaxEntries('samples', ringSizeBytes ?? RING_SIZE_BYTES);
  const allowed = maxTasks ?? Number(readFileSync(THREADS_MAX, 'utf8'));
  object.setMapMaxEntries('rt_tasks', Math.min(allowed, sizeOf('rt_tasks')));
  object.setMapMaxEntries('rt_scratch', sizeOf('rt_scratch') - 1 + possibleCpus());
}

function prepare(image: Buffer, options: OpenRuntimeOptions): BpfObject {
  const object = BpfObject.open(image, 'runtime');
  try {
    const pins = pinsOf(options);
    object.setMapAutocreate('.bss', false);
    sizeMaps(object, options);
    refuseOtherShape(object, pins);
    const own = new Set(object.maps().map(({ name }) => name));
    for (const [name, pin] of pins) if (own.has(name)) object.setMapPinPath(name, pin);
    return object;
  } catch (error) {
    object.close();
    throw error;
  }
}

/**
 * Program → why this kernel cannot attach it. Asked only after a failed load, because reading the
 * kernel's BTF takes tens of milliseconds.
 */
function missingHooks(image: Buffer): Map<string, string> {
  using object = BpfObject.open(image, 'runtime');
  const hooks = new Set(lsmHooks());
  const missing = new Map<string, string>();
  for (const { name, section } of object.programs()) {
    const hook = section.slice(LSM_SECTION.length);
    if (section.startsWith(LSM_SECTION) && !hooks.has(hook)) missing.set(name, `the kernel has no hook ${hook}`);
    const entered = section.slice(FUNCTION_SECTION.length);
    if (section.startsWith(FUNCTION_SECTION) && !hasKernelFunction(entered))
      missing.set(name, `the kernel has no function ${entered}`);
  }
  return missing;
}

function loadWithout(image: Buffer, options: OpenRuntimeOptions, missing: ReadonlyMap<string, string>): Loaded {
  using object = prepare(image, options);
  for (const name of missing.keys()) object.setProgramAutoload(name, false);
  object.load();
  const all = object.programs();
  const present = all.filter(({ name }) => !missing.has(name));
  const own = new Set(object.maps().map(({ name }) => name));
  const pins = pinsOf(options);
  // Programs of an earlier release lack the newest maps.
  const open = (name: RuntimeMapName) =>
    own.has(name) ? object.map(name) : BpfMap.openPinned(pins.get(name) as string);
  return {
    raw: Object.fromEntries(RUNTIME_MAP_NAMES.map((name) => [name, open(name)])) as unknown as RuntimeRawMaps,
    programs: new Map(present.map(({ name }) => [name, object.program(name)])),
    list: all.map(({ name, section }) => ({ name, section, missing: missing.get(name) ?? null })),
  };
}

function load(image: Buffer, options: OpenRuntimeOptions): Loaded {
  const probe = probeLsm();
  if (!probe.available) {
    const { errnoName, hint } = probe;
    const data = { errnoName, hint };
    throw new RuntimeError('ERR_RUNTIME_UNAVAILABLE', `this kernel runs no BPF-LSM programs (${errnoName})`, data);
  }
  try {
    return loadWithout(image, options, new Map());
  } catch (error) {
    if (!(error instanceof BpfError) || error.code !== 'BPF_LOAD') throw error;
    const missing = missingHooks(image);
    if (missing.size === 0) throw error;
    return loadWithout(image, options, missing);
  }
}

function refuseOtherAbi(pinDir: string): boolean {
  const pin = path.join(mapsDir(pinDir), 'rt_settings');
  if (!existsSync(pin)) return false;
  using map = BpfMap.openPinned(pin);
  const { abi } = decodeRuntimeSettings(map.get(encodeU32(0))!);
  if (abi === 0) return false;
  if (abi !== RuntimeAbiValues.RUNTIME_ABI) {
    const data = { pinned: abi, wanted: RuntimeAbiValues.RUNTIME_ABI };
    throw new RuntimeError('ERR_RUNTIME_ABI', `pinned maps are of ABI ${data.pinned}, not ${data.wanted}`, data);
  }
  return true;
}

/**
 * Loads the programs or adopts the pinned ones, and attaches them. Errors: RuntimeError, BpfError
 * (BPF_LOAD with the verifier log).
 */
export function openRuntimeObject(options: OpenRuntimeOptions): RuntimeObject {
  assert.equal(endianness(), 'LE', 'layouts are written for little-endian machines');
  const { pinDir } = options;
  const objectPath = options.objectPath ?? runtimeObjectPath();
  if (!existsSync(objectPath)) {
    throw new RuntimeError('ERR_RUNTIME_OBJECT', `${objectPath} is missing: run the build`, { objectPath });
  }
  if (!isBpffs(existsSync(pinDir) ? pinDir : path.dirname(pinDir))) {
    throw new RuntimeError('ERR_RUNTIME_BPFFS', `${pinDir} is not on a bpffs`, { pinDir });
  }
  const reused = refuseOtherAbi(pinDir);
  const samplesDir = path.dirname(options.samplesPin ?? defaultSamplesPin(pinDir));
  // Without the settings, the key that hashed the names is lost, so the maps are useless.
  if (!reused) dropMaps(pinDir);
  // An epoch that begins again could make old entries valid.
  if (!existsSync(path.join(mapsDir(pinDir), 'rt_cache_control')))
    unlessGone(() => unlinkSync(path.join(mapsDir(pinDir), 'rt_opens')));
  for (const dir of [samplesDir, mapsDir(pinDir), linksDir(pinDir)]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  return new RuntimeObject(readFileSync(objectPath), options, reused);
}

/** Once attached, pods stay under their policies through close, crash and restart. */
export class RuntimeObject implements Disposable {
  readonly maps: RuntimeMaps;
  readonly programs: readonly RuntimeProgram[];
  /** True if pinned maps were found and adopted. */
  readonly reused: boolean;
  /** Links that already ran the same programs. */
  readonly keptLinks: number;
  /** Why decisions about opens are not cached; null: they are. */
  readonly cacheProblem: string | null;
  readonly pinDir: string;
  readonly #loaded: Loaded;
  #closed = false;

  constructor(image: Buffer, options: OpenRuntimeOptions, reused: boolean) {
    this.pinDir = options.pinDir;
    this.reused = reused;
    // If a pin is gone, its map is created again, while older programs go on with the old one,
    // which user space cannot reach.
    const whole = [...pinsOf(options).values()].every((pin) => existsSync(pin));
    this.#loaded = load(image, options);
    this.maps = runtimeMaps(this.#loaded.raw);
    // Until all programs are attached: a link may be gone, or of a release that counted no dentries.
    this.maps.setCacheLocks(null);
    this.#settle(options, reused);
    let kept = 0;
    // Last: until then, an earlier release's program at file_open may use a cache of other maps.
    const inOrder = [...this.#loaded.programs].sort(
      ([a], [b]) => Number(a === NEW_DENTRIES) - Number(b === NEW_DENTRIES),
    );
    for (const [name, program] of inOrder) if (this.#attach(name, program, whole)) kept++;
    this.keptLinks = kept;
    this.#dropOthers();
    this.cacheProblem = this.#startCache();
    this.programs = this.#loaded.list.map(({ name, section, missing }) => {
      const info = this.#loaded.programs.get(name)?.info;
      const { instructions = 0, verifiedInstructions = 0 } = info ?? {};
      return { name, section, missing, instructions, verifiedInstructions };
    });
  }

  /** Writes the settings before the first program runs. */
  #settle(options: OpenRuntimeOptions, reused: boolean): void {
    const hostMountNs = options.hostMountNs ?? mountNamespaceOfHost();
    const settings: Omit<RuntimeSettings, 'hostMountNs' | 'maxTasks'> = reused
      ? this.maps.settings()
      : { hashKey: randomBytes(HASH_KEY_BYTES), ...DEFAULT_RUNTIME_SAMPLES, abi: RuntimeAbiValues.RUNTIME_ABI };
    this.maps.setSettings({ ...settings, hostMountNs, maxTasks: this.#loaded.raw.rt_tasks.info.maxEntries });
  }

  /** Caches decisions about opens, now that all programs are attached. @returns why it cannot */
  #startCache(): string | null {
    if (!this.#loaded.programs.has(NEW_DENTRIES)) return 'the kernel has no hook d_instantiate';
    const { locks, problem } = findCacheLocks();
    if (locks !== null) this.maps.setCacheLocks(locks);
    return problem;
  }

  /**
   * Attaches a program, unless the pinned link runs this very program and the maps are `whole`.
   * @returns true if the link was kept
   */
  #attach(name: string, program: BpfProgram, whole: boolean): boolean {
    const pin = path.join(linksDir(this.pinDir), name);
    const fresh = pin + NEW_SUFFIX;
    // Left by an interrupted open. If it is the only link, keep it until another is attached.
    if (existsSync(fresh) && existsSync(pin)) unlinkSync(fresh);
    else if (existsSync(fresh)) renameSync(fresh, pin);
    if (whole && existsSync(pin) && runsThis(pin, program)) return true;
    using link = program.attach();
    link.pin(fresh);
    renameSync(fresh, pin);
    return false;
  }

  /** Unpins programs of another release that this one does not have. */
  #dropOthers(): void {
    const own = new Set(this.#loaded.list.map(({ name }) => name));
    const dir = linksDir(this.pinDir);
    for (const name of listPins(dir)) if (!own.has(name)) unlinkSync(path.join(dir, name));
  }

  recordTasks(): number[] {
    return recordTasks(this.pinDir);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const map of Object.values(this.#loaded.raw)) map.close();
    for (const program of this.#loaded.programs.values()) program.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** @throws RuntimeError ERR_RUNTIME_UNAVAILABLE */
function mountNamespaceOfHost(): number {
  const file = '/proc/1/ns/mnt';
  try {
    return statSync(file).ino;
  } catch (cause) {
    const { code: errnoName } = cause as NodeJS.ErrnoException;
    const hint =
      'needs CAP_SYS_PTRACE in the host’s PID namespace, and no AppArmor profile that forbids reading other processes';
    const message = `cannot read the host's mount namespace from ${file}: ${errnoName}`;
    throw new RuntimeError('ERR_RUNTIME_UNAVAILABLE', message, { errnoName, hint }, cause);
  }
}

function runsThis(pin: string, program: BpfProgram): boolean {
  using link = BpfLink.openPinned(pin);
  return link.programTag() === program.info.tag;
}

/** Maps of a pin directory, opened without loading programs: for `status`, beside a collector or without one. */
export interface PinnedRuntimeMaps extends Disposable {
  readonly maps: RuntimeMaps;
  /**
   * Records the processes that are in a pod's cgroup and have no record: those older than the
   * programs, or than the binding of their cgroup.
   * @returns their ids in this process's PID namespace, which is the host's
   */
  recordTasks(): number[];
  /**
   * Ends the cache of opens if the program that counts new dentries was detached since: its pin is
   * gone. Only the process that writes the maps calls it.
   * @returns why decisions are no longer cached; null: nothing changed
   */
  checkCache(): string | null;
  close(): void;
}

/** Program whose pinned link is a file: reading it runs the program for each task. */
const RECORD_TASKS = 'record_tasks';

function recordTasks(pinDir: string): number[] {
  const bytes = readFileSync(path.join(linksDir(pinDir), RECORD_TASKS));
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4));
}

function checkCache(maps: RuntimeMaps, pinDir: string): string | null {
  // The kernel detaches a link of a hook only when its last pin and descriptor are gone.
  if (existsSync(path.join(linksDir(pinDir), NEW_DENTRIES)) || maps.cacheLocks() === null) return null;
  maps.setCacheLocks(null);
  return `${NEW_DENTRIES} is not attached any more: restart the collector`;
}

/** Null if no maps are pinned there. Errors: ERR_RUNTIME_ABI. */
export function openPinnedRuntimeMaps(pinDir: string): PinnedRuntimeMaps | null {
  const pins = RUNTIME_MAP_NAMES.map((name) => path.join(mapsDir(pinDir), name));
  if (!pins.every((pin) => existsSync(pin)) || !refuseOtherAbi(pinDir)) return null;
  const raw = Object.fromEntries(
    RUNTIME_MAP_NAMES.map((name) => [name, BpfMap.openPinned(path.join(mapsDir(pinDir), name))]),
  ) as unknown as RuntimeRawMaps;
  const close = () => {
    for (const map of Object.values(raw)) map.close();
  };
  const maps = runtimeMaps(raw);
  return {
    maps,
    recordTasks: () => recordTasks(pinDir),
    checkCache: () => checkCache(maps, pinDir),
    close,
    [Symbol.dispose]: close,
  };
}

/** Before its programs are detached one by one. */
function stopCache(pinDir: string): void {
  using map = BpfMap.openPinned(path.join(mapsDir(pinDir), 'rt_cache_control'));
  setCacheLocks(map, null);
}

function dropMaps(pinDir: string): void {
  for (const name of listPins(mapsDir(pinDir))) unlessGone(() => unlinkSync(path.join(mapsDir(pinDir), name)));
}

/**
 * Removes a pin that the collector and a command may remove at the same time.
 * @returns whether it existed
 */
function unlessGone(remove: () => void): boolean {
  try {
    remove();
    return true;
  } catch (error) {
    if (!isPinGone(error)) throw error;
    return false;
  }
}

/**
 * Detaches the programs and removes the pins of the runtime layer, but not the shared ring.
 * @returns the number of removed links
 */
export function detachRuntime(pinDir: string): number {
  unlessGone(() => stopCache(pinDir));
  const links = listPins(linksDir(pinDir)).map((name) => path.join(linksDir(pinDir), name));
  const removed = links.filter((pin) => unlessGone(() => unlinkSync(pin)));
  dropMaps(pinDir);
  for (const dir of [linksDir(pinDir), mapsDir(pinDir), runtimeDir(pinDir)]) unlessGone(() => rmdirSync(dir));
  return removed.length;
}

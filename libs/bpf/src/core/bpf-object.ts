/**
 * A compiled BPF object: open it, adjust it, load it, take its maps and programs.
 *
 * Place in the data path: build/bpf/*.bpf.o → here → BpfMap and BpfProgram, which outlive the
 * object.
 * Invariants: everything before load() changes what will be loaded; afterwards it fails with
 * BPF_OPEN and EBUSY. load() can be tried once. A map that is not pinned goes with its last
 * descriptor.
 * Errors: BpfError BPF_OPEN, BPF_LOAD (with `verifierLog`), BPF_PIN, BPF_CLOSED.
 */
import { BpfMap } from './bpf-map.ts';
import { BpfProgram } from './bpf-program.ts';
import { BpfError } from './errors.ts';
import {
  type NativeObject,
  type NativeObjectMap,
  type NativeObjectProgram,
  type NativeObjectVariable,
  native,
} from './native.ts';
import { NativeHandle } from './native-handle.ts';

export class BpfObject extends NativeHandle<NativeObject> {
  /**
   * A path or the ELF image itself. `name` becomes the prefix of the kernel's names for global
   * data.
   */
  static open(source: string | Uint8Array, name: string | null = null): BpfObject {
    return new BpfObject(native().openObject(source, name));
  }

  maps(): NativeObjectMap[] {
    return this.native.maps();
  }

  programs(): NativeObjectProgram[] {
    return this.native.programs();
  }

  /** Global variables by section; `setGlobal` is for those of `.rodata`. */
  variables(): NativeObjectVariable[] {
    return this.native.variables();
  }

  setMapMaxEntries(name: string, maxEntries: number): void {
    this.native.setMapMaxEntries(name, maxEntries);
  }

  /**
   * load() takes the map from this pin if it exists and fits; otherwise it creates the map and pins
   * it there.
   */
  setMapPinPath(name: string, path: string): void {
    this.native.setMapPinPath(name, path);
  }

  /** False: the map is not created; programs that use it must not be loaded. */
  setMapAutocreate(name: string, autocreate: boolean): void {
    this.native.setMapAutocreate(name, autocreate);
  }

  setProgramAutoload(name: string, autoload: boolean): void {
    this.native.setProgramAutoload(name, autoload);
  }

  /**
   * Uses the pinned map instead of a new one. EINVAL with the difference in `detail` if its shape
   * differs.
   */
  reuseMap(name: string, path: string): void {
    this.native.reuseMap(name, path);
  }

  /**
   * Sets one global variable by name; `value` has exactly its size. ENOENT if the object has no
   * such variable.
   */
  setGlobal(name: string, value: Uint8Array): void {
    const found = this.native.variables().find((variable) => variable.name === name);
    if (found === undefined)
      throw new BpfError({ operation: 'object.setGlobal', errno: 2, detail: `no variable ${name}` });
    if (value.length !== found.sizeBytes) {
      throw new TypeError(`variable ${name} has ${found.sizeBytes} bytes, not ${value.length}`);
    }
    this.native.setInitialValue(found.section, found.offsetBytes, value);
  }

  load(): void {
    this.native.load();
  }

  /** After load. Close it. Sections such as `.rodata` are maps with the name of the section. */
  map(name: string): BpfMap {
    return new BpfMap(this.native.map(name));
  }

  /** After load. Close it. */
  program(name: string): BpfProgram {
    return new BpfProgram(this.native.program(name));
  }
}

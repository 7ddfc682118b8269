/** Member names of structs of the running kernel, from its BTF (Documentation/bpf/btf.rst). */
import { readFileSync } from 'node:fs';

const KERNEL = '/sys/kernel/btf/vmlinux';
const HEADER = { bytes: 4, typeOffset: 8, typeBytes: 12, stringOffset: 16 } as const;
const TYPE_BYTES = 12;
const MEMBER_BYTES = 12;
const [STRUCT, UNION] = [4, 5];

/** Bytes after a type, by kind: once, and for each of its items. */
const TRAILERS: Readonly<Record<number, readonly [once: number, each: number]>> = {
  1: [4, 0],
  3: [12, 0],
  6: [0, 8],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
  [STRUCT]: [0, MEMBER_BYTES],
  [UNION]: [0, MEMBER_BYTES],
};

export class KernelTypes {
  readonly #btf = readFileSync(KERNEL);
  readonly #strings: number;
  /** Offsets of the types by number; the first is 1. */
  readonly #types: number[] = [0];

  constructor() {
    const start = this.#btf.readUInt32LE(HEADER.bytes);
    let at = start + this.#btf.readUInt32LE(HEADER.typeOffset);
    const end = at + this.#btf.readUInt32LE(HEADER.typeBytes);
    this.#strings = start + this.#btf.readUInt32LE(HEADER.stringOffset);
    while (at < end) {
      this.#types.push(at);
      const [once, each] = TRAILERS[this.#kind(at)] ?? [0, 0];
      at += TYPE_BYTES + once + each * this.#items(at);
    }
  }

  #kind(at: number): number {
    return (this.#btf.readUInt32LE(at + 4) >>> 24) & 31;
  }

  #items(at: number): number {
    return this.#btf.readUInt32LE(at + 4) & 0xffff;
  }

  #name(at: number): string {
    const from = this.#strings + this.#btf.readUInt32LE(at);
    return this.#btf.toString('latin1', from, this.#btf.indexOf(0, from));
  }

  *#members(type: number): Generator<string> {
    const at = this.#types[type] as number;
    for (let item = 0; item < this.#items(at); item += 1) {
      const member = at + TYPE_BYTES + item * MEMBER_BYTES;
      const name = this.#name(member);
      if (name === '') yield* this.#members(this.#btf.readUInt32LE(member + 4));
      else yield name;
    }
  }

  /** Members of a struct, with those of its unnamed structs and unions. @throws Error if there is no such struct */
  members(struct: string): string[] {
    const type = this.#types.findIndex((at, number) => {
      return number > 0 && this.#kind(at) === STRUCT && this.#name(at) === struct;
    });
    if (type < 0) throw new Error(`the kernel has no struct ${struct}`);
    return [...new Set(this.#members(type))];
  }
}

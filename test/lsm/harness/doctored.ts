/**
 * The compiled programs with one change, like an earlier or later release: a hook name that no
 * kernel has, or a program that refuses with another error. Edits sections of a 64-bit
 * little-endian ELF file.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { probeLsm, runtimeObjectPath } from '@bailiff/bpf';

interface Section {
  readonly name: string;
  readonly nameAt: number;
  readonly at: number;
  readonly size: number;
}

function sectionsOf(elf: Buffer): Section[] {
  const [tableAt, entrySize] = [Number(elf.readBigUInt64LE(40)), elf.readUInt16LE(58)];
  const entry = (index: number) => {
    const at = tableAt + index * entrySize;
    const [offset, size] = [Number(elf.readBigUInt64LE(at + 24)), Number(elf.readBigUInt64LE(at + 32))];
    return { nameOffset: elf.readUInt32LE(at), at: offset, size };
  };
  const names = entry(elf.readUInt16LE(62)).at;
  return Array.from({ length: elf.readUInt16LE(60) }, (_, index) => {
    const { nameOffset, at, size } = entry(index);
    const nameAt = names + nameOffset;
    return { name: elf.toString('latin1', nameAt, elf.indexOf(0, nameAt)), nameAt, at, size };
  });
}

function write(elf: Buffer): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'bailiff-doctored-')), 'runtime.bpf.o');
  writeFileSync(file, elf);
  return file;
}

function sectionNamed(elf: Buffer, name: string): Section {
  const found = sectionsOf(elf).find((section) => section.name === name);
  assert(found, `the object has no section ${name}`);
  return found;
}

/** The object with the section `from` renamed to `to`, of the same length. */
export function withRenamedHook(from: string, to: string, objectPath = runtimeObjectPath()): string {
  assert.equal(from.length, to.length);
  const elf = readFileSync(objectPath);
  elf.write(to, sectionNamed(elf, from).nameAt, 'latin1');
  return write(elf);
}

/** What a task's pod, an exec and an open need. */
export const EXEC_AND_OPEN_HOOKS = [
  'bprm_check_security',
  'bprm_committed_creds',
  'task_alloc',
  'task_free',
  'file_open',
  'mmap_file',
];

/** End of the names that withHooksOnly() writes. */
const NO_HOOK = 'X';

/** Those of the hooks reported missing, as `lsm/<hook>`, that the kernel has. */
export function presentAmong(missing: readonly string[]): string[] {
  const hooks = missing.map((section) => section.replace('lsm/', ''));
  // A probe parses the kernel's BTF, which takes long under emulation.
  return hooks.filter((hook) => !hook.endsWith(NO_HOOK) && probeLsm(hook).available);
}

/**
 * The object with programs at these LSM hooks alone, beside those at tracepoints. The other
 * programs have hooks that no kernel has.
 */
export function withHooksOnly(hooks: readonly string[], objectPath = runtimeObjectPath()): string {
  const elf = readFileSync(objectPath);
  for (const { name, nameAt } of sectionsOf(elf)) {
    if (!name.startsWith('lsm/') || hooks.includes(name.slice('lsm/'.length))) continue;
    elf.write(NO_HOOK, nameAt + name.length - 1, 'latin1');
  }
  return write(elf);
}

/** w0 = <number>, for an exit code. */
const returnOf = (number: number): Buffer => {
  const instruction = Buffer.from([0xb4, 0, 0, 0, 0, 0, 0, 0]);
  instruction.writeInt32LE(number, 4);
  return instruction;
};

/** The object whose program in `section` refuses with EACCES instead of EPERM. */
export function withOtherError(section: string, objectPath = runtimeObjectPath()): string {
  const elf = readFileSync(objectPath);
  const { at, size } = sectionNamed(elf, section);
  let changed = 0;
  for (let offset = at; offset < at + size; offset += 8) {
    if (!elf.subarray(offset, offset + 8).equals(returnOf(-1))) continue;
    returnOf(-13).copy(elf, offset);
    changed++;
  }
  assert(changed > 0, `${section} returns no EPERM`);
  return write(elf);
}

/**
 * Addresses of the kernel's own symbols, from /proc/kallsyms.
 *
 * Place in the data path: runtime/object.ts → here. Reads the file in pieces, because it has ten
 * megabytes, and ends at the last name that is wanted. An address of zero means that the kernel
 * hides addresses from this process (kernel.kptr_restrict, CAP_SYSLOG).
 */
import { closeSync, openSync, readSync } from 'node:fs';

const KALLSYMS = '/proc/kallsyms';
const PIECE_BYTES = 64 << 10;
/**
 * `ffffffff82a0c0c0 D rename_lock`; symbols of modules have a further word. A capital: there is no
 * other one of this name in the kernel, while several files may have a static one.
 */
const LINE = /^([0-9a-f]+) [A-Z] (\S+)$/;

/** Name → address of global symbols, without names that the kernel does not list. */
export function kernelSymbols(names: readonly string[], file = KALLSYMS): Map<string, bigint> {
  const found = new Map<string, bigint>();
  const piece = Buffer.alloc(PIECE_BYTES);
  const fd = openSync(file, 'r');
  try {
    let rest = '';
    for (;;) {
      const length = readSync(fd, piece);
      const text = rest + piece.toString('latin1', 0, length);
      const end = text.lastIndexOf('\n') + 1;
      rest = text.slice(end);
      for (const name of names) {
        for (let at = text.indexOf(` ${name}\n`); at >= 0; at = text.indexOf(` ${name}\n`, at + 1)) {
          const line = LINE.exec(text.slice(text.lastIndexOf('\n', at) + 1, at + name.length + 1));
          if (line !== null) found.set(name, BigInt(`0x${line[1]}`));
        }
      }
      if (length === 0 || found.size === names.length) return found;
    }
  } finally {
    closeSync(fd);
  }
}

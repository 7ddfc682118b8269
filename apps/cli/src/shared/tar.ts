/**
 * Header blocks of tar files (POSIX ustar), which any tar can list and extract. Pure.
 *
 * A file of 8 GiB or more has its size in base 256, as GNU tar writes it.
 */
export const BLOCK_BYTES = 512;

const SIZE = { at: 124, length: 12 };
const CHECKSUM = { at: 148, length: 8 };
/** Largest size in eleven octal digits. */
const MAX_OCTAL = 8 ** 11 - 1;
const BASE_256 = 0x80;

/** Sum of all bytes, with the field of the sum as spaces. */
function checksumOf(block: Uint8Array): number {
  let sum = 0;
  for (const [index, byte] of block.entries()) {
    const isField = index >= CHECKSUM.at && index < CHECKSUM.at + CHECKSUM.length;
    sum += isField ? 0x20 : byte;
  }
  return sum;
}

/** Bytes after a file of this size up to the next block. */
export const paddingOf = (bytes: number): number => (BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES;

const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;

export function headerOf(name: string, bytes: number, timeMs: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0, 100, 'latin1');
  block.write(octal(0o600, 8), 100, 'latin1');
  block.write(octal(0, 8), 108, 'latin1');
  block.write(octal(0, 8), 116, 'latin1');
  if (bytes <= MAX_OCTAL) block.write(octal(bytes, SIZE.length), SIZE.at, 'latin1');
  else {
    block[SIZE.at] = BASE_256;
    block.writeBigUInt64BE(BigInt(bytes), SIZE.at + 4);
  }
  block.write(octal(Math.floor(timeMs / 1000), 12), 136, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, CHECKSUM.at, 'latin1');
  return block;
}

/** Name and size; null for a block that is no header, such as the zeros at the end. */
export function parseHeader(block: Buffer): { name: string; bytes: number } | null {
  const text = (at: number, length: number) => block.toString('latin1', at, at + length).split('\0', 1)[0] as string;
  if (Number.parseInt(text(CHECKSUM.at, CHECKSUM.length), 8) !== checksumOf(block)) return null;
  const bytes =
    block[SIZE.at] === BASE_256
      ? Number(block.readBigUInt64BE(SIZE.at + 4))
      : Number.parseInt(text(SIZE.at, SIZE.length), 8);
  return Number.isSafeInteger(bytes) && bytes >= 0 ? { name: text(0, 100), bytes } : null;
}

/** An archive of small text files. @param files text by name; a name has at most 99 bytes of ASCII */
export function tar(files: ReadonlyMap<string, string>, timeMs: number): Buffer {
  const blocks = [...files].flatMap(([name, text]) => {
    const body = Buffer.from(text);
    return [headerOf(name, body.length, timeMs), body, Buffer.alloc(paddingOf(body.length))];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

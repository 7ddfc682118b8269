/** A tar archive (ustar) of small text files. Pure. */

const BLOCK = 512;

/** @param name at most 99 bytes of ASCII */
function header(name: string, size: number, timeMs: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => `${Math.floor(value).toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0, 99, 'ascii');
  block.write(octal(0o600, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(timeMs / 1000, 11), 136);
  block.write(' '.repeat(8), 148);
  block.write('0', 156);
  block.write('ustar\0'.concat('00'), 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

export function tar(files: ReadonlyMap<string, string>, timeMs: number): Buffer {
  const blocks = [...files].flatMap(([name, text]) => {
    const body = Buffer.from(text);
    return [header(name, body.length, timeMs), body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

/**
 * Files of evidence. A bundle is read line by line, so its size does not matter. Bound:
 * MAX_LINE_BYTES a line. One that is longer, or has no end, is read as an empty line, which is not valid.
 */
import { createReadStream } from 'node:fs';
import { MAX_LINE_BYTES } from '@bailiff/evidence';

/** @throws ENOENT, EACCES and other errors of the file */
export async function* linesIn(file: string): AsyncGenerator<string> {
  let left: Buffer[] = [];
  let length = 0;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const isTooLong = length + end - start > MAX_LINE_BYTES;
      yield isTooLong ? NO_LINE : textOf(Buffer.concat([...left, chunk.subarray(start, end)]));
      [left, length, start] = [[], 0, end + 1];
    }
    left.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > MAX_LINE_BYTES) break;
  }
  // Too long, or without its end.
  if (length > 0) yield NO_LINE;
}

/** Valid nowhere in a bundle. */
const NO_LINE = '';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a line; NO_LINE if it is not UTF-8. */
function textOf(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return NO_LINE;
  }
}

/**
 * Files of evidence and keys. A bundle is read line by line, so its size does not matter. Bound:
 * MAX_LINE_BYTES a line. One that is longer, or has no end, is read as an empty line, which is not valid.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { MAX_LINE_BYTES } from '@bailiff/evidence';
import { CliError } from '../shared/errors.ts';

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

/** An Ed25519 key in PEM. @throws CliError CLI_USAGE; errors of the file */
export function readKey(file: string, kind: 'private' | 'public'): KeyObject {
  const pem = readFileSync(file);
  try {
    const key = kind === 'private' ? createPrivateKey(pem) : createPublicKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw new CliError('CLI_USAGE', `${file} is not a ${kind} key in PEM`, { cause, remedy: KEY_REMEDY });
  }
  throw new CliError('CLI_USAGE', `${file} is not an Ed25519 key`, { remedy: KEY_REMEDY });
}

const KEY_REMEDY =
  'make one with `openssl genpkey -algorithm ed25519 -out evidence.key`, and its public part with `openssl pkey -in evidence.key -pubout -out evidence.pub`';

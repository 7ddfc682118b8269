/**
 * Reads files of evidence and keys. A bundle is read line by line, in constant memory. Limit:
 * MAX_LINE_BYTES per line. A longer line is cut there and ends the read.
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
      yield textOf(Buffer.concat([...left, chunk.subarray(start, end)]));
      [left, length, start] = [[], 0, end + 1];
    }
    left.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > MAX_LINE_BYTES) break;
  }
  if (length > 0) yield textOf(Buffer.concat(left));
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a line; empty if it is not UTF-8. No valid line is empty. */
function textOf(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return '';
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

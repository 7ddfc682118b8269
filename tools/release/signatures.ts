/**
 * Signatures of a release, and their verification. Each file has a signature `<file>.sig`: Ed25519, or
 * ECDSA P-256 over SHA-256 in DER. openssl and `cosign verify-blob --key` read them as they are.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readChecksums, SUMS, sha256Of } from '../checksums.ts';
import { type Envelope, hashOf, verifiedStatement } from './provenance.ts';

export const PROVENANCE = 'provenance.intoto.json';
const ENDING = '.sig';

/** @throws Error for a key that cosign does not verify */
export function readPrivateKey(file: string): KeyObject {
  const key = createPrivateKey(readFileSync(file));
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType !== 'ed25519' && curve !== 'prime256v1')
    throw new Error(`${file} is ${curve ?? key.asymmetricKeyType}: the key must be Ed25519 or ECDSA P-256`);
  return key;
}

/** The public key as bailiff.pub has it. */
export const publicText = (key: KeyObject): string =>
  createPublicKey(key as never).export({ type: 'spki', format: 'pem' }) as string;

/** Writes a new ECDSA P-256 key. @throws EEXIST rather than overwrite a key */
export function writeNewKey(privateFile: string, publicFile: string): void {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const text = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(privateFile, text, { mode: 0o600, flag: 'wx' });
  writeFileSync(publicFile, publicText(privateKey));
}

/** Signs these files of a directory. */
export function signFiles(directory: string, names: readonly string[], key: KeyObject): void {
  for (const name of names) {
    const file = path.join(directory, name);
    writeFileSync(`${file}${ENDING}`, sign(hashOf(key), readFileSync(file), key));
  }
}

/**
 * Verifies every file of a release: checksum, signature, and that the provenance names it.
 * @returns the number of files
 * @throws Error that names the file which is not the released one
 */
export function verifyRelease(directory: string, publicKeyFile: string): number {
  const key = createPublicKey(readFileSync(publicKeyFile));
  const at = (name: string) => path.join(directory, name);
  const checkSignature = (name: string) => {
    if (!verify(hashOf(key), readFileSync(at(name)), key, readFileSync(at(name + ENDING))))
      throw new Error(`${name}${ENDING} is no signature of ${name} by this key`);
  };
  checkSignature(SUMS);
  const sums = readChecksums(readFileSync(at(SUMS), 'utf8'));
  const released = [SUMS, ...sums.keys()].flatMap((name) => [name, name + ENDING]);
  for (const name of readdirSync(directory))
    if (name !== PROVENANCE && !released.includes(name)) throw new Error(`${name} is not part of the release`);
  for (const [name, sum] of sums) {
    if (sha256Of(at(name)) !== sum) throw new Error(`${name} is not the released file`);
    checkSignature(name);
  }
  const statement = verifiedStatement(JSON.parse(readFileSync(at(PROVENANCE), 'utf8')) as Envelope, key);
  if (statement === null) throw new Error(`${PROVENANCE} is not signed by this key`);
  const built = new Map(statement.subject.map(({ name, digest }) => [name, digest['sha256']]));
  for (const [name, sum] of sums)
    if (built.get(name) !== sum) throw new Error(`${PROVENANCE} does not say that ${name} was built from the tag`);
  return sums.size;
}

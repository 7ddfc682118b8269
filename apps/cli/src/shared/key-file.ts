/** Files with Ed25519 keys: of evidence, and of people who sign configuration. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type ConfigSigner, type SignedChange, signLater } from '@bailiff/policy';
import { CliError } from './errors.ts';

const KEY_REMEDY =
  'make one with `openssl genpkey -algorithm ed25519 -out NAME.key`, and its public part with `openssl pkey -in NAME.key -pubout -out NAME.pub`';
/** As in a verifier key; `#` begins a comment in a file of signers. */
const NAME = /^[!"$-*,-~]+$/;

/** An Ed25519 key in PEM. @throws CliError CLI_USAGE; errors of the file */
export function readKey(file: string, kind: 'private' | 'public'): KeyObject {
  let pem: Buffer;
  try {
    pem = readFileSync(file);
  } catch (cause) {
    // The system call names no path.
    if ((cause as NodeJS.ErrnoException).code !== 'EISDIR') throw cause;
    throw new CliError('CLI_USAGE', `${file} is a directory, not a ${kind} key`, { cause, remedy: KEY_REMEDY });
  }
  try {
    const key = kind === 'private' ? createPrivateKey(pem) : createPublicKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    if (pem.includes('ENCRYPTED')) {
      throw new CliError('CLI_USAGE', `${file} has a passphrase`, {
        cause,
        remedy: `decrypt it in a file of its own, in memory: openssl pkey -in ${file} -out /dev/shm/NAME.key`,
      });
    }
    throw new CliError('CLI_USAGE', `${file} is not a ${kind} key in PEM`, { cause, remedy: KEY_REMEDY });
  }
  throw new CliError('CLI_USAGE', `${file} is not an Ed25519 key`, { remedy: KEY_REMEDY });
}

/** A private key, which signs as the name of its file: `anna@prod` for `anna@prod.key`. @throws as readKey */
export function readSigner(file: string): ConfigSigner {
  const name = path.basename(file, path.extname(file));
  if (!NAME.test(name)) {
    throw new CliError('CLI_USAGE', `"${name}" is not the name of a signer`, {
      remedy: 'the file of a key is named after its signer, without spaces, + and #: anna@prod.key',
    });
  }
  return { name, key: readKey(file, 'private') };
}

/** The option `sign` of a write. */
export function signing(signer: ConfigSigner | undefined, nowMs: number) {
  if (!signer) return {};
  return {
    sign: (change: Omit<SignedChange, 'signature'>, stored: string) => signLater(change, signer, nowMs, stored),
  };
}

/** Of commands that judge again. */
export const SIGNERS_HELP = 'file of the signers that the services require; they refused other configuration';
/** Of commands that show the state of the cluster. */
export const CHECK_SIGNERS_HELP =
  'verify stored configuration by this file of signers, whatever nodes and services report';
export const SIGN_HELP = 'sign with this Ed25519 key (PEM); its file name is the name of the signer: anna@prod.key';

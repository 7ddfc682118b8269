/** Signers of configuration for tests. */
import { generateKeyPairSync } from 'node:crypto';
import { formatVerifierKey, verifierKey } from './signing/note.ts';
import { type ConfigSigner, type SignedChange, signChange } from './signing/signature.ts';

export const newSigner = (name: string): ConfigSigner => ({ name, key: generateKeyPairSync('ed25519').privateKey });

/** The line of a signers file. */
export const signerLine = ({ name, key }: ConfigSigner): string => formatVerifierKey(verifierKey(name, key));

export const signedBy = (signer: ConfigSigner, key: string, json: string | null, atMs: number): SignedChange => ({
  key,
  json,
  signature: signChange({ key, json }, signer, atMs),
});

/**
 * How the signature of a stored value is shown. Pure. Its name is that which the bus states: readers verify it by
 * their signers, and `config list --config-signers` by a file.
 */
import { parseSignature } from '@bailiff/policy';

type Signed = Readonly<{ signature: string }>;

/** The name; empty: unsigned. */
export const signerName = ({ signature }: Signed): string => parseSignature(signature)?.name ?? '';

/** The field `signed` of JSON output; null: unsigned. */
export function signedJson({ signature }: Signed): { as: string; at: string } | null {
  const parts = parseSignature(signature);
  return parts && { as: parts.name, at: new Date(parts.atMs).toISOString() };
}

/** `; signed as anna@prod`, to append to a line; empty: unsigned. */
export const signedNote = (value: Signed): string =>
  signerName(value) === '' ? '' : `; signed as ${signerName(value)}`;

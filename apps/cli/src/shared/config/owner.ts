/**
 * Who answers for a stored value. Pure. Its owner is the CLI, a custom resource that ipam-sync mirrors, or none. The
 * name of its signature is that which the bus states: readers verify it by their signers, and
 * `config list --config-signers` by a file.
 */
import type { StoredConfig } from '@bailiff/bus';
import { ConfigError, parseSignature } from '@bailiff/policy';

export type Ownership = Pick<StoredConfig, 'owner' | 'released'>;

/** `cli`, `RuntimePolicy/no-shell`, or `none`. */
export function ownerText({ owner, released }: Ownership): string {
  if (owner) return `${owner.kind}/${owner.name}`;
  return released ? 'none' : 'cli';
}

/** `; owned by RuntimePolicy/no-shell`, to append to a line; empty for keys of the CLI. */
export function ownerNote(ownership: Ownership): string {
  if (ownership.owner) return `; owned by ${ownerText(ownership)}`;
  return ownership.released ? '; without an owner' : '';
}

/** The field `keptBy` of JSON output. */
export function ownerJson(kept: Ownership) {
  const { owner, released } = kept;
  return owner ? { by: 'resource', ...owner } : { by: released ? 'nobody' : 'cli' };
}

/** @throws ConfigError CONFIG_OWNER if a custom resource owns the key and --take-over is not set */
export function refuseOwned(stored: StoredConfig | null, takeOver: boolean | undefined): void {
  if (!stored?.owner || takeOver) return;
  const { kind, name } = stored.owner;
  throw new ConfigError('CONFIG_OWNER', `${stored.key} is owned by the custom resource ${kind} ${name}`);
}

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

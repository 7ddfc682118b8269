/** The owner of a key: the CLI, a custom resource that ipam-sync mirrors, or none. Pure. */
import type { StoredConfig } from '@bailiff/bus';
import { ConfigError } from '@bailiff/policy';

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

/** Who keeps a key: the command line, a custom resource that ipam-sync mirrors, or nobody. Pure. */
import type { StoredConfig } from '@bailiff/bus';
import { ConfigError } from '@bailiff/policy';

export type Kept = Pick<StoredConfig, 'owner' | 'released'>;

/** `cli`, `RuntimePolicy/no-shell`, or `nobody`. */
export function keeperText({ owner, released }: Kept): string {
  if (owner) return `${owner.kind}/${owner.name}`;
  return released ? 'nobody' : 'cli';
}

/** `; kept by RuntimePolicy/no-shell` to end a line with; nothing where the command line keeps it, as is ordinary. */
export const keptNote = (kept: Kept) => (kept.owner || kept.released ? `; kept by ${keeperText(kept)}` : '');

/** For JSON. */
export function keeperJson(kept: Kept) {
  return kept.owner ? { by: 'resource', ...kept.owner } : { by: keeperText(kept) };
}

/** @throws ConfigError CONFIG_OWNER when a custom resource keeps the key and it is not to be taken over */
export function refuseKept(stored: StoredConfig | null, takeOver: boolean | undefined): void {
  if (!stored?.owner || takeOver) return;
  const { kind, name } = stored.owner;
  throw new ConfigError('CONFIG_OWNER', `${stored.key} is kept by the custom resource ${kind} ${name}`);
}

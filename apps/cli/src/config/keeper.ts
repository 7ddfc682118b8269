/** Who keeps a key: the command line, or a custom resource that ipam-sync mirrors. Pure. */
import type { StoredConfig } from '@bailiff/bus';
import { ConfigError, type ResourceOwner } from '@bailiff/policy';

/** `cli`, or `RuntimePolicy/no-shell`. */
export function keeperText(owner: Pick<ResourceOwner, 'kind' | 'name'> | null): string {
  return owner ? `${owner.kind}/${owner.name}` : 'cli';
}

/** `; kept by RuntimePolicy/no-shell` to end a line with; nothing where the command line keeps it, as is ordinary. */
export const keptNote = (owner: ResourceOwner | null) => (owner ? `; kept by ${keeperText(owner)}` : '');

/** For JSON. */
export function keeperJson(owner: ResourceOwner | null) {
  return owner ? { by: 'resource', ...owner } : { by: 'cli' };
}

/** @throws ConfigError CONFIG_OWNER when a custom resource keeps the key and it is not to be taken over */
export function refuseKept(stored: StoredConfig | null, takeOver: boolean | undefined): void {
  if (!stored?.owner || takeOver) return;
  const { kind, name } = stored.owner;
  throw new ConfigError('CONFIG_OWNER', `${stored.key} is kept by the custom resource ${kind} ${name}`);
}

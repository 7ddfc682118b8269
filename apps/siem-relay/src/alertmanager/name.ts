/** The name of the output to an Alertmanager: label of metrics, and owner of a position. Pure. */
import { createHash } from 'node:crypto';

/** Longest name of an output. */
const MAX_NAME = 63;
const HASH_CHARACTERS = 8;

/**
 * The host of its URL; if that is too long, or the URL has a path, with a hash of the URL: servers
 * whose names differ only in their end need different positions.
 */
export function alertmanagerName(url: string): string {
  const server = url.replace(/\/+$/, '');
  const { host, pathname } = new URL(server);
  const name = `alertmanager-${host.replaceAll(/[^a-z0-9-]+/gi, '-').toLowerCase()}`;
  if (name.length <= MAX_NAME && pathname === '/') return name;
  const hash = createHash('sha256').update(server).digest('hex').slice(0, HASH_CHARACTERS);
  return `${name.slice(0, MAX_NAME - HASH_CHARACTERS - 1)}-${hash}`;
}

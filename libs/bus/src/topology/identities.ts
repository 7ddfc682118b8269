/**
 * Identities on the bus: roles, user names, inbox prefixes, and the JetStream API prefix of a user.
 *
 * The connection needs the prefixes for its requests, and auth/ grants permissions to the
 * identities.
 */
import { encodeToken } from './subjects.ts';

export type Identity =
  /** Publishes violations and reads snapshots of its node. */
  | { role: 'collector'; node: string }
  /**
   * Second connection of a collector: receives pushes and capture requests, and publishes only
   * responses to them.
   */
  | { role: 'push'; node: string }
  | { role: FixedRole }
  /** Responds to the server's auth callout requests. */
  | { role: 'bus-auth' };

export type NodeRole = 'collector' | 'push';
/** Roles that exist once per node. */
export const NODE_ROLES: readonly NodeRole[] = ['collector', 'push'];

/** Roles that are one user each, with a password in the server's configuration. */
export const FIXED_ROLES = [
  'admin',
  'correlator',
  'responder',
  'ipam-sync',
  'cli',
  'console',
  'reader',
  'siem-relay',
  'siem-reader',
  'evidence-log',
] as const;
export type FixedRole = (typeof FIXED_ROLES)[number];

/** User name of an identity: the role, or `collector-<node>` and `push-<node>`. */
export function userOf(identity: Identity): string {
  return 'node' in identity ? `${identity.role}-${identity.node}` : identity.role;
}

/** Role and node of a user name; null if it is not the user of a node. */
export function nodeUserOf(user: string): { role: NodeRole; node: string } | null {
  const [, role, node] = /^(collector|push)-(.+)$/.exec(user) ?? [];
  return role === undefined || node === undefined ? null : { role: role as NodeRole, node };
}

/** Private inbox prefix of an identity: `_INBOX_<role>` or `_INBOX_<role>_<node token>`. */
export function inboxPrefixFor(identity: Identity): string {
  return 'node' in identity ? `_INBOX_${identity.role}_${encodeToken(identity.node)}` : `_INBOX_${identity.role}`;
}

/** Inbox prefix of a user name. */
export function inboxPrefixOf(user: string): string {
  const identity = nodeUserOf(user);
  return identity ? inboxPrefixFor(identity) : `_INBOX_${user}`;
}

/**
 * Prefix of the JetStream API outside the core account. The client's own account responds under
 * `$JS.API` that it has no JetStream, so these requests are imported under another name. Direct
 * gets keep `$JS.API`, because the server routes them to the streams.
 */
export const IMPORTED_API = 'BUS';
/** Roles in the core account. */
const CORE_ROLES: readonly string[] = ['admin', 'correlator', 'responder', 'ipam-sync', 'siem-relay'];
/** Prefix of the JetStream API for a user. */
export const apiPrefixOf = (user: string): string => (CORE_ROLES.includes(user) ? '$JS.API' : IMPORTED_API);

/**
 * Services outside the core account that read streams. They have no direct gets: a stream stores nothing while
 * the server serves those, and from 2.11 on one request can take seconds (streams/direct.ts).
 */
const API_READERS: readonly string[] = ['console', 'evidence-log'];
export const readsByApi = (user: string): boolean => API_READERS.includes(user);

/**
 * Identities on the bus: roles, user names, inbox prefixes, and the prefix of the JetStream API for each user.
 *
 * Pure names, shared by the connection (which needs a prefix for its requests) and by auth/ (which grants rights to them).
 */
import { encodeToken } from './subjects.ts';

export type Identity =
  /** Publishes violations and reads snapshots of its node. */
  | { role: 'collector'; node: string }
  /** Second connection of a collector: receives pushes and capture requests, and publishes nothing but responses to these. */
  | { role: 'push'; node: string }
  | { role: FixedRole }
  /** Answers the server's auth callout requests. */
  | { role: 'bus-auth' };

export type NodeRole = 'collector' | 'push';
/** Identities of which each node has one. */
export const NODE_ROLES: readonly NodeRole[] = ['collector', 'push'];

/** Identities that are one user each with a password in the server's configuration. */
export const FIXED_ROLES = [
  'admin',
  'correlator',
  'responder',
  'ipam-sync',
  'cli',
  'reader',
  'siem-relay',
  'siem-reader',
] as const;
export type FixedRole = (typeof FIXED_ROLES)[number];

/** User name of an identity on the bus: the role, or `collector-<node>` and `push-<node>`. */
export function userOf(identity: Identity): string {
  return 'node' in identity ? `${identity.role}-${identity.node}` : identity.role;
}

/** The role and node in a user name; null when the user is not one of a node. */
export function nodeUserOf(user: string): { role: NodeRole; node: string } | null {
  const [, role, node] = /^(collector|push)-(.+)$/.exec(user) ?? [];
  return role === undefined || node === undefined ? null : { role: role as NodeRole, node };
}

/** Private inbox prefix of an identity: `_INBOX_<role>`, of a node's identity `_INBOX_<role>_<node token>`. */
export function inboxPrefixFor(identity: Identity): string {
  return 'node' in identity ? `_INBOX_${identity.role}_${encodeToken(identity.node)}` : `_INBOX_${identity.role}`;
}

/** The same from a user name. */
export function inboxPrefixOf(user: string): string {
  const identity = nodeUserOf(user);
  return identity ? inboxPrefixFor(identity) : `_INBOX_${user}`;
}

/**
 * Prefix of the JetStream API for a client outside the core account. Its own account answers under `$JS.API` that it has no JetStream,
 * so these requests are imported under another name. Direct gets keep `$JS.API`: the server leaves them to the streams.
 */
export const IMPORTED_API = 'BUS';
/** Roles that are in the core account, where the streams are. */
const CORE_ROLES: readonly string[] = ['admin', 'correlator', 'responder', 'ipam-sync', 'siem-relay'];
/** Prefix of the JetStream API for a user. */
export const apiPrefixOf = (user: string): string => (CORE_ROLES.includes(user) ? '$JS.API' : IMPORTED_API);

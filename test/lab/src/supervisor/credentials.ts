/**
 * Identities of one lab: a random password or token for each, in files that only their owner reads. Everyone on the bus and at
 * the API server is somebody with the rights of its role, as in a real installation.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { FIXED_ROLES, type Identity, type NatsUser, permissionsFor, userOf } from '@bailiff/bus';
import type { LabPlan } from '../plan.ts';

const newSecret = () => randomBytes(24).toString('base64url');

/** Users at the API server; `admin` first, whose kubeconfig a person gets. */
export const API_USERS = ['admin', 'kubelet', 'ipam-sync', 'responder'] as const;
export type ApiUser = (typeof API_USERS)[number];

export interface BusCredential {
  user: string;
  passwordFile: string;
}
export interface LabCredentials {
  users: NatsUser[];
  /** By bus user: a role, or collector-<node>. */
  bus: ReadonlyMap<string, BusCredential>;
  /** For the API server's command line. */
  apiTokens: Record<ApiUser, string>;
}

/** Makes the secrets of a lab and writes the bus passwords to <dir>/secrets. */
export async function makeCredentials(plan: LabPlan): Promise<LabCredentials> {
  const dir = path.join(plan.dir, 'secrets');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const identities: Identity[] = [
    ...FIXED_ROLES.map((role) => ({ role })),
    ...plan.nodes.map((node) => ({ role: 'collector' as const, node: node.name })),
  ];
  const bus = new Map<string, BusCredential>();
  const users: NatsUser[] = [];
  for (const identity of identities) {
    const user = userOf(identity);
    const password = newSecret();
    const passwordFile = path.join(dir, `${user}.password`);
    await writeFile(passwordFile, password, { mode: 0o600 });
    bus.set(user, { user, passwordFile });
    users.push({ user, password, permissions: permissionsFor(identity) });
  }
  const apiTokens = Object.fromEntries(API_USERS.map((user) => [user, newSecret()])) as Record<ApiUser, string>;
  return { users, bus, apiTokens };
}

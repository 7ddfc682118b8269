/**
 * Identities of one lab: a random password or token each, in files that only their owner can read.
 * Every client of bus and API server has the permissions of its role, as in a real installation.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { FIXED_ROLES, type Identity, type NatsUser, natsUserFor, type ServerConf, userOf } from '@bailiff/bus';
import { newSeed, publicKeyOf } from '@bailiff/bus/auth';
import type { LabPlan } from '../plan.ts';
import { tokenFileOf } from './bus-auth.ts';

const newSecret = () => randomBytes(24).toString('base64url');

/** Users of the API server. `admin` is first; its kubeconfig is printed for the user. */
export const API_USERS = ['admin', 'kubelet', 'ipam-sync', 'responder', 'bus-auth'] as const;
export type ApiUser = (typeof API_USERS)[number];

/** One of the two files. */
export interface BusCredential {
  user: string;
  passwordFile?: string;
  tokenFile?: string;
}
/** Seeds of bus-auth's responses. */
export interface CalloutSeeds {
  issuerFile: string;
  xkeyFile: string;
}
export interface LabCredentials {
  users: NatsUser[];
  /** null: collectors are static users. */
  callout: { conf: NonNullable<ServerConf['authCallout']>; seeds: CalloutSeeds } | null;
  /** By bus user: a role, or collector-<node>. */
  bus: ReadonlyMap<string, BusCredential>;
  /** Arguments of the API server. */
  apiTokens: Record<ApiUser, string>;
}

/** Creates the secrets of a lab and writes the bus passwords to <dir>/secrets. */
export async function makeCredentials(plan: LabPlan): Promise<LabCredentials> {
  const dir = path.join(plan.dir, 'secrets');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { busAuth } = plan.options;
  const identities: Identity[] = [
    ...FIXED_ROLES.map((role) => ({ role })),
    ...(busAuth ? [{ role: 'bus-auth' } as const] : []),
    ...(busAuth ? [] : plan.nodes.map((node) => ({ role: 'collector' as const, node: node.name }))),
  ];
  const bus = new Map<string, BusCredential>();
  const users: NatsUser[] = [];
  for (const identity of identities) {
    const user = userOf(identity);
    const password = newSecret();
    const passwordFile = path.join(dir, `${user}.password`);
    await writeFile(passwordFile, password, { mode: 0o600 });
    bus.set(user, { user, passwordFile });
    users.push(natsUserFor(identity, password));
    // Both connections of a collector read the same file.
    if ('node' in identity) users.push(natsUserFor({ role: 'push', node: identity.node }, password));
  }
  const apiTokens = Object.fromEntries(API_USERS.map((user) => [user, newSecret()])) as Record<ApiUser, string>;
  if (!busAuth) return { users, bus, apiTokens, callout: null };
  for (const node of plan.nodes) {
    const user = userOf({ role: 'collector', node: node.name });
    bus.set(user, { user, tokenFile: tokenFileOf(plan, node) });
  }
  // natsServerConf takes the user of bus-auth from the callout.
  const service = users.find(({ user }) => user === 'bus-auth') as NatsUser;
  const others = users.filter((one) => one !== service);
  return { users: others, bus, apiTokens, callout: await makeCallout(dir, service) };
}

async function makeCallout(dir: string, service: NatsUser): Promise<LabCredentials['callout']> {
  const [issuer, xkey] = [newSeed('issuer'), newSeed('xkey')];
  const seeds = { issuerFile: path.join(dir, 'issuer.seed'), xkeyFile: path.join(dir, 'xkey.seed') };
  await writeFile(seeds.issuerFile, issuer, { mode: 0o600 });
  await writeFile(seeds.xkeyFile, xkey, { mode: 0o600 });
  return { conf: { issuer: publicKeyOf('issuer', issuer), xkey: publicKeyOf('xkey', xkey), service }, seeds };
}

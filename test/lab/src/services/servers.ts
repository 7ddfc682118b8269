/**
 * The three servers of a lab on the host's loopback: NATS with JetStream and one user per identity,
 * Redis, and the stand-in for a Kubernetes API server. The installed programs run without the
 * machine's configuration.
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { natsServerConf } from '@bailiff/bus';
import { LabError } from '../errors.ts';
import type { LabPlan } from '../plan.ts';
import { API_SERVER_BUNDLE } from './build.ts';
import type { Child } from './children.ts';
import { API_USERS, type ApiUser, type LabCredentials } from './credentials.ts';
import { freePort } from './ports.ts';
import type { StartChild } from './start-child.ts';

/** Debian installs servers in directories outside an ordinary user's PATH. */
const SBIN = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin'];
/**
 * Limit for the start of a server or an app that hangs: one takes two minutes in an emulated
 * machine on a busy host.
 */
export const READY_TIMEOUT_MS = 300_000;
/** Another process may take a free port before the server binds it. */
const PORT_ATTEMPTS = 3;

/** @throws LabError LAB_MISSING_PROGRAM */
export function findProgram(names: readonly string[], debianPackage: string): string {
  const dirs = [...(process.env['PATH'] ?? '').split(':').filter(Boolean), ...SBIN];
  for (const name of names) {
    const dir = dirs.find((each) => existsSync(path.join(each, name)));
    if (dir) return path.join(dir, name);
  }
  throw new LabError('LAB_MISSING_PROGRAM', `no ${names.join(' or ')}: install the Debian package ${debianPackage}`);
}

async function withFreePort(
  name: string,
  start: (port: number) => Promise<Child>,
): Promise<{ child: Child; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = await start(port);
    try {
      await child.ready(READY_TIMEOUT_MS);
      return { child, port };
    } catch (error) {
      await child.stop(0);
      if (attempt === PORT_ATTEMPTS) throw error;
      if ((error as LabError).code !== 'LAB_PROCESS_ENDED') throw error;
    }
    if (attempt > PORT_ATTEMPTS) throw new LabError('LAB_NOT_READY', `${name}: no port`);
  }
}

export async function startNatsServer(plan: LabPlan, credentials: LabCredentials, start: StartChild) {
  const program = findProgram(['nats-server'], 'nats-server');
  const confFile = path.join(plan.dir, 'secrets', 'nats.conf');
  const storeDir = path.join(plan.dir, 'nats');
  await mkdir(storeDir, { recursive: true });
  return withFreePort('nats', async (port) => {
    const conf = natsServerConf({
      host: '127.0.0.1',
      port,
      storeDir,
      users: credentials.users,
      ...(credentials.callout ? { authCallout: credentials.callout.conf } : {}),
      serverName: `lab-${plan.id}`,
    });
    await writeFile(confFile, conf, { mode: 0o600 });
    return start({
      name: 'nats',
      command: program,
      args: ['-c', confFile],
      isReady: (line) => line.includes('Server is ready'),
    });
  });
}

export async function startRedisServer(plan: LabPlan, start: StartChild) {
  const program = findProgram(['redis-server', 'valkey-server'], 'redis-server');
  const dir = path.join(plan.dir, 'redis');
  await mkdir(dir, { recursive: true });
  return withFreePort('redis', (port) =>
    start({
      name: 'redis',
      command: program,
      // Nothing is stored on disk: the responder must recover from the streams alone.
      args: ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--dir', dir],
      isReady: (line) => line.includes('Ready to accept connections'),
    }),
  );
}

export interface ApiServerProcess {
  child: Child;
  url: string;
  kubeconfig: (user: ApiUser) => string;
}

export async function startApiServerProcess(
  plan: LabPlan,
  credentials: LabCredentials,
  start: StartChild,
): Promise<ApiServerProcess> {
  const dir = path.join(plan.dir, 'kubernetes');
  await mkdir(dir, { recursive: true });
  let url = '';
  const child = await start({
    name: 'kube-api',
    command: process.execPath,
    args: [
      API_SERVER_BUNDLE,
      '--dir',
      dir,
      ...API_USERS.flatMap((user) => ['--token', `${user}=${credentials.apiTokens[user]}`]),
    ],
    isReady: (line) => {
      if (!line.startsWith('{"url"')) return false;
      url = (JSON.parse(line) as { url: string }).url;
      return true;
    },
  });
  await child.ready(READY_TIMEOUT_MS);
  return { child, url, kubeconfig: (user) => path.join(dir, `${user}.kubeconfig`) };
}

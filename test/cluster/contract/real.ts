// Starts kube-apiserver and etcd from a directory of binaries for one contract run. Ports are free
// ones, data is in a temporary directory, and both processes stop with the run. Service account
// admission is off, because no controller creates the accounts.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { type Access, ApiClient } from './client.ts';

/** A real API server takes seconds to start, and more on a busy machine. */
const startTimeoutMs = 90_000;
const stopTimeoutMs = 10_000;

export interface RealApiServer extends AsyncDisposable {
  access: Access;
}

function start(binary: string, args: string[], logFile: string): ChildProcess {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(logFile);
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await exited;
  clearTimeout(timer);
}

/** Throws with the end of the server's log if the server does not get ready. */
export async function startRealApiServer(assets: string): Promise<RealApiServer> {
  const dir = await mkdtemp(join(tmpdir(), 'bailiff-real-'));
  const file = (name: string) => join(dir, name);
  const [client, peer, port] = [await freePort(), await freePort(), await freePort()];
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  execFileSync('openssl', ['genrsa', '-out', file('sa.key'), '2048'], { stdio: 'ignore' });
  await writeFile(file('tokens.csv'), 'contract-token,contract,contract,"system:masters"\n');
  const etcd = start(
    join(assets, 'etcd'),
    ['--data-dir', file('etcd'), '--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl]
      .concat(['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl])
      .concat(['--initial-cluster', `default=${peerUrl}`, '--unsafe-no-fsync']),
    file('etcd.log'),
  );
  const api = start(
    join(assets, 'kube-apiserver'),
    [
      '--etcd-servers',
      clientUrl,
      '--secure-port',
      String(port),
      '--bind-address',
      '127.0.0.1',
      '--cert-dir',
      file('certs'),
    ]
      .concat(['--service-account-key-file', file('sa.key'), '--service-account-signing-key-file', file('sa.key')])
      .concat(['--service-account-issuer', 'https://kubernetes.default.svc', '--token-auth-file', file('tokens.csv')])
      .concat(['--authorization-mode', 'RBAC', '--disable-admission-plugins', 'ServiceAccount'])
      .concat(['--service-cluster-ip-range', '10.0.0.0/24']),
    file('api.log'),
  );
  const dispose = async () => {
    await stop(api);
    await stop(etcd);
    await rm(dir, { recursive: true, force: true });
  };
  const access: Access = { url: `https://127.0.0.1:${port}`, token: 'contract-token' };
  try {
    await waitFor(() => isReady(access, api), { what: 'the API server is ready', timeoutMs: startTimeoutMs });
  } catch (cause) {
    const log = (await readFile(file('api.log'), 'utf8').catch(() => '')).slice(-2000);
    await dispose();
    throw new Error(`kube-apiserver did not start: ${log}`, { cause });
  }
  return { access, [Symbol.asyncDispose]: dispose };
}

async function isReady(access: Access, api: ChildProcess): Promise<boolean> {
  if (api.exitCode !== null) throw new Error(`it exited with ${api.exitCode}`);
  const client = new ApiClient(access);
  const ready = await client.get('/readyz').catch(() => undefined);
  const namespace = await client.get('/api/v1/namespaces/default').catch(() => undefined);
  return ready?.status === 200 && namespace?.status === 200;
}

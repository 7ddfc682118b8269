/**
 * The API server stand-in as a process: prints its address as one JSON line, runs until SIGTERM or
 * SIGINT. Flags: --port N (default any), --dir DIR (certificates and kubeconfigs; default a
 * temporary directory that is removed at the end), --token USER=TOKEN (repeatable). Exit codes: 0
 * stopped, 1 failed, 2 bad flags.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { TokenUser } from './access/users.ts';
import { startApiServer } from './server.ts';

interface Flags {
  port: number;
  dir: string | undefined;
  tokens: TokenUser[] | undefined;
}

function parseFlags(args: string[]): Flags {
  const { values } = parseArgs({
    args,
    options: { port: { type: 'string' }, dir: { type: 'string' }, token: { type: 'string', multiple: true } },
  });
  const port = Number(values.port ?? 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port: not a port: ${values.port}`);
  const tokens = values.token?.map((pair): TokenUser => {
    const [user, token] = pair.split('=');
    if (!user || !token) throw new Error(`--token: not USER=TOKEN: ${pair}`);
    return { user, token };
  });
  return { port, dir: values.dir, tokens };
}

async function run(args: string[]): Promise<number> {
  let flags: Flags;
  try {
    flags = parseFlags(args);
  } catch (error) {
    process.stderr.write(`${String(error)}\n`);
    return 2;
  }
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  const dir = flags.dir ?? (await mkdtemp(join(tmpdir(), 'bailiff-api-')));
  const server = await startApiServer({ certDir: dir, port: flags.port, tokens: flags.tokens });
  process.stdout.write(
    `${JSON.stringify({ url: server.url, kubeconfig: server.kubeconfigPath(), pid: process.pid })}\n`,
  );
  await ended;
  await server.close();
  if (flags.dir === undefined) await rm(dir, { recursive: true, force: true });
  return 0;
}

process.exitCode = await run(process.argv.slice(2));

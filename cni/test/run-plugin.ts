/** Runs the real plugin as a container runtime does, against a scripted collector on a unix socket. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
  tookMs: number;
}

export interface Call {
  plugin: string;
  command?: string;
  /** The text of stdin, or an object for it. */
  input: unknown;
  env?: Record<string, string | undefined>;
  /** Words before the plugin, such as `nsenter …`. They must exec. */
  wrap?: readonly string[];
  /** Keeps stdin open behind the input. */
  keepStdin?: boolean;
}

export const POD_ARGS =
  'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=uid-1';

/** Ends a plugin that does not end by itself: a test then sees its signal as `code: null`. */
const KILL_AFTER_MS = 20_000;

export async function runPlugin({
  plugin,
  command = 'ADD',
  input,
  env = {},
  wrap = [],
  keepStdin = false,
}: Call): Promise<Outcome> {
  const variables = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/proc/self/ns/net',
    CNI_IFNAME: 'pod0',
    CNI_PATH: '/nowhere',
    CNI_ARGS: POD_ARGS,
    ...env,
  };
  const defined = Object.entries(variables).filter(([, value]) => value !== undefined);
  const startedAt = performance.now();
  const [program = plugin, ...words] = [...wrap, plugin];
  const child = spawn(program, words, { env: Object.fromEntries(defined), stdio: ['pipe', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (chunk: Buffer) => {
      text[name] += chunk.toString();
    });
  // A plugin that refuses its input may end before it has read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.write(typeof input === 'string' || Buffer.isBuffer(input) ? input : JSON.stringify(input));
  if (!keepStdin) child.stdin.end();
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { code, ...text, tookMs: performance.now() - startedAt };
}

/** A collector that answers as a test says. */
export class ScriptedCollector implements AsyncDisposable {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'bailiff-cni-'));
  readonly socket = path.join(this.dir, 'cni.sock');
  readonly requests: Record<string, unknown>[] = [];
  connections = 0;
  #server: Server | null = null;
  readonly #open = new Set<Socket>();

  /** @param answer the answer to a request; null: none, the connection stays open */
  async listen(answer: (request: Record<string, unknown>, socket: Socket) => unknown): Promise<void> {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.connections += 1;
      this.#open.add(socket);
      socket.on('close', () => this.#open.delete(socket));
      socket.on('error', () => undefined);
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.on('end', () => {
        const request = JSON.parse(text) as Record<string, unknown>;
        this.requests.push(request);
        const reply = answer(request, socket);
        if (reply !== null && !socket.destroyed) socket.end(typeof reply === 'string' ? reply : JSON.stringify(reply));
      });
    });
    this.#server.listen(this.socket);
    await once(this.#server, 'listening');
    chmodSync(this.socket, 0o600);
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    if (!this.#server) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
    this.#server = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

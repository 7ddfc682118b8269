/** Stock kubectl as a process: for streams (exec, port-forward) and for plain commands. */
import type { SpawnOptions } from 'node:child_process';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { pause } from '@bailiff/service/retry';
import { launch, type RunningProcess } from '../../support/process.ts';

const RUN_TIMEOUT_MS = 120_000;
const RESTART_PAUSE_MS = 500;
const ATTEMPTS = 6;
const RETRY_PAUSE_MS = 1_000;
const PIPES: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'] };
const NOT_REACHED = /Unable to connect to the server|TLS handshake timeout|connection refused|error dialing backend/;

export class Kubectl {
  readonly #base: string[];

  constructor(kubeconfig: string, context: string) {
    this.#base = ['--kubeconfig', kubeconfig, ...(context ? ['--context', context] : [])];
  }

  start(args: readonly string[]): RunningProcess {
    return launch('kubectl', [...this.#base, ...args], PIPES);
  }

  /**
   * Standard output. Repeated if the server was not reached: then nothing was done. @throws Error
   * with standard error if it fails
   */
  async run(args: readonly string[], { input = '', timeoutMs = RUN_TIMEOUT_MS } = {}): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const { code, out, error } = await ended(this.start(args), { input, timeoutMs });
      if (code === 0) return out;
      if (attempt === ATTEMPTS || !NOT_REACHED.test(error))
        throw new Error(`kubectl ${args.join(' ')}: exit ${code}: ${error.trim()}`);
      await pause(RETRY_PAUSE_MS * attempt);
    }
  }
}

interface RunOptions {
  input: string;
  timeoutMs: number;
}

async function ended({ child, stdout, stderr, exit }: RunningProcess, { input, timeoutMs }: RunOptions) {
  // A command that ends early closes its input; its exit code says why.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const [code, signal] = await exit;
  clearTimeout(timer);
  return { code: code ?? signal, out: stdout(), error: stderr() };
}

/** Standard output of a program. @throws Error with standard error if it fails */
export async function runProgram(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { code, out, error } = await ended(launch(program, args, PIPES), options);
  if (code !== 0) throw new Error(`${path.basename(program)} ${args.join(' ')}: exit ${code}: ${error.trim()}`);
  return out;
}

/** A local port to a Service that is opened again whenever its pod goes away. */
export class PortForward implements AsyncDisposable {
  readonly port: number;
  readonly #kubectl: Kubectl;
  readonly #args: string[];
  #current: RunningProcess | null = null;
  #isClosed = false;
  #loop: Promise<void>;

  private constructor(kubectl: Kubectl, port: number, args: string[]) {
    this.port = port;
    this.#kubectl = kubectl;
    this.#args = args;
    this.#loop = this.#run();
  }

  static async open(kubectl: Kubectl, namespace: string, target: string, remotePort: number): Promise<PortForward> {
    const port = await freePort();
    return new PortForward(kubectl, port, ['-n', namespace, 'port-forward', target, `${port}:${remotePort}`]);
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      this.#current = this.#kubectl.start(this.#args);
      await this.#current.exit;
      if (!this.#isClosed) await pause(RESTART_PAUSE_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#current?.kill('SIGTERM');
    await this.#loop;
  }
}

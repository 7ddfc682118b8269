// Stock kubectl as a child process, with a kubeconfig and a discovery cache of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** kubectl responds in well under a second; tests set the timeouts of drains and waits. */
const runTimeoutMs = 60_000;

export interface KubectlResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface KubectlProcess {
  /** Lines of standard output so far. */
  readonly lines: string[];
  stop(): Promise<void>;
}

export class Kubectl {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #cacheDir: string;

  constructor(kubeconfig: string, cacheDir: string) {
    this.#environment = { ...process.env, KUBECONFIG: kubeconfig };
    this.#cacheDir = cacheDir;
  }

  /** Runs to the end; the exit code is in the result. */
  async run(args: string[], input = ''): Promise<KubectlResult> {
    const child = this.#spawn(args);
    const result = { code: -1, stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      result.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      result.stderr += text;
    });
    child.stdin?.end(input);
    const timer = setTimeout(() => child.kill('SIGKILL'), runTimeoutMs);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    return { ...result, code: code ?? -1 };
  }

  /** Runs and returns standard output; throws with standard error when it fails. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit ${code}: ${stderr}`);
    return stdout;
  }

  /** Starts a command that runs until it is stopped, such as `get -w`. */
  start(...args: string[]): KubectlProcess {
    const child = this.#spawn(args);
    const lines: string[] = [];
    let rest = '';
    child.stdin?.end();
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
    });
    const closed = once(child, 'close');
    const stop = async () => {
      child.kill('SIGTERM');
      await closed;
    };
    return { lines, stop };
  }

  #spawn(args: string[]): ChildProcess {
    return spawn('kubectl', ['--cache-dir', this.#cacheDir, ...args], { env: this.#environment });
  }
}

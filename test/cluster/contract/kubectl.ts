// Stock kubectl as a child process, with a kubeconfig and a discovery cache of its own.

import { launch, type RunningProcess } from '../../support/process.ts';

/** kubectl responds in well under a second; tests set the timeouts of drains and waits. */
const runTimeoutMs = 60_000;

export interface KubectlResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface KubectlProcess {
  /** Lines of standard output so far. */
  lines(): string[];
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
    const { child, stdout, stderr, exit } = this.#launch(args);
    child.stdin?.end(input);
    const timer = setTimeout(() => child.kill('SIGKILL'), runTimeoutMs);
    const [code] = await exit;
    clearTimeout(timer);
    return { code: code ?? -1, stdout: stdout(), stderr: stderr() };
  }

  /** Runs and returns standard output; throws with standard error when it fails. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit ${code}: ${stderr}`);
    return stdout;
  }

  /** Starts a command that runs until it is stopped, such as `get -w`. */
  start(...args: string[]): KubectlProcess {
    const { child, stdout, kill } = this.#launch(args);
    child.stdin?.end();
    return { lines: () => stdout().split('\n').slice(0, -1), stop: () => kill('SIGTERM') };
  }

  #launch(args: string[]): RunningProcess {
    const options = { env: this.#environment, maxOutput: Number.POSITIVE_INFINITY };
    return launch('kubectl', ['--cache-dir', this.#cacheDir, ...args], { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  }
}

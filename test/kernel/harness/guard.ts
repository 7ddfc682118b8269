/**
 * Client of agent.ts: a process in a node's namespace that holds the spoof programs, called by path
 * and arguments.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { nodeArgs } from '../../../tools/children.ts';

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly message: string; readonly code?: string };
}

export class Agent {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #exited: Promise<void>;
  #lastId = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()));
    child.on('message', (answer: Answer) => this.#settle(answer));
    child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`agent ended: ${code ?? signal}`));
    });
  }

  static async start(netns: string): Promise<Agent> {
    const agent = nodeArgs('test/kernel/harness/agent.ts');
    const child = fork(agent.at(-1) as string, [], {
      execPath: 'nsenter',
      execArgv: [`--net=/run/netns/${netns}`, process.execPath, ...agent.slice(0, -1)],
      serialization: 'advanced',
    });
    const started = new Agent(child);
    await new Promise((resolve, reject) => started.#waiting.set(0, { resolve, reject }));
    return started;
  }

  #settle({ id, value, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(Object.assign(new Error(error.message), { code: error.code }));
  }

  /** `object.attach`, `bpf.detachAll`, `own.open`, …: see agent.ts. */
  call<T = unknown>(target: string, ...args: unknown[]): Promise<T> {
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#child.send({ id, target, args });
    });
  }

  /** Like a crash. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }
}

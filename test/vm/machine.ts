/**
 * Boots a stock kernel under qemu in software emulation, with the machine's own file system as
 * root, and runs one command in it. Any number may run in parallel: all names are private. Place in
 * the path: main.ts and test/vm/*.test.ts → here → init.sh.
 *
 * Invariants: qemu and its daemons end with this process (parent-death signal), with the command,
 * at a time limit, and when the caller aborts. Output streams as it arrives; the result keeps at
 * most KEPT_BYTES.
 *
 * Errors: VmError with code VM_UNAVAILABLE, VM_BOOT (never reached the command), VM_TIMEOUT,
 * VM_DIED (ended without an exit code), VM_ABORTED. If a machine ran, they contain the end of its
 * console.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isOnPath } from '../../tools/programs.ts';
import { writeInitrd } from './initrd.ts';
import { DEFAULT_KERNEL, findKernel, repoRoot } from './kernels.ts';
import {
  consoleFile,
  jobScript,
  type MachinePlan,
  PORTS,
  type PortName,
  qemuArguments,
  virtiofsdArguments,
} from './plan.ts';
import { PATIENCE } from './tiers.ts';

/** From qemu's start to the command's; 4 s on an idle machine, many times that on a busy one. */
const BOOT_TIMEOUT_MS = 120_000 * PATIENCE;
/**
 * The emulator makes some boots fail: by an assertion in qemu (iotlb_to_section, while devices are
 * mapped), or by the hang that HANGS matches.
 */
const BOOT_TRIES = 3;
/**
 * A processor of the machine gets no more timer interrupts, which its kernel reports after about 20
 * s; or it gets none at all, and its kernel panics. Neither recovers.
 */
const HANGS = /rcu: \s*Possible timer handling issue on cpu|IO-APIC \+ timer doesn't work/;
/** For each stream, the end is kept. */
const KEPT_BYTES = 16 << 20;
const CONSOLE_KEPT_BYTES = 256 << 10;
const CONSOLE_SHOWN_BYTES = 8 << 10;
const HANG_CHECK_MS = 500;
const SOCKET_TIMEOUT_MS = 20_000;
const VIRTIOFSD = '/usr/libexec/virtiofsd';
const QEMU = 'qemu-system-x86_64';

export type VmErrorCode = 'VM_UNAVAILABLE' | 'VM_BOOT' | 'VM_TIMEOUT' | 'VM_DIED' | 'VM_ABORTED';

export class VmError extends Error {
  override readonly name = 'VmError';
  readonly code: VmErrorCode;
  readonly console: string;
  constructor(code: VmErrorCode, message: string, consoleText = '') {
    super(consoleText === '' ? message : `${message}\n--- end of the console ---\n${consoleText}`);
    this.code = code;
    this.console = consoleText;
  }
}

export interface VmOptions {
  /** Name in kernels.json; default DEFAULT_KERNEL. */
  readonly kernel?: string;
  /** For example `preempt=full`. */
  readonly kernelArgs?: readonly string[];
  /** See MachinePlan; everything takes several times as long. */
  readonly countInstructions?: boolean;
  /** For the command, without the boot. */
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (chunk: Buffer) => void;
  readonly onStderr?: (chunk: Buffer) => void;
  readonly signal?: AbortSignal;
}

export interface VmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly console: string;
  readonly bootMs: number;
  readonly runMs: number;
}

/** The reason why no virtual machine can run here, or null. */
export function whyNoVm(kernel = DEFAULT_KERNEL): string | null {
  if (process.arch !== 'x64') return `no kernel is listed for ${process.arch}`;
  if (process.getuid?.() !== 0) return 'needs root: the root file system is shared with its owners';
  if (!isOnPath(QEMU)) return `${QEMU} is not installed: scripts/setup installs it`;
  if (!existsSync(VIRTIOFSD)) return `${VIRTIOFSD} is not installed: scripts/setup installs it`;
  if (findKernel(kernel) === null)
    return `kernel ${kernel} is not in .cache/kernels: node --import tsx test/vm/fetch.ts ${kernel}`;
  return null;
}

/** What the kernel of a machine has printed; empty before qemu runs. */
function kernelOutput(plan: Pick<MachinePlan, 'dir'>): string {
  const file = consoleFile(plan);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** The kernel of a machine has reported the hang of its boot. */
export const hangs = (plan: Pick<MachinePlan, 'dir'>): boolean => HANGS.test(kernelOutput(plan));

/** Keeps the end of a stream. */
class Tail {
  #chunks: Buffer[] = [];
  #bytes = 0;
  readonly #limit: number;
  constructor(limit: number) {
    this.#limit = limit;
  }
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) > this.#limit) this.#bytes -= this.#chunks.shift()?.length ?? 0;
  }
  text(bytes = this.#limit): string {
    const all = Buffer.concat(this.#chunks);
    return all.subarray(Math.max(0, all.length - bytes)).toString('utf8');
  }
}

/**
 * Starts a process that ends with this one and ignores the terminal's Ctrl-C, which this module
 * handles.
 */
function start(command: string, args: string[], stdin: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
    stdio: [stdin, 'pipe', 'pipe'],
    detached: true,
  });
}

class Machine {
  /** Output of qemu and of the daemons. */
  readonly #messages = new Tail(CONSOLE_KEPT_BYTES);
  readonly stdout = new Tail(KEPT_BYTES);
  readonly stderr = new Tail(KEPT_BYTES);
  /** The emulator failed before the command ran. */
  emulatorFailed = false;
  readonly #options: VmOptions;
  readonly #plan: MachinePlan;
  readonly #servers: Server[] = [];
  readonly #children: ChildProcess[] = [];
  /** Each resolves when a port's socket has been read to its end. */
  readonly #readings: Promise<void>[] = [];
  #readyMs = 0;
  #control = '';
  #hangCheck: NodeJS.Timeout | undefined;
  readonly #received = { stdout: 0, stderr: 0 };
  #onInput: () => void = () => {};

  constructor(plan: MachinePlan, options: VmOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  async run(command: string | readonly string[]): Promise<VmResult> {
    const { timeoutMs, signal } = this.#options;
    const initrd = writeInitrd(this.#plan.kernel, this.#plan.dir);
    writeFileSync(
      path.join(this.#plan.dir, 'job.sh'),
      jobScript(command, this.#plan, { ...process.env, ...this.#options.env }),
    );
    await Promise.all((Object.keys(PORTS) as PortName[]).map((name) => this.#listen(name)));
    await Promise.all([this.#share('root'), this.#share('repo')]);
    const startedMs = performance.now();
    const qemu = start(QEMU, qemuArguments({ ...this.#plan, initrd }));
    this.#children.push(qemu);
    const code = await new Promise<number>((resolve, reject) => {
      const fail = (errorCode: VmErrorCode, message: string) =>
        reject(new VmError(errorCode, message, this.#console(CONSOLE_SHOWN_BYTES)));
      let timer = setTimeout(() => fail('VM_BOOT', `no command ran within ${BOOT_TIMEOUT_MS} ms`), BOOT_TIMEOUT_MS);
      this.#onInput = () => {
        if (this.#readyMs === 0 && /^ready /m.test(this.#control)) {
          this.#readyMs = performance.now();
          clearInterval(this.#hangCheck);
          clearTimeout(timer);
          timer = setTimeout(() => fail('VM_TIMEOUT', `the command did not end within ${timeoutMs} ms`), timeoutMs);
        }
        const [, exit, stdout, stderr] = /^exit (\d+) (\d+) (\d+)\n/m.exec(this.#control) ?? [];
        if (exit === undefined) return;
        // Each stream has its own socket, so the exit code may arrive before the last output.
        if (this.#received.stdout < Number(stdout) || this.#received.stderr < Number(stderr)) return;
        clearTimeout(timer);
        resolve(Number(exit));
      };
      for (const stream of [qemu.stdout, qemu.stderr])
        stream?.on('data', (chunk: Buffer) => this.#messages.push(chunk));
      this.#hangCheck = setInterval(() => {
        if (!hangs(this.#plan)) return;
        this.emulatorFailed = true;
        fail('VM_BOOT', 'the emulated machine hangs in its boot');
      }, HANG_CHECK_MS);
      const abort = () => fail('VM_ABORTED', 'stopped by the caller');
      if (signal?.aborted) abort();
      signal?.addEventListener('abort', abort, { once: true });
      qemu.on('error', (error) => fail('VM_BOOT', `${QEMU}: ${error.message}`));
      qemu.on('close', async (exitCode, exitSignal) => {
        // The machine's last messages may still be in the sockets, for example the one that it was
        // ready.
        await Promise.all(this.#readings);
        clearTimeout(timer);
        this.emulatorFailed = this.#readyMs === 0 && (exitSignal === 'SIGABRT' || hangs(this.#plan));
        fail(
          this.#readyMs === 0 ? 'VM_BOOT' : 'VM_DIED',
          `the machine ended without an exit code of the command (${QEMU}: ${exitCode ?? exitSignal})`,
        );
      });
    });
    const endedMs = performance.now();
    return {
      code,
      stdout: this.stdout.text(),
      stderr: this.stderr.text(),
      console: this.#console(CONSOLE_KEPT_BYTES),
      bootMs: Math.round(this.#readyMs - startedMs),
      runMs: Math.round(endedMs - this.#readyMs),
    };
  }

  /** The end of what the kernel, qemu and the daemons printed. */
  #console(bytes: number): string {
    return `${kernelOutput(this.#plan)}${this.#messages.text()}`.slice(-bytes);
  }

  async #listen(name: PortName): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => this.#receive(name, chunk));
      this.#readings.push(new Promise((resolve) => socket.once('close', () => resolve())));
    });
    server.listen(path.join(this.#plan.dir, `${name}.sock`));
    this.#servers.push(server);
    await once(server, 'listening');
  }

  #receive(name: PortName, chunk: Buffer): void {
    if (name === 'control') {
      this.#control += chunk.toString('latin1');
    } else {
      this.#received[name] += chunk.length;
      this[name].push(chunk);
      (name === 'stdout' ? this.#options.onStdout : this.#options.onStderr)?.(chunk);
    }
    this.#onInput();
  }

  /** Starts a file system daemon and waits for its socket. */
  async #share(tag: 'root' | 'repo'): Promise<void> {
    const child = start(VIRTIOFSD, virtiofsdArguments(this.#plan, tag));
    this.#children.push(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString('utf8');
        this.#messages.push(chunk);
      });
    }
    const socket = path.join(this.#plan.dir, `${tag}.sock`);
    const endMs = performance.now() + SOCKET_TIMEOUT_MS;
    let failed = '';
    child.on('error', (error) => {
      failed = error.message;
    });
    while (!existsSync(socket)) {
      if (failed !== '' || child.exitCode !== null || child.signalCode !== null || output.includes('ERROR'))
        throw new VmError('VM_BOOT', `virtiofsd: ${failed}${output}`);
      if (performance.now() > endMs) throw new VmError('VM_BOOT', `virtiofsd made no ${socket}: ${output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#hangCheck);
    for (const server of this.#servers) server.close();
    // qemu first, which needs its daemons as long as it runs.
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    }
    rmSync(this.#plan.dir, { recursive: true, force: true });
  }
}

/**
 * Runs a shell line, or an argument list, with the repository as working directory. A nonzero exit
 * code is no error here.
 */
export async function runInVm(command: string | readonly string[], options: VmOptions): Promise<VmResult> {
  const name = options.kernel ?? DEFAULT_KERNEL;
  const kernel = findKernel(name);
  const why = whyNoVm(name);
  if (why !== null || kernel === null) throw new VmError('VM_UNAVAILABLE', why ?? `no kernel ${name}`);
  for (let tries = 1; ; tries++) {
    const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-vm-'));
    const { kernelArgs = [], countInstructions = false } = options;
    const machine = new Machine({ kernel, repo: repoRoot, dir, kernelArgs, countInstructions }, options);
    try {
      return await machine.run(command);
    } catch (error) {
      if (!machine.emulatorFailed || tries === BOOT_TRIES) throw error;
    } finally {
      await machine.stop();
    }
  }
}

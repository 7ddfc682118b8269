/**
 * Runs one short command to its end, with limits on output and time. An error contains the
 * command's own output. See lines.ts for long-running processes.
 */
import { spawn } from 'node:child_process';
import { LabError } from '../errors.ts';

export interface ExecOptions {
  input?: string | Buffer;
  env?: Record<string, string>;
  /**
   * Default 60 s, as a limit for hangs. The slowest command is a CNI plugin that waits 1.5 s for
   * duplicate address detection.
   */
  timeoutMs?: number;
  cwd?: string;
  /** Ends the command with all its children. */
  signal?: AbortSignal;
}

/** Limit of kept output. */
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

/**
 * The command's stdout. @throws LabError LAB_COMMAND_FAILED (with stderr), LAB_COMMAND_TIMEOUT,
 * LAB_MISSING_PROGRAM
 */
export function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const line = [command, ...args].join(' ').slice(0, 300);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: options.cwd,
      // Ctrl-C in a terminal must not interrupt a command that removes something.
      detached: true,
      env: options.env ? { ...process.env, ...options.env } : process.env,
    });
    const output = { stdout: '', stderr: '' };
    const take = (key: 'stdout' | 'stderr') => (chunk: Buffer) => {
      if (output[key].length < MAX_OUTPUT_BYTES) output[key] += chunk.toString();
    };
    child.stdout.on('data', take('stdout'));
    child.stderr.on('data', take('stderr'));
    let timedOut = false;
    // The child leads a process group, which is killed as a whole.
    const kill = () => child.pid !== undefined && child.exitCode === null && process.kill(-child.pid, 'SIGKILL');
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, timeoutMs);
    options.signal?.addEventListener('abort', kill, { once: true });
    const over = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', kill);
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      over();
      const code = cause.code === 'ENOENT' ? 'LAB_MISSING_PROGRAM' : 'LAB_COMMAND_FAILED';
      reject(new LabError(code, `${line}: ${cause.message}`, { cause }));
    });
    child.on('close', (status, signal) => {
      over();
      if (status === 0) return resolve(output.stdout);
      if (timedOut) return reject(new LabError('LAB_COMMAND_TIMEOUT', `${line}: not finished after ${timeoutMs} ms`));
      const text = (output.stderr || output.stdout).trim().slice(-2000);
      reject(new LabError('LAB_COMMAND_FAILED', `${line}: ${signal ?? `exit ${status}`}${text ? `: ${text}` : ''}`));
    });
    // A command that exits without reading its input closes the pipe; its exit status is the
    // result.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

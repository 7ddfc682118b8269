import { type ChildProcess, spawn } from 'node:child_process';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../tools/children.ts';
import { HASTY, type Rig } from '../../cluster/responder/rig.ts';

export interface Victim extends AsyncDisposable {
  /** The signal it died by, or its exit code as text. */
  readonly ended: Promise<string>;
  kill(): Promise<void>;
}

/** A responder in a process of its own, ready; `killAt` is `<step>/<action>`. */
export async function startVictim(rig: Rig, killAt = '', more: Parameters<Rig['argv']>[0] = {}): Promise<Victim> {
  const child: ChildProcess = spawn(
    process.execPath,
    [...nodeArgs('test/chaos/responder/child.ts'), ...rig.argv({ ...HASTY, ...more })],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, KILL_AT: killAt },
    },
  );
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  let log = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-8_000);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      process.off('exit', killAtExit);
      resolve(signal ?? String(code));
    });
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  await waitFor(() => log.includes('"msg":"ready"') || child.exitCode !== null || child.signalCode !== null, {
    what: 'the child to be ready',
    timeoutMs: 30_000,
    state: () => log,
  });
  return { ended, kill, [Symbol.asyncDispose]: kill };
}

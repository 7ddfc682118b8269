/**
 * Mutual exclusion between processes of the machine by a file lock, which the kernel releases with
 * its holder. Node.js has no file locks, so a `flock` process of util-linux holds it until its
 * input is closed.
 */
import { LabError } from '../errors.ts';
import { startLines } from './lines.ts';

const HELD = 'held';
/** Inherits the lock and keeps it until its input ends. */
const HOLD = `echo ${HELD}; exec cat`;

/**
 * Waits for the lock without limit. @throws LabError LAB_INTERRUPTED if the signal aborts the wait;
 * LAB_PROCESS_ENDED
 */
export async function alone<T>(file: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  let got: () => void = () => undefined;
  const held = new Promise<'held'>((resolve) => {
    got = () => resolve('held');
  });
  const holder = await startLines('flock', [file, 'sh', '-c', HOLD], { onLine: got });
  const giveUp = () => holder.hasEnded() || process.kill(-holder.pid, 'SIGKILL');
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    if (signal?.aborted) giveUp();
    if ((await Promise.race([held, holder.ended])) !== 'held') {
      if (signal?.aborted) throw new LabError('LAB_INTERRUPTED', 'interrupted');
      throw new LabError('LAB_PROCESS_ENDED', `no lock of ${file}: ${holder.stderrTail()}`);
    }
    return await work();
  } finally {
    signal?.removeEventListener('abort', giveUp);
    holder.closeInput();
    await holder.ended;
  }
}

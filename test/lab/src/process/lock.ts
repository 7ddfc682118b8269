/**
 * Work that only one process of the machine does at a time, whoever else wants to: a lock of a file, which the kernel gives back however its
 * holder ends. Node.js has none, so a process of util-linux's `flock` holds it for this one until its input ends.
 */
import { LabError } from '../errors.ts';
import { startLines } from './lines.ts';

const HELD = 'held';
/** Inherits the lock and keeps it until its input ends. */
const HOLD = `echo ${HELD}; exec cat`;

/** Waits until nobody else has the lock, however long that takes. @throws LabError LAB_INTERRUPTED when the signal aborts before; LAB_PROCESS_ENDED */
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

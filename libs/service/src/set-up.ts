/** What every app does while it waits for the set-up of the bus: it is not ready, and its log says why. */
import type { ServiceContext } from './run.ts';

/** The options of the bus's `whenSetUp`. */
export function setUpOptionsOf({ signal, health, log }: Pick<ServiceContext<unknown>, 'signal' | 'health' | 'log'>) {
  return { signal, health, onWait: (err: Error) => log.warn({ err }, 'waiting for the set-up of the bus') };
}

/** What every app does while it waits for the set-up of the bus, or is refused by it: it is not ready, and its log says why. */
import type { ServiceContext } from './run.ts';

/** The options of the bus's `whenSetUp`. */
export function setUpOptionsOf({ signal, health, log }: Pick<ServiceContext<unknown>, 'signal' | 'health' | 'log'>) {
  return { signal, health, onWait: (err: Error) => log.warn({ err }, 'waiting for the set-up of the bus') };
}

/** For the bus's `onLoginRefused`. */
export function refusedLoginOf({ log }: Pick<ServiceContext<unknown>, 'log'>) {
  return (err: Error) =>
    log.error({ err }, 'the bus refuses the login; it is tried again, with what the file says then');
}

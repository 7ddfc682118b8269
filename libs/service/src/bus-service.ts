/** What a service does while the bus is away, not set up, or refuses it: it is not ready, and its log says why. */
import type { ServiceContext } from './run.ts';

/** The first argument of the bus's `connectService`. */
export function busServiceOf({
  signal,
  health,
  onStop,
  log,
}: Pick<ServiceContext<unknown>, 'signal' | 'health' | 'onStop' | 'log'>) {
  return {
    signal,
    health,
    onStop,
    onWait: (what: string, err: Error) => log.warn({ err }, `waiting for ${what}`),
    onLoginRefused: (err: Error) =>
      log.error({ err }, 'the bus refuses the login; it is tried again, with what the file says then'),
  };
}

/**
 * Connects the process frame to the bus: readiness, shutdown and log lines while the bus is
 * unavailable, not set up, or rejects the login, and when a stream was recreated.
 */
import type { ServiceContext } from './run.ts';

/** First argument of `connectService` (libs/bus). */
export function busServiceOf({
  signal,
  health,
  onStop,
  log,
  onCertificates,
}: Pick<ServiceContext<unknown>, 'signal' | 'health' | 'onStop' | 'log' | 'onCertificates'>) {
  return {
    signal,
    health,
    onStop,
    onCertificates,
    onWait: (what: string, err: Error) => log.warn({ err }, `waiting for ${what}`),
    onLoginRefused: (err: Error) =>
      log.error({ err }, 'the bus rejects the login; it is retried with the current content of the file'),
    onRecreated: (stream: string) => log.warn({ stream }, 'stream recreated; reading it from its beginning'),
  };
}

/**
 * When the certificate of Redis ends. A connection shows the certificate of its handshake, also after the
 * server got another one, so this makes a new handshake now and then, without a login.
 */
import tls from 'node:tls';
import { type CertificateEnd, certificateEnd, watchEnds } from '@bailiff/bus';
import { onAbort } from '@bailiff/service/retry';
import type { RedisOptions } from 'ioredis';
import type { RedisTls } from './redis-options.ts';

const TIMEOUT_MS = 5_000;

/** @returns the newest reading; none without TLS */
export const watchRedisCertificate = (redis: RedisOptions, signal: AbortSignal): (() => readonly CertificateEnd[]) =>
  redis.tls ? watchEnds(() => endOf(redis, signal), signal) : () => [];

/** As in the status of the instance. */
export const reportedEnds = (
  ends: readonly CertificateEnd[],
): { what: string; notAfter: string; notBefore?: string }[] =>
  ends.map(({ what, notAfterMs, notBeforeMs = Number.NaN }) => ({
    what,
    notAfter: new Date(notAfterMs).toISOString(),
    ...(Number.isNaN(notBeforeMs) ? {} : { notBefore: new Date(notBeforeMs).toISOString() }),
  }));

/** null: Redis cannot be reached, or a client certificate does not fit its key, which the connection reports. */
async function endOf(redis: RedisOptions, signal: AbortSignal): Promise<CertificateEnd[] | null> {
  const { renewed, ...given } = (redis.tls ?? {}) as tls.ConnectionOptions & Pick<RedisTls, 'renewed'>;
  let socket: tls.TLSSocket;
  try {
    // Nothing secret is sent, and the end of a certificate that is not accepted matters most.
    const { port = 6379, host = '' } = redis;
    socket = tls.connect({ ...given, ...renewed?.(), port, host, rejectUnauthorized: false });
  } catch {
    return null;
  }
  return new Promise((resolve) => {
    const end = (found: CertificateEnd[] | null) => {
      forget();
      socket.destroy();
      resolve(found);
    };
    const forget = onAbort(signal, () => end(null));
    socket.setTimeout(TIMEOUT_MS, () => end(null));
    socket.on('error', () => end(null));
    socket.once('secureConnect', () => {
      const { valid_from, valid_to } = socket.getPeerCertificate();
      const found = certificateEnd('Redis certificate', valid_from, valid_to);
      end(Number.isNaN(found.notAfterMs) ? null : [found]);
    });
  });
}

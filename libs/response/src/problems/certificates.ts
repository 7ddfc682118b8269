/** Certificates that end soon. Pure. */
import type { CertificateEnd } from '@bailiff/bus';
import { EXIT } from '@bailiff/service/exit-codes';
import { span } from '../status/text.ts';
import { type Problem, shout, warn } from './problem.ts';

/** Warn from here on; the chart renews a certificate before. */
export const WARN_BEFORE_MS = 30 * 86_400_000;
/** From here on it is a failure. */
export const FAIL_BEFORE_MS = 3 * 86_400_000;

/** Why the certificates could not be read, or when they end. */
export type CertificateFacts = string | readonly CertificateEnd[];

const RENEW = 'renew it and reload the servers: docs/bus-credentials.md#before-the-certificate-ends';

export function certificateProblems(certificates: CertificateFacts, nowMs: number): Problem[] {
  if (typeof certificates === 'string') return [warn('bus', certificates, '', 'certificates')];
  return certificates.flatMap(({ what, notAfterMs }): Problem[] => {
    const leftMs = notAfterMs - nowMs;
    if (leftMs > WARN_BEFORE_MS) return [];
    const text = leftMs > 0 ? `its ${what} ends in ${span(leftMs)}` : `its ${what} ended ${span(-leftMs)} ago`;
    return leftMs > FAIL_BEFORE_MS
      ? [warn('bus', text, RENEW, 'certificates')]
      : [shout('bus', text, RENEW, EXIT.dependencyUnreachable, 'certificates')];
  });
}

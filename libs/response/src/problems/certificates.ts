/** Certificates that end soon. Pure. */
import type { CertificateEnd } from '@bailiff/bus';
import type { InstanceStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { span } from '../status/text.ts';
import { activeInstances } from './instances.ts';
import { type Problem, shout, warn } from './problem.ts';

/** Warn from here on, or from the last third of its life, when cert-manager renews it. */
export const WARN_BEFORE_MS = 30 * 86_400_000;
/** From here on it is a failure, or from the last thirtieth of its life. */
export const FAIL_BEFORE_MS = 3 * 86_400_000;

/** Why the certificates could not be read, or when they end. */
export type CertificateFacts = string | readonly CertificateEnd[];

const RENEW_REDIS = 'renew it and restart Redis: without it, verdicts get no response';
const RENEW = 'renew it and reload the servers: docs/bus-credentials.md#before-the-certificate-ends';

export function certificateProblems(certificates: CertificateFacts, nowMs: number): Problem[] {
  if (typeof certificates === 'string') return [warn('bus', certificates, '', 'certificates')];
  return certificates.flatMap((one) => endProblem('bus', one, nowMs, RENEW));
}

/** Certificates of servers that services report. Replicas report the same one. */
export function serviceCertificateProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const earliest = new Map<string, { service: string; end: CertificateEnd }>();
  for (const { service, certificates = [] } of activeInstances(instances, nowMs)) {
    for (const { what, notAfter, notBefore = '' } of certificates) {
      const end = { what, notAfterMs: Date.parse(notAfter), notBeforeMs: Date.parse(notBefore) };
      const known = earliest.get(`${service} ${what}`);
      if (!(end.notAfterMs >= (known?.end.notAfterMs ?? Number.POSITIVE_INFINITY)))
        earliest.set(`${service} ${what}`, { service, end });
    }
  }
  return [...earliest.values()].flatMap(({ service, end }) => endProblem(service, end, nowMs, RENEW_REDIS));
}

function endProblem(at: string, end: CertificateEnd, nowMs: number, remedy: string): Problem[] {
  const { what, notAfterMs, notBeforeMs = Number.NaN } = end;
  const leftMs = notAfterMs - nowMs;
  const lifeMs = Number.isNaN(notBeforeMs) ? Number.POSITIVE_INFINITY : notAfterMs - notBeforeMs;
  if (!(leftMs <= Math.min(WARN_BEFORE_MS, lifeMs / 3))) return [];
  const text = leftMs > 0 ? `its ${what} ends in ${span(leftMs)}` : `its ${what} ended ${span(-leftMs)} ago`;
  return leftMs > Math.min(FAIL_BEFORE_MS, lifeMs / 30)
    ? [warn(at, text, remedy, 'certificates')]
    : [shout(at, text, remedy, EXIT.dependencyUnreachable, 'certificates')];
}

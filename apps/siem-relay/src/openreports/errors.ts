/** What a failed request for a report means to the delivery engine. Pure. */
import { KubeError, type KubeErrorCode } from '@bailiff/kube';
import { DeliveryError, type DeliveryErrorCode } from '../outputs/output.ts';

const CODES: Partial<Record<KubeErrorCode, DeliveryErrorCode>> = {
  KUBE_UNREACHABLE: 'OUTPUT_UNREACHABLE',
  KUBE_TIMEOUT: 'OUTPUT_TIMEOUT',
  KUBE_TOO_MANY_REQUESTS: 'OUTPUT_BUSY',
  KUBE_CONFIG: 'OUTPUT_MISCONFIGURED',
  KUBE_UNAUTHORIZED: 'OUTPUT_MISCONFIGURED',
  KUBE_NOT_FOUND: 'OUTPUT_MISCONFIGURED',
  KUBE_INVALID: 'OUTPUT_REFUSED',
  KUBE_TOO_LARGE: 'OUTPUT_REFUSED',
};

/** The namespace was deleted, or ends: the server creates nothing in it. */
export const isNamespaceGone = (error: unknown): boolean =>
  error instanceof KubeError &&
  ((error.code === 'KUBE_NOT_FOUND' && /namespaces "[^"]*" not found/.test(error.message)) ||
    (error.code === 'KUBE_FORBIDDEN' && /because it is being terminated/.test(error.message)));

/**
 * A missing right holds for every namespace. Any other 403 is of one namespace, such as its quota or an
 * admission policy, and must not delay the others.
 */
export function deliveryErrorOf(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  const { code, message, retryAfterMs } = error;
  const isRight = /cannot (get|list|create|patch|delete) resource/.test(message);
  const forbidden: DeliveryErrorCode = isRight ? 'OUTPUT_MISCONFIGURED' : 'OUTPUT_REFUSED';
  const found = code === 'KUBE_FORBIDDEN' ? forbidden : (CODES[code] ?? 'OUTPUT_FAILED');
  const text =
    code === 'KUBE_NOT_FOUND'
      ? 'the cluster has no reports of openreports.io/v1alpha1: install its definition'
      : message;
  return new DeliveryError(found, text, { cause: error, retryAfterMs });
}

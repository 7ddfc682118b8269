/** Responses as table rows and JSON lines. Pure. */
import type { Response } from '@bailiff/schemas';
import { matchesPod, type PodSelector } from '../pod-selector.ts';
import { clockTime, isoMicros } from '../text.ts';

export const PHASES = [
  'pending',
  'approved',
  'started',
  'succeeded',
  'dryrun',
  'refused',
  'failed',
  'undone',
] as const satisfies readonly Response['phase'][];

export interface ResponseRow {
  /** Sequence in RESPONSES. */
  sequence: number;
  storedAtMicros: number;
  response: Response;
}

export interface ResponseFilter {
  pod?: PodSelector | null;
  namespace?: string | undefined;
  node?: string | undefined;
  action?: string | undefined;
  phase?: string | undefined;
  /** Prefix of a verdict id. */
  verdict?: string | undefined;
}

export const podOf = (response: Response) => ({
  namespace: response.podNamespace,
  name: response.podName,
  uid: response.podUid,
});

export function matchesResponse(response: Response, filter: ResponseFilter): boolean {
  const { pod, namespace, node, action, phase, verdict } = filter;
  if (node !== undefined && response.nodeName !== node) return false;
  if (action !== undefined && response.action !== action) return false;
  if (phase !== undefined && response.phase !== phase) return false;
  if (verdict !== undefined && !response.verdictId.startsWith(verdict)) return false;
  if (namespace !== undefined && response.podNamespace !== namespace) return false;
  return !pod || matchesPod(pod, podOf(response));
}

/**
 * `/api/v1/namespaces/shop/pods/web-0/eviction` → `pods/web-0/eviction`: another column has the
 * namespace.
 */
const shortPath = (path: string) => path.replace(/^\/apis?\/([^/]+\/)?v[^/]+\/(namespaces\/[^/]+\/)?/, '');

/** The expiry, and the reason or else the API request. */
export function responseText(response: Response, nowMs: number): string {
  const { phase, reason, reasonCode, apiVerb, apiPath, apiStatus, expiresAt } = response;
  const request = apiVerb === '' ? '' : `${apiVerb} ${shortPath(apiPath)} → ${apiStatus}`;
  const until = phase === 'succeeded' && expiresAt !== null ? `until ${clockTime(expiresAt, nowMs)}` : '';
  return [until, reason || request || reasonCode].filter(Boolean).join(', ');
}

export function responseJson({ response, sequence, storedAtMicros }: ResponseRow): Record<string, unknown> {
  const { recordedAt, expiresAt, ...rest } = response;
  return {
    sequence,
    storedAt: isoMicros(storedAtMicros),
    recordedAt: isoMicros(recordedAt),
    expiresAt: expiresAt === null ? null : isoMicros(expiresAt),
    ...rest,
  };
}

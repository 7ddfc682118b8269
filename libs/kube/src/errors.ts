/**
 * Errors of the Kubernetes API as one typed error with a stable code. Only this file decides
 * whether a retry can help, so no caller interprets status codes.
 */

export type KubeErrorCode =
  /** The kubeconfig cannot be used. */
  | 'KUBE_CONFIG'
  /** No connection, or it broke before a response. */
  | 'KUBE_UNREACHABLE'
  /** No response in time. */
  | 'KUBE_TIMEOUT'
  /** A watch received no data within the inactivity time. */
  | 'KUBE_INACTIVE'
  /** 401: the API server does not accept this credential. */
  | 'KUBE_UNAUTHORIZED'
  /** 403: the credential lacks the permission. */
  | 'KUBE_FORBIDDEN'
  /** 404. */
  | 'KUBE_NOT_FOUND'
  /** Stale resourceVersion, or a precondition (UID) that does not hold. */
  | 'KUBE_CONFLICT'
  /** 409: an object of that name exists. */
  | 'KUBE_ALREADY_EXISTS'
  /** 410: the resourceVersion or continue token is too old. */
  | 'KUBE_GONE'
  /**
   * 400, 422 and any other refusal of the request itself; also an object that etcd refuses for its size, and one
   * that an admission policy or a quota refuses with 403.
   */
  | 'KUBE_INVALID'
  /** 429: throttled, or a disruption budget refuses an eviction. */
  | 'KUBE_TOO_MANY_REQUESTS'
  /** 5xx: the API server failed. */
  | 'KUBE_SERVER'
  /** The response is not JSON, or an event exceeds a limit. */
  | 'KUBE_PROTOCOL'
  /** The response exceeds a limit. */
  | 'KUBE_TOO_LARGE'
  /** Aborted because the process stops. */
  | 'KUBE_ABORTED';

export interface KubeErrorData {
  /** HTTP status; 0 without a response. */
  status?: number;
  /** `reason` of the Status object; empty without one. */
  reason?: string;
  /** From Retry-After or Status.details; null if the server named no time. */
  retryAfterMs?: number | null;
}

export class KubeError extends Error {
  readonly code: KubeErrorCode;
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs: number | null;
  /** 6 for an unusable kubeconfig; otherwise the process frame decides. */
  readonly exitCode: number | undefined;

  constructor(code: KubeErrorCode, message: string, data: KubeErrorData = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KubeError';
    this.code = code;
    this.status = data.status ?? 0;
    this.reason = data.reason ?? '';
    this.retryAfterMs = data.retryAfterMs ?? null;
    this.exitCode = code === 'KUBE_CONFIG' ? 6 : undefined;
  }

  /** True if the same request may succeed later without any change. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

const RETRYABLE: ReadonlySet<KubeErrorCode> = new Set([
  'KUBE_UNREACHABLE',
  'KUBE_TIMEOUT',
  'KUBE_INACTIVE',
  'KUBE_TOO_MANY_REQUESTS',
  'KUBE_SERVER',
]);

/** Upper bound of the wait that a server requests. */
export const MAX_RETRY_AFTER_MS = 60_000;

interface StatusObject {
  kind?: unknown;
  code?: unknown;
  reason?: unknown;
  message?: unknown;
  details?: { retryAfterSeconds?: unknown } | null;
}

/** The result of a request; null if it fails with this code. */
export async function nullOn<T>(code: KubeErrorCode, request: Promise<T>): Promise<T | null> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof KubeError && error.code === code) return null;
    throw error;
  }
}

/** The namespace was deleted, or ends: the server creates nothing in it, also no eviction. */
export const isNamespaceGone = (error: unknown): boolean =>
  error instanceof KubeError &&
  ((error.code === 'KUBE_NOT_FOUND' && /namespaces "[^"]*" not found/.test(error.message)) ||
    (error.code === 'KUBE_FORBIDDEN' && /because it is being terminated/.test(error.message)));

const CODE_OF_STATUS: Record<number, KubeErrorCode> = {
  400: 'KUBE_INVALID',
  401: 'KUBE_UNAUTHORIZED',
  403: 'KUBE_FORBIDDEN',
  404: 'KUBE_NOT_FOUND',
  409: 'KUBE_CONFLICT',
  410: 'KUBE_GONE',
  422: 'KUBE_INVALID',
  429: 'KUBE_TOO_MANY_REQUESTS',
};

/**
 * Error of a response, by HTTP status and the reason of a Status body.
 * @param status 0 for an ERROR event of a watch: the code of the Status then counts
 */
export function errorOfStatus(status: number, body: unknown, what: string, retryAfter?: string): KubeError {
  const object: StatusObject = typeof body === 'object' && body !== null ? body : {};
  const code = status || (typeof object.code === 'number' ? object.code : 500);
  const reason = typeof object.reason === 'string' ? object.reason : '';
  const text = typeof object.message === 'string' ? object.message : reason || `status ${code}`;
  const data = { status: code, reason, retryAfterMs: retryAfterMs(retryAfter, object) };
  return new KubeError(codeOf(code, reason, text), `${what}: ${text}`, data);
}

/** The author of an object chooses its size. etcd refuses what is too large, and the API server reports that as 500. */
const TOO_LARGE = /etcdserver: request is too large|trying to send message larger than max/;

/**
 * An admission policy or webhook chooses its status, and a quota has 403: these are about the object, whose author
 * chooses what they see, and not about the rights of the account. Names of objects contain no blank.
 */
const OF_ADMISSION =
  / denied the request|denied request: |(exceeded|failed|status unknown for) quota: |insufficient quota to consume: /;

function codeOf(status: number, reason: string, text: string): KubeErrorCode {
  if (reason === 'AlreadyExists') return 'KUBE_ALREADY_EXISTS';
  // Some servers report these as 410, others as 400 or 500 with this reason.
  if (reason === 'Expired' || reason === 'Gone') return 'KUBE_GONE';
  if (status === 500 && TOO_LARGE.test(text)) return 'KUBE_INVALID';
  if (status === 403 && OF_ADMISSION.test(text)) return 'KUBE_INVALID';
  return CODE_OF_STATUS[status] ?? (status >= 500 ? 'KUBE_SERVER' : 'KUBE_INVALID');
}

function retryAfterMs(header: string | undefined, { details }: StatusObject): number | null {
  const seconds = header !== undefined && /^\d+$/.test(header) ? Number(header) : details?.retryAfterSeconds;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 0) return null;
  return Math.min(seconds * 1000, MAX_RETRY_AFTER_MS);
}

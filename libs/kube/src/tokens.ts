/** Service account tokens: request one, and review one with the API server. */
import { apiPath, type KubeApi } from './client.ts';

/** User of a token, as the API server reports it. */
export interface TokenUserInfo {
  username?: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
}

/** `status` of a TokenReview. */
export interface TokenReviewStatus {
  authenticated?: boolean;
  /**
   * Requested audiences that the token is valid for. A server without audience support returns
   * none.
   */
  audiences?: string[];
  user?: TokenUserInfo;
  /** Why the token is invalid. */
  error?: string;
}

interface CallOptions {
  signal?: AbortSignal;
  timeoutMs?: number;
}

const AUTHENTICATION = 'authentication.k8s.io/v1';
const timing = ({ signal, timeoutMs }: CallOptions) => ({
  ...(signal ? { signal } : {}),
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
});

/**
 * Reviews a token for audiences. A single attempt, because a client waits for the result. @throws
 * KubeError
 */
export async function reviewToken(
  client: KubeApi,
  token: string,
  audiences: readonly string[],
  options: CallOptions = {},
): Promise<TokenReviewStatus> {
  const answer = await client.request<{ status?: TokenReviewStatus }>({
    verb: 'POST',
    path: `/apis/${AUTHENTICATION}/tokenreviews`,
    body: { apiVersion: AUTHENTICATION, kind: 'TokenReview', spec: { token, audiences } },
    attempts: 1,
    ...timing(options),
  });
  return answer?.status ?? {};
}

export interface TokenRequestOptions extends CallOptions {
  audiences: readonly string[];
  /** A real server issues tokens for at least ten minutes. */
  expirationSeconds?: number;
  /** The pod that the token is bound to. */
  pod?: { name: string; uid: string };
}

/**
 * Requests a token, as a kubelet does for a pod. @throws KubeError KUBE_NOT_FOUND, KUBE_CONFLICT
 * (the pod's UID differs)
 */
export async function requestToken(
  client: KubeApi,
  account: { namespace: string; name: string },
  options: TokenRequestOptions,
): Promise<{ token: string; expirationTimestamp: string }> {
  const { audiences, expirationSeconds, pod } = options;
  const answer = await client.request<{ status: { token: string; expirationTimestamp: string } }>({
    verb: 'POST',
    path: apiPath`/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`,
    body: {
      apiVersion: AUTHENTICATION,
      kind: 'TokenRequest',
      spec: {
        audiences,
        ...(expirationSeconds === undefined ? {} : { expirationSeconds }),
        ...(pod ? { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', ...pod } } : {}),
      },
    },
    ...timing(options),
  });
  return answer.status;
}

/** Tokens of service accounts: asking for one, and asking the API server whose one is. */
import { apiPath, type KubeApi } from './client.ts';

/** What an API server knows of a token's holder. */
export interface TokenUserInfo {
  username?: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
}

/** `status` of a TokenReview. */
export interface TokenReviewStatus {
  authenticated?: boolean;
  /** Those of the asked ones that the token is for; a server that knows nothing of audiences names none. */
  audiences?: string[];
  user?: TokenUserInfo;
  /** Why it is nobody's. */
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
 * Asks whose a token is, if it is for one of the audiences. One attempt: who asks has somebody waiting. @throws KubeError
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
  /** A real server gives ten minutes at least. */
  expirationSeconds?: number;
  /** The pod that the token is for, and ends with. */
  pod?: { name: string; uid: string };
}

/** Asks for a token, as a kubelet does for a pod. @throws KubeError KUBE_NOT_FOUND, KUBE_CONFLICT (the pod's uid is another) */
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

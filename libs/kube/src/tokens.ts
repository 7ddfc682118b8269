/** Service account tokens, reviewed by the API server. */
import type { CallOptions } from './calls.ts';
import type { KubeApi } from './client.ts';

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

const AUTHENTICATION = 'authentication.k8s.io/v1';

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
    ...options,
    verb: 'POST',
    path: `/apis/${AUTHENTICATION}/tokenreviews`,
    body: { apiVersion: AUTHENTICATION, kind: 'TokenReview', spec: { token, audiences } },
    attempts: 1,
  });
  return answer?.status ?? {};
}

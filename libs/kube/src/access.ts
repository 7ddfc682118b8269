/** Access of another user, decided by the API server: SubjectAccessReview. */
import type { KubeApi } from './client.ts';
import type { TokenUserInfo } from './tokens.ts';

const AUTHORIZATION = 'authorization.k8s.io/v1';

/** `namespace` is empty for all of them, and for what has none. */
interface SubjectAccess {
  verb: string;
  group: string;
  resource: string;
  namespace: string;
  /** Of one object; absent: all of them. */
  name?: string;
}

/**
 * Whether a user may do something. The resource need not exist. A single attempt, because a client
 * waits for the result. @throws KubeError
 */
export async function reviewAccess(
  client: KubeApi,
  { username = '', uid, groups, extra }: TokenUserInfo,
  access: SubjectAccess,
  { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<boolean> {
  const review = await client.request<{ status?: { allowed?: boolean; denied?: boolean } }>({
    verb: 'POST',
    path: `/apis/${AUTHORIZATION}/subjectaccessreviews`,
    body: {
      apiVersion: AUTHORIZATION,
      kind: 'SubjectAccessReview',
      spec: {
        user: username,
        ...(uid === undefined ? {} : { uid }),
        ...(groups === undefined ? {} : { groups }),
        ...(extra === undefined ? {} : { extra }),
        resourceAttributes: access,
      },
    },
    attempts: 1,
    ...(signal ? { signal } : {}),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return review?.status?.allowed === true && review.status.denied !== true;
}

/** Bailiff's own pods in a cluster, and their logs. */
import { apiPath, type KubeClient, type KubeList, type Pod } from '@bailiff/kube';

const OURS = 'app.kubernetes.io/part-of=bailiff';
const COMPONENT = 'app.kubernetes.io/component';
/** Of one container. */
export const MAX_LOG_BYTES = 8 * 1024 * 1024;

export interface Cluster {
  client: KubeClient;
  namespace: string;
  signal: AbortSignal;
}

/** @param part value of the component label; null: all */
export async function ownPods({ client, namespace, signal }: Cluster, part: string | null): Promise<Pod[]> {
  const labelSelector = part === null ? OURS : `${OURS},${COMPONENT}=${part}`;
  const path = apiPath`/api/v1/namespaces/${namespace}/pods`;
  const { items } = await client.request<KubeList<Pod>>({ path, query: { labelSelector }, signal, attempts: 1 });
  return (items ?? []).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

export interface LogRange {
  tail: number;
  sinceMs: number | null;
  previous: boolean;
}

/** The end of a container's log. @throws KubeError */
export function logOf(
  { client, namespace, signal }: Cluster,
  pod: string,
  container: string,
  { tail, sinceMs, previous }: LogRange,
): Promise<string> {
  return client.request<string>({
    path: apiPath`/api/v1/namespaces/${namespace}/pods/${pod}/log`,
    query: {
      container,
      tailLines: tail,
      limitBytes: MAX_LOG_BYTES,
      sinceSeconds: sinceMs === null ? undefined : Math.max(1, Math.ceil(sinceMs / 1000)),
      previous: previous || undefined,
    },
    maxBodyBytes: 2 * MAX_LOG_BYTES,
    as: 'text',
    signal,
    attempts: 1,
  });
}

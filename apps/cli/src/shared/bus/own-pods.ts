/** Bailiff's own pods in a cluster, and their logs. */
import { apiPath, type KubeClient, type KubeList, type Pod } from '@bailiff/kube';
import { OURS } from './installation.ts';

const COMPONENT = 'app.kubernetes.io/component';
/** Of one container. */
export const MAX_LOG_BYTES = 8 * 1024 * 1024;

export interface Cluster {
  client: KubeClient;
  namespace: string;
  signal: AbortSignal;
  /** Of one request. */
  timeoutMs: number;
}

/** @param part value of the component label; null: all */
export async function ownPods({ client, namespace, ...how }: Cluster, part: string | null): Promise<Pod[]> {
  const labelSelector = part === null ? OURS : `${OURS},${COMPONENT}=${part}`;
  const path = apiPath`/api/v1/namespaces/${namespace}/pods`;
  const { items } = await client.request<KubeList<Pod>>({ path, query: { labelSelector }, ...how, attempts: 1 });
  return (items ?? []).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Init containers too: they end before the others start. */
export const containersOf = ({ spec }: Pod): string[] =>
  [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(({ name }) => name);

export interface LogRange {
  tail: number;
  sinceMs: number | null;
  previous: boolean;
}

/** The end of a container's log. @throws KubeError */
export function logOf(
  { client, namespace, ...how }: Cluster,
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
    ...how,
    attempts: 1,
  });
}

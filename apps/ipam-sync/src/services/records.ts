/**
 * Records of Services and EndpointSlices: the UDP ports, which nodes may translate to a tunnel port.
 * Pure. An object without UDP has no record.
 */
import type { EndpointSlice, Service } from '@bailiff/kube';
import { canonicalAddress } from '../pods/addresses.ts';

export interface ServiceRecord {
  /** `<namespace>/<name>`. */
  key: string;
  namespace: string;
  /** Canonical addresses that the cluster gave to it and that nodes translate. */
  addresses: string[];
  /** The same for addresses that its author claims: anyone can name any. */
  claimed: string[];
  ports: { name: string; port: number; nodePort: number | null }[];
}

export interface SliceRecord {
  /** Key of its Service. */
  service: string;
  /** null: every port. */
  ports: { name: string; port: number | null }[];
  /** Canonical addresses, separated by spaces: one string takes less memory than a list. */
  endpoints: string;
  /** Each endpoint is a pod, as its author says: a controller, or who may write slices. */
  isOfPods: boolean;
}

const SERVICE_LABEL = 'kubernetes.io/service-name';

export function serviceRecord({ metadata, spec = {}, status = {} }: Service): ServiceRecord | null {
  const udp = (spec.ports ?? []).filter(({ protocol }) => protocol === 'UDP');
  if (udp.length === 0 || metadata.namespace === undefined) return null;
  const balanced = (status.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [ip]));
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    namespace: metadata.namespace,
    // A headless Service has the address "None".
    addresses: canonical([...(spec.clusterIPs ?? []), ...balanced]),
    claimed: canonical(spec.externalIPs ?? []),
    ports: udp.map(({ name = '', port, nodePort }) => ({ name, port, nodePort: nodePort || null })),
  };
}

const canonical = (all: readonly string[]): string[] => [
  ...new Set(all.map(canonicalAddress).filter((address) => address !== null)),
];

export function sliceRecord({ metadata, ports, endpoints }: EndpointSlice): SliceRecord | null {
  const service = metadata.labels?.[SERVICE_LABEL];
  const udp = (ports ?? []).filter(({ protocol }) => protocol === 'UDP');
  if (service === undefined || udp.length === 0) return null;
  return {
    service: `${metadata.namespace}/${service}`,
    ports: udp.map(({ name, port }) => ({ name: name ?? '', port: port ?? null })),
    endpoints: canonical((endpoints ?? []).flatMap(({ addresses }) => addresses ?? [])).join(' '),
    isOfPods: !!endpoints?.length && endpoints.every(({ targetRef }) => targetRef?.kind === 'Pod'),
  };
}

/** The overlay that `--install` applies: the included bus, with the images of the flags. Pure. */
import type { Options } from '../flags.ts';

export const APPS = ['collector', 'correlator', 'responder', 'ipam-sync', 'siem-relay', 'bus-auth', 'cli'] as const;
/** Fewer nodes cannot run three NATS servers, because no two of them share a node. */
export const NODES_FOR_THREE_SERVERS = 3;

type Images = Pick<Options, 'imagePrefix' | 'imageTag' | 'natsImage' | 'valkeyImage'>;

/** Name and tag or digest of an image, as kustomize writes them. */
export function imageEntry(name: string, image: string): Record<string, string> {
  const [withoutDigest = '', digest] = image.split('@');
  if (digest) return { name, newName: withoutDigest, digest };
  const colon = withoutDigest.lastIndexOf(':');
  // A colon before the last slash is the registry's port.
  if (colon <= withoutDigest.lastIndexOf('/')) return { name, newName: withoutDigest };
  return { name, newName: withoutDigest.slice(0, colon), newTag: withoutDigest.slice(colon + 1) };
}

export const replicasFor = (nodes: number): 1 | 3 => (nodes < NODES_FOR_THREE_SERVERS ? 1 : 3);

/** JSON is YAML. */
export function overlay(images: Images, nodes: number): string {
  const replicas = replicasFor(nodes);
  const own = APPS.map((app) => imageEntry(`bailiff/${app}`, `${images.imagePrefix}/${app}:${images.imageTag}`));
  const others = [
    ...(images.natsImage ? [imageEntry('nats', images.natsImage)] : []),
    ...(images.valkeyImage ? [imageEntry('valkey/valkey', images.valkeyImage)] : []),
  ];
  const patch = { op: 'replace', path: '/spec/replicas', value: replicas };
  return JSON.stringify({
    ...{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', namespace: 'bailiff-system' },
    resources: ['../included'],
    images: [...own, ...others],
    configMapGenerator: [{ name: 'bailiff-addresses', behavior: 'merge', literals: [`natsReplicas=${replicas}`] }],
    patches: [{ target: { kind: 'StatefulSet', name: 'bailiff-nats' }, patch: JSON.stringify([patch]) }],
  });
}

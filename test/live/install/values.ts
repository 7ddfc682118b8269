/** Values of the chart that the flags of the suite select. Pure. */
import type { Options } from '../flags.ts';

const APPS = {
  collector: 'collector',
  correlator: 'correlator',
  responder: 'responder',
  ipamSync: 'ipam-sync',
  siemRelay: 'siem-relay',
  busAuth: 'bus-auth',
  busSetup: 'cli',
} as const;
/** Fewer nodes cannot run three NATS servers, because no two of them share a node. */
const NODES_FOR_THREE_SERVERS = 3;

/** An image as the chart names it: a digest replaces the tag. */
export function imageValues(image: string): Record<string, string> {
  const [withoutDigest = '', digest = ''] = image.split('@');
  const colon = withoutDigest.lastIndexOf(':');
  // A colon before the last slash is the registry's port.
  const hasTag = colon > withoutDigest.lastIndexOf('/');
  const repository = hasTag ? withoutDigest.slice(0, colon) : withoutDigest;
  return { repository, tag: hasTag && !digest ? withoutDigest.slice(colon + 1) : '', digest };
}

export const profilesFor = (nodes: number): string[] => (nodes < NODES_FOR_THREE_SERVERS ? ['single-node'] : ['ha']);

/** Settings that change the tag of every image of Bailiff. */
export const tagSettings = (tag: string): string[] => Object.keys(APPS).map((app) => `${app}.image.tag=${tag}`);

type Images = Pick<Options, 'imagePrefix' | 'imageTag' | 'natsImage' | 'valkeyImage'>;

/** Images of the flags, and a preflight check of every node before anything is installed. */
export function chartValues({ imagePrefix, imageTag, natsImage, valkeyImage }: Images, nodes: number): object {
  const own = Object.entries(APPS).map(([app, name]) => [
    app,
    { image: imageValues(`${imagePrefix}/${name}:${imageTag}`) },
  ]);
  return {
    ...Object.fromEntries(own),
    ...(natsImage ? { nats: { image: imageValues(natsImage) } } : {}),
    ...(valkeyImage ? { redis: { image: imageValues(valkeyImage) } } : {}),
    preflight: { enabled: true, nodes },
  };
}

/**
 * Node-wide kernel maps: settings, node addresses, tunnel ports, what quarantine lets through. Each is made exactly what it should be;
 * what the bus has not spoken of yet stays as an earlier process left it, and has the shipped defaults in maps that are new.
 */
import type { SpoofMaps } from '@bailiff/bpf';
import type { DesiredState } from './desired-state.ts';

/** @returns what could not be written, each with its reason; the rest is in force */
export function nodeWideMaps(maps: SpoofMaps, desired: DesiredState, areNew: boolean): { map: string; error: Error }[] {
  const config = desired.clusterConfig;
  const failed: { map: string; error: Error }[] = [];
  const write = (map: string, action: () => void): void => {
    try {
      action();
    } catch (error) {
      failed.push({ map, error: error as Error });
    }
  };
  if (areNew || desired.known.has('cluster')) {
    const addresses = desired.cluster.nodes.flatMap((node) =>
      node.addresses.map((address) => ({ address, thisNode: node.name === desired.nodeName })),
    );
    write('node addresses', () => maps.nodeAddresses.replace(addresses));
  }
  if (areNew || desired.known.has('spoof')) {
    write('settings', () =>
      maps.setSettings({
        sampleBurst: config.sampling.burst,
        samplesPerSecond: config.sampling.perSecond,
        unknownMode: config.unknown,
      }),
    );
    write('tunnel ports', () =>
      maps.tunnelPorts.replace([
        ...config.tunnelPorts.vxlan.map((port) => ({ port, kind: 'vxlan' as const })),
        ...config.tunnelPorts.geneve.map((port) => ({ port, kind: 'geneve' as const })),
      ]),
    );
    write('quarantine allow', () => maps.allowedCidrs.replace(config.quarantine.allow));
  }
  return failed;
}

/** Node-wide kernel maps: settings, node addresses, tunnel ports, what quarantine lets through. Each is made exactly what it should be. */
import type { SpoofMaps } from '@bailiff/bpf';
import type { DesiredState } from './desired-state.ts';

export function nodeWideMaps(maps: SpoofMaps, desired: DesiredState): void {
  const config = desired.clusterConfig;
  maps.setSettings({
    sampleBurst: config.sampling.burst,
    samplesPerSecond: config.sampling.perSecond,
    unknownMode: config.unknown,
  });
  maps.nodeAddresses.replace(
    desired.cluster.nodes.flatMap((node) =>
      node.addresses.map((address) => ({ address, thisNode: node.name === desired.nodeName })),
    ),
  );
  maps.tunnelPorts.replace([
    ...config.tunnelPorts.vxlan.map((port) => ({ port, kind: 'vxlan' as const })),
    ...config.tunnelPorts.geneve.map((port) => ({ port, kind: 'geneve' as const })),
  ]);
  maps.allowedCidrs.replace(config.quarantine.allow);
}

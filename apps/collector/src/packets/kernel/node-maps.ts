/**
 * Reconciles the node-wide kernel maps: settings, node addresses, networks and ports of tunnels, the
 * networks that a quarantine allows, and the cgroup of pods, whose sockets do not count as probes.
 *
 * A part that was not received yet keeps the entries of an earlier process. In new maps it gets the
 * built-in defaults.
 */

import type { NodeAddress, SpoofMaps } from '@bailiff/bpf';
import type { SpoofCluster } from '@bailiff/policy';
import type { DesiredState } from '../../desired/desired-state.ts';
import { podsCgroupId } from '../../identity/pod-cgroups.ts';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { networksOf, singleAddresses, tunnelServicesOf } from './networks.ts';
import type { OwnNetworks } from './own-networks.ts';

export interface NodeMapsOptions {
  maps: Pick<
    SpoofMaps,
    'nodeAddresses' | 'networks' | 'setSettings' | 'tunnelPorts' | 'tunnelServices' | 'allowedCidrs' | 'setPodsCgroup'
  >;
  desired: DesiredState;
  /** Whether no earlier process wrote these maps. */
  areNew: boolean;
  ownNetworks: () => OwnNetworks;
  /** The cgroup root of the binder. */
  cgroupRoot: string;
  /** 0n: not known. Default podsCgroupId. */
  findPodsCgroup?: (root: string) => bigint;
  /** A map could not be written; the others are. */
  onProblem: OnProblem;
}

const PODS_CGROUP = 'pods cgroup';

export class NodeMaps {
  readonly #o: NodeMapsOptions;
  #own: OwnNetworks = { addresses: [], links: [], local: [] };
  /**
   * What the entries of each map were made of: a large cluster has tens of thousands of them, and each
   * change of a pod asks for them.
   */
  readonly #madeFrom = new Map<string, readonly unknown[]>();

  constructor(options: NodeMapsOptions) {
    this.#o = options;
  }

  apply(): void {
    if (!this.#madeFrom.has(PODS_CGROUP)) this.#writePodsCgroup();
    this.#readOwn();
    this.#writeAddresses();
    if (this.#isKnown('spoof')) this.#writeConfigured();
  }

  /**
   * Writes the entries that are in no document, if they changed: addresses of the node's interfaces,
   * and the cgroup of pods.
   */
  applyOwn(): void {
    this.#writePodsCgroup();
    if (this.#readOwn()) this.#writeAddresses();
  }

  /** If no cgroup is found, the last one stays in force: without pods, no socket is compared with it. */
  #writePodsCgroup(): void {
    const { cgroupRoot, findPodsCgroup = podsCgroupId, maps, onProblem } = this.#o;
    attempt(onProblem, PODS_CGROUP, () => {
      const id = findPodsCgroup(cgroupRoot);
      if (id !== 0n) this.#write(PODS_CGROUP, [id], () => maps.setPodsCgroup(id));
    });
  }

  /** @returns whether they changed */
  #readOwn(): boolean {
    const own = this.#o.ownNetworks();
    if (JSON.stringify(own) === JSON.stringify(this.#own)) return false;
    this.#own = own;
    return true;
  }

  #isKnown(part: 'cluster' | 'spoof'): boolean {
    return this.#o.areNew || this.#o.desired.known.has(part);
  }

  #writeAddresses(): void {
    const { desired, maps } = this.#o;
    const { nodeAddresses } = maps;
    const isKnown = this.#isKnown('cluster');
    this.#write('node addresses', [desired.cluster, desired.clusterConfig, this.#own, isKnown], () => {
      const listed = isKnown ? this.#ofCluster() : nodeAddresses.entries();
      // Own addresses come last: they override the list, because the kernel is the better source.
      const all = [...listed, ...this.#own.addresses.map((address) => ({ address, thisNode: true }))];
      nodeAddresses.replace([...new Map(all.map((entry) => [entry.address, entry])).values()]);
    });
    this.#writeNetworks();
  }

  #ofCluster(): NodeAddress[] {
    const { cluster, nodeName, clusterConfig } = this.#o.desired;
    // A node writes its own addresses into the API server, and must not claim a peer outside.
    const named = singleAddresses(clusterConfig.tunnelNetworks.outside);
    return cluster.nodes.flatMap(({ name, addresses }) =>
      addresses.filter((address) => !named.has(address)).map((address) => ({ address, thisNode: name === nodeName })),
    );
  }

  /** Entries of an earlier process stay until this one knows the whole list and configuration. */
  #writeNetworks(): void {
    const { maps, desired } = this.#o;
    const { cluster, clusterConfig } = desired;
    const isKnown = this.#isKnown('cluster') && this.#isKnown('spoof');
    this.#write('networks', [cluster, clusterConfig, this.#own, isKnown], () => {
      const { links, local } = this.#own;
      const podCidrs = cluster.nodes.flatMap((node) => node.podCidrs);
      const wanted = networksOf({ links, local, podCidrs, ...clusterConfig.tunnelNetworks });
      const all = [...wanted, ...(isKnown ? [] : maps.networks.entries())];
      maps.networks.replace([...new Map(all.map((network) => [network.cidr, network])).values()]);
    });
  }

  #writeConfigured(): void {
    const { maps, desired } = this.#o;
    const { cluster, clusterConfig } = desired;
    const { sampling, unknown, tunnelPorts, quarantine } = clusterConfig;
    this.#write('settings', [clusterConfig], () =>
      maps.setSettings({
        sampleBurst: sampling.burst,
        samplesPerSecond: sampling.perSecond,
        unknownMode: unknown,
      }),
    );
    this.#write('tunnel ports', [cluster, clusterConfig, this.#isKnown('cluster')], () =>
      this.#writeTunnelPorts(tunnelPorts),
    );
    this.#write('quarantine allow', [clusterConfig], () => maps.allowedCidrs.replace(quarantine.allow));
  }

  /**
   * The entries of a Service's port are there while the port has its bit: without them, the port
   * would be a tunnel port for every destination.
   */
  #writeTunnelPorts({ vxlan, geneve }: SpoofCluster['tunnelPorts']): void {
    const { maps, desired } = this.#o;
    const before = maps.tunnelServices.entries();
    const isKnown = this.#isKnown('cluster');
    const services = isKnown ? tunnelServicesOf(desired.cluster.tunnelServices ?? [], [...vxlan, ...geneve]) : before;
    const ports = new Set(services.map(({ port }) => port));
    maps.tunnelServices.replace([...services, ...before]);
    maps.tunnelPorts.replace([
      ...[...vxlan, ...ports].map((port) => ({ port, kind: 'vxlan' as const })),
      ...geneve.map((port) => ({ port, kind: 'geneve' as const })),
    ]);
    maps.tunnelServices.replace(services);
  }

  /** @param from whatever decides on the entries, compared by identity */
  #write(map: string, from: readonly unknown[], action: () => void): void {
    const before = this.#madeFrom.get(map);
    if (before && from.every((one, index) => one === before[index])) return;
    try {
      action();
      this.#madeFrom.set(map, from);
    } catch (error) {
      this.#madeFrom.delete(map);
      this.#o.onProblem(map, (error as Error).message, error);
    }
  }
}

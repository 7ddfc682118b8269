/**
 * Node-wide kernel maps: settings, node addresses, tunnel ports, what quarantine lets through. Each is made exactly what it should be;
 * what the bus has not spoken of yet stays as an earlier process left it, and is as it is built in where maps are new.
 */
import type { NodeAddress, SpoofMaps } from '@bailiff/bpf';
import type { DesiredState } from '../desired/desired-state.ts';

type NodeWideMaps = Pick<SpoofMaps, 'nodeAddresses' | 'setSettings' | 'tunnelPorts' | 'allowedCidrs'>;

export interface NodeWideParts {
  maps: NodeWideMaps;
  desired: DesiredState;
  /** Nobody has written these maps before. */
  areNew: boolean;
  /** Addresses of the node's own interfaces, in a fixed order. */
  ownAddresses: () => readonly string[];
  /** What could not be written, with its reason; the rest is in force. */
  onUnwritten: (unwritten: { map: string; error: Error }) => void;
}

export class NodeWide {
  readonly #parts: NodeWideParts;
  #own: readonly string[] = [];

  constructor(parts: NodeWideParts) {
    this.#parts = parts;
  }

  apply(): void {
    this.#own = this.#parts.ownAddresses();
    this.#writeAddresses();
    if (this.#isKnown('spoof')) this.#writeConfigured();
  }

  /** Addresses come and go with the node's interfaces, of which no document tells: looked at again, and written where they changed. */
  applyOwnAddresses(): void {
    const own = this.#parts.ownAddresses();
    if (own.join() === this.#own.join()) return;
    this.#own = own;
    this.#writeAddresses();
  }

  #isKnown(part: 'cluster' | 'spoof'): boolean {
    return this.#parts.areNew || this.#parts.desired.known.has(part);
  }

  #writeAddresses(): void {
    const { nodeAddresses } = this.#parts.maps;
    this.#write('node addresses', () => {
      const told = this.#isKnown('cluster') ? this.#ofCluster() : nodeAddresses.entries();
      // The kernel knows best what is its own, so that comes last.
      const all = [...told, ...this.#own.map((address) => ({ address, thisNode: true }))];
      nodeAddresses.replace([...new Map(all.map((entry) => [entry.address, entry])).values()]);
    });
  }

  #ofCluster(): NodeAddress[] {
    const { cluster, nodeName } = this.#parts.desired;
    return cluster.nodes.flatMap(({ name, addresses }) =>
      addresses.map((address) => ({ address, thisNode: name === nodeName })),
    );
  }

  #writeConfigured(): void {
    const { maps, desired } = this.#parts;
    const { sampling, unknown, tunnelPorts, quarantine } = desired.clusterConfig;
    this.#write('settings', () =>
      maps.setSettings({
        sampleBurst: sampling.burst,
        samplesPerSecond: sampling.perSecond,
        unknownMode: unknown,
      }),
    );
    this.#write('tunnel ports', () =>
      maps.tunnelPorts.replace([
        ...tunnelPorts.vxlan.map((port) => ({ port, kind: 'vxlan' as const })),
        ...tunnelPorts.geneve.map((port) => ({ port, kind: 'geneve' as const })),
      ]),
    );
    this.#write('quarantine allow', () => maps.allowedCidrs.replace(quarantine.allow));
  }

  #write(map: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#parts.onUnwritten({ map, error: error as Error });
    }
  }
}

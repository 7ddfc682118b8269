/**
 * Reconciles the node-wide kernel maps: settings, node addresses, tunnel ports, and the networks
 * that a quarantine allows.
 *
 * A part that was not received yet keeps the entries of an earlier process. In new maps it gets the
 * built-in defaults.
 */
import type { NodeAddress, SpoofMaps } from '@bailiff/bpf';
import type { DesiredState } from '../desired/desired-state.ts';

export interface NodeMapsOptions {
  maps: Pick<SpoofMaps, 'nodeAddresses' | 'setSettings' | 'tunnelPorts' | 'allowedCidrs'>;
  desired: DesiredState;
  /** Whether no earlier process wrote these maps. */
  areNew: boolean;
  /** Addresses of the node's own interfaces, in a fixed order. */
  ownAddresses: () => readonly string[];
  /** A map could not be written; the others are. */
  onProblem: (problem: { map: string; error: Error }) => void;
}

export class NodeMaps {
  readonly #o: NodeMapsOptions;
  #own: readonly string[] = [];

  constructor(options: NodeMapsOptions) {
    this.#o = options;
  }

  apply(): void {
    this.#own = this.#o.ownAddresses();
    this.#writeAddresses();
    if (this.#isKnown('spoof')) this.#writeConfigured();
  }

  /**
   * Writes the node's own addresses if they changed: no document reports changes of its interfaces.
   */
  applyOwnAddresses(): void {
    const own = this.#o.ownAddresses();
    if (own.join() === this.#own.join()) return;
    this.#own = own;
    this.#writeAddresses();
  }

  #isKnown(part: 'cluster' | 'spoof'): boolean {
    return this.#o.areNew || this.#o.desired.known.has(part);
  }

  #writeAddresses(): void {
    const { nodeAddresses } = this.#o.maps;
    this.#write('node addresses', () => {
      const listed = this.#isKnown('cluster') ? this.#ofCluster() : nodeAddresses.entries();
      // Own addresses come last: they override the list, because the kernel is the better source.
      const all = [...listed, ...this.#own.map((address) => ({ address, thisNode: true }))];
      nodeAddresses.replace([...new Map(all.map((entry) => [entry.address, entry])).values()]);
    });
  }

  #ofCluster(): NodeAddress[] {
    const { cluster, nodeName } = this.#o.desired;
    return cluster.nodes.flatMap(({ name, addresses }) =>
      addresses.map((address) => ({ address, thisNode: name === nodeName })),
    );
  }

  #writeConfigured(): void {
    const { maps, desired } = this.#o;
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
      this.#o.onProblem({ map, error: error as Error });
    }
  }
}

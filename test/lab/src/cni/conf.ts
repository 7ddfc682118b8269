/**
 * Network configuration of a node as in /etc/cni/net.d: the stock `bridge` or `ptp` plugin with
 * dual-stack `host-local` addresses. No masquerading, so that source addresses stay as sent. Pure.
 */
import type { CniPlugin } from '../plan.ts';

export const CNI_VERSION = '1.0.0';
/** Network names, also part of the file name of a cached result. */
export const POD_NETWORK = 'lab';
export const LOOPBACK_NETWORK = 'cni-loopback';

export interface CniPluginConf {
  type: string;
  [key: string]: unknown;
}
export interface CniConfList {
  cniVersion: string;
  name: string;
  plugins: CniPluginConf[];
}

export interface PodNetworkOptions {
  plugin: CniPlugin;
  podCidr4: string;
  podCidr6: string;
  /** Directory of host-local's leases. */
  ipamDir: string;
}

export function podNetwork(options: PodNetworkOptions): CniConfList {
  const ipam = {
    type: 'host-local',
    dataDir: options.ipamDir,
    ranges: [[{ subnet: options.podCidr4 }], [{ subnet: options.podCidr6 }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  };
  const plugin =
    options.plugin === 'bridge'
      ? { type: 'bridge', bridge: 'cni0', isGateway: true, hairpinMode: true, ipMasq: false, ipam }
      : { type: 'ptp', ipMasq: false, ipam };
  return { cniVersion: CNI_VERSION, name: POD_NETWORK, plugins: [plugin] };
}

/** Container runtimes configure loopback through a separate network. */
export const loopbackNetwork = (): CniConfList => ({
  cniVersion: CNI_VERSION,
  name: LOOPBACK_NETWORK,
  plugins: [{ type: 'loopback' }],
});

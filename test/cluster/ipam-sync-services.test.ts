// UDP Services of a tenant beside those of a neighbour, in the informers of ipam-sync. The control has
// room for all: it keeps every object of the tenant.
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { ServicesFeed } from '../../apps/ipam-sync/src/services/services-feed.ts';
import { FAST, type KubeHarness, startKube } from '../support/kube.ts';

const TUNNEL_PORT = 4789;
const TENANT = 40;
/** Entries of a Service with one address and port, and of its slice. */
const PAIR = 13;

function addService(kube: KubeHarness, namespace: string, n: number): void {
  const { api } = kube.server;
  const name = `service-${n}`;
  const address = `10.96.${namespace === 'shop' ? 1 : 2}.${n + 1}`;
  const ports = [{ name: 'tunnel', protocol: 'UDP', port: 53 }];
  api.create('services', { metadata: { name, namespace }, spec: { clusterIPs: [address], ports } });
  api.create('endpointslices', {
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [],
    ports: [{ name: 'tunnel', protocol: 'UDP', port: TUNNEL_PORT }],
  });
}

function feedOf(kube: KubeHarness, maxEntries?: number) {
  const feed = new ServicesFeed({
    informer: { client: kube.client(), inactivityMs: 10_000, backoff: FAST },
    onError: () => () => undefined,
    onChange: () => undefined,
    onClaim: () => undefined,
    nodes: () => [],
    nowMs: () => Date.now(),
    ...(maxEntries === undefined ? {} : { maxEntries, listIntervalMs: 0 }),
  });
  feed.setTunnelPorts([TUNNEL_PORT]);
  const stop = new AbortController();
  const running = feed.run(stop.signal);
  const state = () => ({ services: feed.services.stats.objects, omitted: feed.omitted, list: feed.list.length });
  const end = async () => {
    stop.abort();
    await running;
  };
  return { feed, state, end };
}

test('services - a tenant with endless UDP Services has its share of the memory, and a neighbour’s are listed', async () => {
  await using kube = await startKube();
  for (const namespace of ['tenant', 'shop']) kube.server.api.create('namespaces', { metadata: { name: namespace } });
  const bounded = feedOf(kube, 20 * PAIR);
  const control = feedOf(kube);
  const addressesOf = ({ feed }: typeof bounded, prefix: string) =>
    feed.list.filter(({ address }) => address.startsWith(prefix)).length;
  const state = () => ({ bounded: bounded.state(), control: control.state() });
  try {
    await waitFor(
      () =>
        bounded.feed.services.synced &&
        control.feed.services.synced &&
        control.feed.slices.synced &&
        bounded.feed.slices.synced,
      { what: 'the informers', state },
    );
    for (let n = 0; n < TENANT; n += 1) addService(kube, 'tenant', n);
    await waitFor(() => addressesOf(control, '10.96.2.') === TENANT, { what: 'all Services of the tenant', state });
    addService(kube, 'shop', 0);
    await waitFor(() => addressesOf(bounded, '10.96.1.') === 1, { what: 'the Service of the shop', state });
    await waitFor(() => addressesOf(control, '10.96.1.') === 1, { what: 'the same in the control', state });
    const { services, slices, omitted } = bounded.feed;
    const kept = services.stats.objects * 7 + slices.stats.objects * 6;
    expect(kept).toBeLessThanOrEqual(10 * PAIR + PAIR);
    expect(omitted).toBe(2 * TENANT + 2 - services.stats.objects - slices.stats.objects);
    expect(control.feed.services.stats.objects).toBe(TENANT + 1);

    for (let n = 0; n < TENANT - 5; n += 1) {
      kube.server.api.delete('services', { namespace: 'tenant', name: `service-${n}` });
      kube.server.api.delete('endpointslices', { namespace: 'tenant', name: `service-${n}` });
    }
    await waitFor(() => bounded.feed.omitted === 0 && bounded.feed.services.stats.objects === 6, {
      what: 'the others to be read when there is room',
      timeoutMs: 30_000,
      state,
    });
  } finally {
    await bounded.end();
    await control.end();
  }
});

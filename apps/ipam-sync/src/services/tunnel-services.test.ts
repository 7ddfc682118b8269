import type { EndpointSlice, Service } from '@bailiff/kube';
import { describe, expect, it } from 'vitest';
import { serviceRecord, sliceRecord } from './records.ts';
import { GRACE_MS, MAX_TUNNEL_SERVICES, TunnelServices } from './tunnel-services.ts';

const metadata = (name: string, more: object = {}, namespace = 'shop') => {
  return { name, namespace, uid: `${namespace}/${name}`, resourceVersion: '1', ...more };
};
const service = (name: string, spec: object, status: object = {}): Service => ({
  metadata: metadata(name),
  spec,
  status,
});
const NODE = { name: 'node-a', addresses: ['20.0.0.1', '2600:77::1'], podCidrs: ['10.244.1.0/24', 'fd00:10::/64'] };
const OWN_POD = '10.244.1.9';
const slice = (
  name: string,
  ports: EndpointSlice['ports'],
  namespace = 'shop',
  to = [OWN_POD, '20.0.0.1'],
  targetRef: { kind: string } | null = null,
): EndpointSlice => {
  const labels = { 'kubernetes.io/service-name': name };
  const endpoints = to.map((address) => ({ addresses: [address], targetRef }));
  return { metadata: metadata(`${name}-abc`, { labels }, namespace), ports: ports ?? null, endpoints };
};
const DNS = {
  clusterIPs: ['10.96.0.9', 'FD00:96::9'],
  externalIPs: ['34.1.1.1'],
  ports: [
    { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_053 },
    { name: 'dns-tcp', protocol: 'TCP', port: 53 },
    { name: 'other', protocol: 'UDP', port: 54 },
  ],
};

describe('records', () => {
  it('service - UDP ports, and the addresses that nodes translate', () => {
    const status = { loadBalancer: { ingress: [{ ip: '35.1.1.1' }, {}, { ip: '34.1.1.1' }] } };
    expect(serviceRecord(service('dns', DNS, status))).toEqual({
      key: 'shop/dns',
      namespace: 'shop',
      addresses: ['10.96.0.9', 'fd00:96::9', '35.1.1.1', '34.1.1.1'],
      claimed: ['34.1.1.1'],
      ports: [
        { name: 'dns', port: 53, nodePort: 30_053 },
        { name: 'other', port: 54, nodePort: null },
      ],
    });
    expect(serviceRecord(service('headless', { ...DNS, clusterIPs: ['None'], externalIPs: [] }))?.addresses).toEqual(
      [],
    );
    expect(serviceRecord(service('web', { ports: [{ protocol: 'TCP', port: 80 }] }))).toBeNull();
    expect(serviceRecord(service('external', {}))).toBeNull();
  });
  it('slice - UDP ports under the name of the Service', () => {
    expect(
      sliceRecord(
        slice('dns', [
          { name: 'dns', protocol: 'UDP', port: 5353 },
          { protocol: 'TCP', port: 1 },
        ]),
      ),
    ).toEqual({
      service: 'shop/dns',
      ports: [{ name: 'dns', port: 5353 }],
      endpoints: '10.244.1.9 20.0.0.1',
      isOfPods: false,
    });
    expect(sliceRecord(slice('any', [{ protocol: 'UDP' }]))?.ports).toEqual([{ name: '', port: null }]);
    const written = ['2600:77:0::1', '::ffff:20.0.0.1', 'no.address'];
    expect(sliceRecord(slice('forms', [{ protocol: 'UDP' }], 'shop', written))?.endpoints).toBe('2600:77::1 20.0.0.1');
    expect(sliceRecord(slice('none', null))).toBeNull();
    expect(sliceRecord({ metadata: metadata('no-service'), ports: [{ protocol: 'UDP', port: 4789 }] })).toBeNull();
  });
});

describe('tunnel services', () => {
  const pairs = (of: TunnelServices, nowMs = 0) => of.list(nowMs).map(({ address, port }) => `${address} ${port}`);
  const put = (of: TunnelServices, name: string, port: number | null, spec: object = DNS) => {
    of.put(name, serviceRecord(service(name, spec))!);
    of.putSlice(`${name}-abc`, sliceRecord(slice(name, [{ name: 'dns', protocol: 'UDP', port }]))!);
  };
  const ALL = [' 30053', '10.96.0.9 53', '34.1.1.1 53', 'fd00:96::9 53'];
  const made = () => {
    const services = new TunnelServices();
    services.setTunnelPorts(new Set([4789, 6081]));
    services.setNodes([NODE]);
    return services;
  };

  it.each([
    ['a tunnel port', 4789, ALL],
    ['every port', null, ALL],
    ['another port', 5353, []],
  ])('endpoints with %s', (_name, port, expected) => {
    const services = made();
    put(services, 'dns', port);
    expect(pairs(services)).toEqual(expected);
  });

  it('a slice of another Service, or of the same name in another namespace, does not count', () => {
    const services = made();
    put(services, 'dns', 53);
    services.putSlice('x', sliceRecord(slice('web', [{ name: 'dns', protocol: 'UDP', port: 4789 }]))!);
    services.putSlice('y', sliceRecord(slice('dns', [{ name: 'dns', protocol: 'UDP', port: 4789 }], 'other'))!);
    expect(pairs(services)).toEqual([]);
    services.putSlice('z', sliceRecord(slice('dns', [{ name: 'dns', protocol: 'UDP', port: 4789 }]))!);
    expect(pairs(services)).toEqual(ALL);
  });

  it('an address that a Service claims and another one was given - is not of a tunnel', () => {
    const services = made();
    const claims = { externalIPs: ['10.96.0.10', '34.9.9.9'], ports: DNS.ports };
    put(services, 'thief', 4789, claims);
    expect(pairs(services), 'control: no Service was given it').toContain('10.96.0.10 53');
    const fresh = made();
    put(fresh, 'thief', 4789, claims);
    fresh.put('dns', serviceRecord(service('kube-dns', { clusterIPs: ['10.96.0.10'], ports: DNS.ports }))!);
    expect(pairs(fresh)).toEqual([' 30053', '34.9.9.9 53']);
  });

  it.each([
    ['pods alone', { kind: 'Pod' }, [OWN_POD, 'fd00:10::9'], []],
    ['pods, one of them on the network of its node', { kind: 'Pod' }, [OWN_POD, '20.0.0.1'], ALL],
    ['the address of a bridge', null, ['10.244.1.1'], ALL],
    ['a pod that has, or had, a first address of a pod network', { kind: 'Pod' }, ['10.244.1.1'], []],
    ['a machine outside', null, ['203.0.113.9'], ALL.filter((pair) => !pair.startsWith('34.'))],
    ['an object of another kind', { kind: 'Node' }, [OWN_POD], ALL.filter((pair) => !pair.startsWith('34.'))],
  ])('that leads to %s', (_name, targetRef, to, expected) => {
    const services = made();
    services.put('dns', serviceRecord(service('dns', DNS))!);
    const ports = [{ name: 'dns', protocol: 'UDP', port: 4789 }];
    services.putSlice('dns-abc', sliceRecord(slice('dns', ports, 'shop', to, targetRef))!);
    expect(pairs(services)).toEqual(expected);
  });

  it('one slice of pods and one of others - counts as the others', () => {
    const services = made();
    services.put('dns', serviceRecord(service('dns', DNS))!);
    const ports = [{ name: 'dns', protocol: 'UDP', port: 4789 }];
    const of = (to: string, targetRef: { kind: string } | null) =>
      sliceRecord(slice('dns', ports, 'shop', [to], targetRef))!;
    services.putSlice('a', of('20.0.0.1', { kind: 'Pod' }));
    services.putSlice('b', of('203.0.113.9', null));
    services.putSlice('c', of(OWN_POD, { kind: 'Pod' }));
    expect(pairs(services)).toEqual(ALL);
  });

  describe('an address that a Service claims and no Service was given', () => {
    const claims = { clusterIPs: ['10.96.0.9'], externalIPs: ['8.8.8.8', '2001:4860:4860::8888'], ports: DNS.ports };
    const listed = (...to: string[]) => {
      const services = made();
      services.put('thief', serviceRecord(service('thief', claims))!);
      const ports = [{ name: 'dns', protocol: 'UDP', port: 4789 }];
      services.putSlice('thief-abc', sliceRecord(slice('thief', ports, 'shop', to))!);
      return [pairs(services), [...services.claiming]];
    };
    const GIVEN = [' 30053', '10.96.0.9 53'];
    const CLAIMED = ['2001:4860:4860::8888 53', '8.8.8.8 53'];

    it.each([
      ['its own pods', [OWN_POD, '10.244.1.10', 'fd00:10::9']],
      ['no endpoint', []],
      ['another address', ['203.0.113.9']],
    ])('that leads to %s - is not of a tunnel; its own addresses are', (_name, to) => {
      expect(listed(...to)).toEqual([GIVEN, []]);
    });
    it.each([
      ['a node', ['20.0.0.1']],
      ['a node by IPv6', ['2600:77::1']],
      ['a pod and a node', [OWN_POD, '20.0.0.1']],
      ['the bridge of a node', ['10.244.1.1']],
      ['an end of the overlay', ['10.244.1.0']],
      ['the bridge of a node by IPv6', ['fd00:10::1']],
    ])('that leads to %s - is of a tunnel, and named', (_name, to) => {
      expect(listed(...to)).toEqual([[...GIVEN, ...CLAIMED].sort(), ['shop/thief']]);
    });
    it('another slice or port leads to a node - counts only with a tunnel port under the same name', () => {
      const services = made();
      services.put('thief', serviceRecord(service('thief', claims))!);
      const put = (uid: string, name: string, port: number, to: string) =>
        services.putSlice(uid, sliceRecord(slice('thief', [{ name, protocol: 'UDP', port }], 'shop', [to]))!);
      put('a', 'dns', 4789, OWN_POD);
      put('b', 'dns', 5353, '20.0.0.1');
      put('c', 'other', 4789, '20.0.0.1');
      expect(pairs(services)).toEqual([...GIVEN, '10.96.0.9 54', '2001:4860:4860::8888 54', '8.8.8.8 54'].sort());
      put('b', 'dns', 4789, '20.0.0.1');
      expect(pairs(services)).toEqual(expect.arrayContaining(CLAIMED));
    });
    it('the endpoint becomes a node, or a node gets its address - listed at once, and kept for the grace period', () => {
      const services = made();
      services.put('thief', serviceRecord(service('thief', claims))!);
      const lead = (to: string) =>
        services.putSlice(
          'a',
          sliceRecord(slice('thief', [{ name: 'dns', protocol: 'UDP', port: 4789 }], 'shop', [to]))!,
        );
      lead(OWN_POD);
      expect(pairs(services)).toEqual(GIVEN);
      lead('20.0.0.1');
      expect(pairs(services, 1)).toEqual(expect.arrayContaining(CLAIMED));
      lead('20.0.0.2');
      expect(pairs(services, 2)).toEqual(expect.arrayContaining(CLAIMED));
      expect(pairs(services, 2 + GRACE_MS)).toEqual(GIVEN);
      services.setNodes([NODE, { name: 'node-b', addresses: ['20.0.0.2'], podCidrs: [] }]);
      expect(pairs(services, 3 + GRACE_MS)).toEqual(expect.arrayContaining(CLAIMED));
    });
  });

  it('the tunnel ports change - so do the pairs', () => {
    const services = made();
    put(services, 'dns', 8472);
    expect(pairs(services)).toEqual([]);
    services.setTunnelPorts(new Set([8472]));
    expect(pairs(services)).toEqual(ALL);
  });

  it('removed - stays for the grace period, unless it comes back', () => {
    const services = made();
    put(services, 'dns', 4789);
    expect(pairs(services)).toEqual(ALL);
    services.removeSlice('dns-abc');
    expect([pairs(services, 1_000), pairs(services, GRACE_MS)]).toEqual([ALL, ALL]);
    put(services, 'dns', 4789);
    expect(pairs(services, GRACE_MS + 500)).toEqual(ALL);
    services.remove('dns');
    expect(pairs(services, GRACE_MS + 600)).toEqual(ALL);
    expect(pairs(services, 2 * GRACE_MS + 599)).toEqual(ALL);
    expect(pairs(services, 2 * GRACE_MS + 600)).toEqual([]);
  });

  it('above the limit - namespaces in turn, and the others are counted', () => {
    const services = made();
    const externalIPs = Array.from({ length: MAX_TUNNEL_SERVICES }, (_, i) => `34.2.${i >> 8}.${i & 255}`);
    put(services, 'greedy', 4789, { externalIPs, ports: DNS.ports.slice(0, 1) });
    services.put('a', {
      key: 'a/dns',
      namespace: 'a',
      addresses: ['99.0.0.1', '99.0.0.2'],
      claimed: [],
      ports: [{ name: '', port: 9, nodePort: null }],
    });
    services.putSlice('a', { service: 'a/dns', ports: [{ name: '', port: 4789 }], endpoints: '', isOfPods: false });
    const listed = pairs(services);
    expect([listed.length, services.omitted]).toEqual([MAX_TUNNEL_SERVICES, 3]);
    expect(listed).toEqual(expect.arrayContaining(['99.0.0.1 9', '99.0.0.2 9']));
  });

  it('one Service with many addresses and ports - costs what a namespace may have', () => {
    const services = made();
    const count = 5_000;
    const externalIPs = Array.from({ length: count }, (_, i) => `34.2.${i >> 8}.${i & 255}`);
    const names = Array.from({ length: count }, (_, i) => `p${i}`);
    const ports = names.map((name, i) => ({ name, protocol: 'UDP', port: i + 1 }));
    services.put('fat', serviceRecord(service('fat', { externalIPs, ports }))!);
    const slices = names.map((name) => ({ name, protocol: 'UDP', port: 4789 }));
    services.putSlice('fat-abc', sliceRecord(slice('fat', slices))!);
    expect(pairs(services).length).toBe(MAX_TUNNEL_SERVICES);
    expect(services.omitted).toBe(count * count - MAX_TUNNEL_SERVICES);
  });

  it('a Service whose addresses change within the grace period - holds no more than a namespace may have', () => {
    const services = made();
    const put = (namespace: string, name: string, addresses: string[]) => {
      services.put(name, {
        key: `${namespace}/dns`,
        claimed: [],
        namespace,
        addresses,
        ports: [{ name: '', port: 9, nodePort: null }],
      });
      services.putSlice(name, {
        service: `${namespace}/dns`,
        ports: [{ name: '', port: 4789 }],
        endpoints: '',
        isOfPods: false,
      });
    };
    for (let turn = 0; turn < 5; turn += 1) {
      put(
        'tenant',
        't',
        Array.from({ length: 1_000 }, (_, i) => `34.${turn}.${i >> 8}.${i & 255}`),
      );
      services.list(turn);
    }
    put('shop', 's', ['99.0.0.1']);
    const listed = pairs(services, 5);
    // The fifth thousand had no room any more, except for 96.
    expect([listed.length, services.omitted]).toEqual([MAX_TUNNEL_SERVICES, 905]);
    expect(listed).toContain('99.0.0.1 9');
    expect(pairs(services, GRACE_MS + 5).length).toBe(1_001);
  });
});

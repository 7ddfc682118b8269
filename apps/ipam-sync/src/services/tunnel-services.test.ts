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
const slice = (name: string, ports: EndpointSlice['ports'], namespace = 'shop'): EndpointSlice => {
  const labels = { 'kubernetes.io/service-name': name };
  return { metadata: metadata(`${name}-abc`, { labels }, namespace), ports: ports ?? null };
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
      ...{ key: 'shop/dns', namespace: 'shop', addresses: ['10.96.0.9', 'fd00:96::9', '35.1.1.1', '34.1.1.1'] },
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
    });
    expect(sliceRecord(slice('any', [{ protocol: 'UDP' }]))?.ports).toEqual([{ name: '', port: null }]);
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
    services.putSlice('a', { service: 'a/dns', ports: [{ name: '', port: 4789 }] });
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
      services.putSlice(name, { service: `${namespace}/dns`, ports: [{ name: '', port: 4789 }] });
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

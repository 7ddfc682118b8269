import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type Attachment,
  type CniResult,
  cacheFileName,
  podSide,
  removeCacheRecord,
  writeCacheRecord,
} from './cache.ts';
import { podNetwork } from './conf.ts';
import { cniBinDir } from './plugin.ts';

const bridge: CniResult = {
  cniVersion: '1.0.0',
  interfaces: [
    { name: 'cni0', mac: '02:00:00:00:00:01' },
    { name: 'veth1', mac: '02:00:00:00:00:02' },
    { name: 'eth0', mac: '02:00:00:00:00:03', sandbox: '/run/netns/p' },
  ],
  ips: [
    { interface: 2, address: '10.244.0.2/24', gateway: '10.244.0.1' },
    { interface: 2, address: 'fd00:10:244::2/64', gateway: 'fd00:10:244::1' },
  ],
};

const attachment: Attachment = {
  conf: podNetwork({ plugin: 'bridge', podCidr4: '10.244.0.0/24', podCidr6: 'fd00:10:244::/64', ipamDir: '/x' }),
  ifName: 'eth0',
  containerId: 'c0ffee',
  podUid: 'uid-1',
  podNamespace: 'default',
  podName: 'web-1',
  podAnnotations: { a: 'b' },
  cgroupParent: '/kubepods/burstable/poduid-1',
};

describe('cni', () => {
  it('configuration - both families, no masquerading, whichever plugin', () => {
    for (const plugin of ['bridge', 'ptp'] as const) {
      const { plugins } = podNetwork({ plugin, podCidr4: 'four', podCidr6: 'six', ipamDir: '/leases' });
      expect(plugins).toMatchObject([
        {
          type: plugin,
          ipMasq: false,
          ipam: { dataDir: '/leases', ranges: [[{ subnet: 'four' }], [{ subnet: 'six' }]] },
        },
      ]);
    }
  });

  it('result - the veth is the host side, the bridge the gateway', () => {
    expect(podSide(bridge)).toEqual({
      mac: '02:00:00:00:00:03',
      addresses: ['10.244.0.2', 'fd00:10:244::2'],
      hostInterface: 'veth1',
      gatewayMac: '02:00:00:00:00:01',
      gateways: ['10.244.0.1', 'fd00:10:244::1'],
    });
  });

  it('result - with ptp the veth is both', () => {
    const ptp = {
      ...bridge,
      interfaces: bridge.interfaces.slice(1),
      ips: bridge.ips.map((ip) => ({ ...ip, interface: 1 })),
    };
    expect(podSide(ptp)).toMatchObject({ hostInterface: 'veth1', gatewayMac: '02:00:00:00:00:02' });
  });

  it('result - without a pod side it is refused', () => {
    expect(() => podSide({ ...bridge, interfaces: bridge.interfaces.slice(0, 2) })).toThrow(/no pod interface/);
  });

  it('cache - equals the record of libcni, is readable by root only, and is removed', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'cni-'));
    try {
      await writeCacheRecord(dir, attachment, bridge);
      const file = path.join(dir, 'lab-c0ffee-eth0');
      expect(cacheFileName(attachment)).toBe('lab-c0ffee-eth0');
      const record = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
      expect(Object.keys(record)).toEqual([
        'kind',
        'containerId',
        'config',
        'ifName',
        'networkName',
        'cniArgs',
        'capabilityArgs',
        'result',
      ]);
      expect(record['cniArgs']).toContainEqual(['K8S_POD_UID', 'uid-1']);
      expect(JSON.parse(Buffer.from(record['config'] as string, 'base64').toString())).toEqual(attachment.conf);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      await removeCacheRecord(dir, attachment);
      await removeCacheRecord(dir, attachment);
      await expect(stat(file)).rejects.toThrow();
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('plugins - the error names the missing package', () => {
    expect(() => cniBinDir(['bridge'], ['/nowhere'])).toThrow(/containernetworking-plugins/);
  });
});

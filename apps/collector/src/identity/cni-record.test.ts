import { describe, expect, it } from 'vitest';
import { readCniRecord, whyNoHostSide } from './cni-record.ts';
import { MAX_INTERFACE_ADDRESSES } from './normalize.ts';

const base64 = (config: unknown): string => Buffer.from(JSON.stringify(config)).toString('base64');

const bridge = {
  kind: 'cniCacheV1',
  containerId: 'c1',
  ifName: 'eth0',
  networkName: 'pods',
  config: base64({ cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'bridge' }, { type: 'portmap' }] }),
  cniArgs: [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', 'shop'],
    ['K8S_POD_NAME', 'web-1'],
    ['K8S_POD_UID', '0b6f5c1e-0000-4000-8000-000000000001'],
  ],
  result: {
    cniVersion: '1.0.0',
    interfaces: [
      { name: 'cni0', mac: '16:00:00:00:00:01' },
      { name: 'veth123', mac: '16:00:00:00:00:02' },
      { name: 'eth0', mac: '0A:58:0A:F4:01:02', sandbox: '/run/netns/x' },
    ],
    ips: [
      { address: '10.244.1.2/24', gateway: '10.244.1.1', interface: 2 },
      { address: 'fd00:10:244:1::2/64', interface: 2 },
      { address: '169.254.9.9/32', interface: 0 },
    ],
  },
};

describe('cni record', () => {
  it('bridge result - host sides, the pod side’s MAC and only its addresses', () => {
    const reading = readCniRecord('pods-c1-eth0', JSON.stringify(bridge), 7);
    expect(reading).toEqual({
      dropped: [],
      record: {
        writtenAtMs: 7,
        file: 'pods-c1-eth0',
        containerId: 'c1',
        ifName: 'eth0',
        plugin: 'bridge',
        segment: 'cni0 [0,null]',
        isChosen: false,
        isMacChosen: false,
        podUid: '0b6f5c1e-0000-4000-8000-000000000001',
        podNamespace: 'shop',
        podName: 'web-1',
        hostInterfaces: ['cni0', 'veth123'],
        hostMacs: { cni0: '16:00:00:00:00:01', veth123: '16:00:00:00:00:02' },
        podMac: '0a:58:0a:f4:01:02',
        addresses: ['10.244.1.2', 'fd00:10:244:1::2'],
      },
    });
  });

  it.each([
    ['Calico: the host side alone', [{ name: 'cali123' }], ['cali123']],
    ['AWS: no MACs', [{ name: 'eni123' }, { name: 'eth0', sandbox: '/run/netns/x' }], ['eni123']],
    ['Azure: the pod side without its sandbox', [{ name: 'eth0' }], []],
  ])('no MAC - %s', (_name, interfaces, hostInterfaces) => {
    const plain = { ...bridge, result: { interfaces, ips: [{ address: '10.244.1.2/32' }] } };
    expect(readCniRecord('f', JSON.stringify(plain), 7)).toMatchObject({
      record: { hostInterfaces, podMac: '', addresses: ['10.244.1.2'] },
    });
  });

  it('addresses without an interface index - belong to the pod', () => {
    const plain = { ...bridge, result: { ...bridge.result, ips: [{ address: '10.244.1.2/24' }] } };
    expect(readCniRecord('f', JSON.stringify(plain), 7)).toMatchObject({ record: { addresses: ['10.244.1.2'] } });
  });

  it.each<[string, unknown, string, RegExp | null]>([
    ['a configuration of one plugin', base64({ type: 'macvlan' }), 'macvlan', /one parent interface/],
    ['a list', base64({ plugins: [{ type: 'sriov' }, { type: 'tuning' }] }), 'sriov', /the device itself/],
    ['a list of a plugin with a host side', base64({ plugins: [{ type: 'ptp' }] }), 'ptp', null],
    ['no configuration', undefined, '', null],
    ['an empty list', base64({ plugins: [] }), '', null],
    [
      'too long to be read',
      base64({ type: 'macvlan', args: 'x'.repeat(200 * 1024) }),
      'unknown',
      /no interface of the/,
    ],
    ['null', base64(null), '', null],
    ['no JSON', Buffer.from('x').toString('base64'), '', null],
  ])('main plugin and why it has no host side - %s', (_name, config, plugin, why) => {
    const reading = readCniRecord('f', JSON.stringify({ ...bridge, config }), 7);
    expect(reading).toMatchObject({ record: { plugin } });
    const reason = whyNoHostSide({ plugin, hostInterfaces: [] });
    if (why === null) expect(reason).toBeNull();
    else expect(reason).toMatch(why);
  });

  it.each<[string, object, string | undefined]>([
    ['a bridge', { plugins: [{ type: 'bridge', bridge: 'br0', vlan: 7 }] }, 'br0 [7,null]'],
    ['the bridge of the plugin', { type: 'bridge' }, 'cni0 [0,null]'],
    ['a trunk', { type: 'ovs', bridge: 'br0', vlanTrunk: [{ id: 7 }] }, 'br0 [0,[{"id":7}]]'],
    ['no bridge', { type: 'ptp' }, ''],
    ['arguments of Multus', { type: 'ptp', args: { cni: { bridge: 'br0', vlan: 7 } } }, ''],
    ['too long to be read', { type: 'bridge', args: 'x'.repeat(200 * 1024) }, undefined],
  ])('bridge and VLAN - %s', (_name, config, segment) => {
    const reading = readCniRecord('f', JSON.stringify({ ...bridge, config: base64(config) }), 7);
    expect('record' in reading && reading.record.segment).toBe(segment);
  });

  it.each<[string, object | null, boolean]>([
    ['host-local', { plugins: [{ type: 'bridge', ipam: { type: 'host-local' } }] }, false],
    ['no IPAM', { plugins: [{ type: 'cilium-cni' }] }, false],
    ['another plugin of the list', { plugins: [{ type: 'bridge' }, { type: 'x', ipam: { type: 'static' } }] }, false],
    ['null', { plugins: [null] }, false],
    ['static IPAM', { plugins: [{ type: 'bridge', ipam: { type: 'static' } }] }, true],
    ['static IPAM, one plugin', { type: 'bridge', ipam: { type: 'static' } }, true],
    ['arguments of Multus', { plugins: [{ type: 'bridge', args: { cni: { ips: ['10.0.0.2'] } } }] }, true],
    ['arguments of Multus, one plugin', { type: 'bridge', args: { cni: { ips: ['10.0.0.2'] } } }, true],
    ['arguments in upper case', { type: 'bridge', args: { cni: { IPS: ['10.0.0.2'] } } }, true],
    ['arguments that Go folds', { type: 'bridge', args: { cni: { 'ip\u017f': ['10.0.0.2'] } } }, true],
    ['other arguments', { type: 'bridge', args: { cni: { ip: '10.0.0.2', mac: 'x' } } }, false],
    ['too long to be read', { type: 'bridge', args: 'x'.repeat(200 * 1024) }, true],
  ])('whether addresses were chosen - %s', (_name, config, isChosen) => {
    const reading = readCniRecord('f', JSON.stringify({ ...bridge, config: base64(config) }), 7);
    expect(reading).toMatchObject({ record: { isChosen } });
  });

  it.each([
    ['a plugin of the list', { config: base64({ plugins: [{ type: 'bridge' }, { type: 'tuning', mac: 'x' }] }) }, true],
    ['arguments of Multus', { config: base64({ type: 'bridge', args: { cni: { mac: 'x' } } }) }, true],
    ['arguments in upper case', { config: base64({ plugins: [{ type: 'x', args: { cni: { MAC: 'x' } } }] }) }, true],
    ['arguments in mixed case', { config: base64({ type: 'bridge', args: { cni: { mAc: 'x' } } }) }, true],
    ['a capability', { capabilityArgs: { mac: '0a:00:00:00:00:01' } }, true],
    ['capabilities that were cut', { capabilityArgs: null }, true],
    ['an argument', { cniArgs: [...bridge.cniArgs, ['MAC', '0a:00:00:00:00:01']] }, true],
    ['too long to be read', { config: base64({ type: 'bridge', args: 'x'.repeat(200 * 1024) }) }, true],
    ['none of them', { config: base64({ type: 'bridge', args: { cni: { ips: [] } } }), capabilityArgs: {} }, false],
  ])('whether the MAC was chosen - %s', (_name, more, isMacChosen) => {
    const reading = readCniRecord('f', JSON.stringify({ ...bridge, ...more }), 7);
    expect(reading).toMatchObject({ record: { isMacChosen } });
  });

  it.each([
    ['half written', JSON.stringify(bridge).slice(0, 100), /^not JSON/],
    ['empty', '', /^not JSON/],
    ['null', 'null', /kind/],
    ['another kind', JSON.stringify({ ...bridge, kind: 'x' }), /kind is not cniCacheV1/],
    ['no pod', JSON.stringify({ ...bridge, cniArgs: [] }), /K8S_POD_UID/],
    ['args of a wrong shape', JSON.stringify({ ...bridge, cniArgs: 'x' }), /K8S_POD_UID/],
  ])('rejected with its reason - %s', (_name, json, reason) => {
    expect(readCniRecord('f', json, 7)).toEqual({ reason: expect.stringMatching(reason) });
  });

  it('result of a wrong shape - a record without addresses, never an exception', () => {
    const odd = { ...bridge, result: { interfaces: [null, 3, { name: 5 }], ips: [null, { address: 7 }] } };
    expect(readCniRecord('f', JSON.stringify(odd), 7)).toMatchObject({ record: { addresses: [], hostInterfaces: [] } });
  });

  it('thousands of addresses - the first ones of each family; the others are dropped with a reason', () => {
    const v4 = Array.from({ length: 18_000 }, (_, n) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`);
    const ips = [...v4, 'fd00::2'].map((address) => ({ address: `${address}/8` }));
    expect(readCniRecord('f', JSON.stringify({ ...bridge, result: { ips } }), 7)).toMatchObject({
      record: { addresses: [...v4.slice(0, MAX_INTERFACE_ADDRESSES), 'fd00::2'] },
      dropped: ['ips: 17920 addresses beyond 80 of a family'],
    });
  });

  it('values that cannot be parsed - dropped one by one with their reason; addresses are canonical', () => {
    const ips = ['garbage', '10.244.1.2/24', '::ffff:10.244.1.3/128', 'FD00:0::2/64'].map((address) => ({ address }));
    const interfaces = [{ name: 'eth0', mac: 'nonsense', sandbox: '/run/netns/x' }];
    expect(readCniRecord('f', JSON.stringify({ ...bridge, result: { interfaces, ips } }), 7)).toMatchObject({
      record: { podMac: '', addresses: ['10.244.1.2', '10.244.1.3', 'fd00::2'] },
      dropped: ['mac: not a MAC address: "nonsense"', 'ips: not an IP address: "garbage"'],
    });
  });
});

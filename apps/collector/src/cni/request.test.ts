import { describe, expect, it } from 'vitest';
import { readRequest } from './request.ts';

const ADD = {
  protocol: 1,
  command: 'ADD',
  containerId: 'c1',
  ifName: 'eth0',
  netns: '/run/netns/p',
  args: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=uid-1',
  network: 'pods',
  result: {
    cniVersion: '1.0.0',
    interfaces: [
      { name: 'cni0' },
      { name: 'veth1' },
      { name: 'eth0', mac: '0A:58:0A:F4:00:02', sandbox: '/run/netns/p' },
    ],
    ips: [{ address: '10.244.0.2/24', interface: 2 }],
  },
  podLink: { ifindex: 2, hostIfindex: 9, mac: '0a:58:0a:f4:00:02' },
};
const read = (more: Record<string, unknown> = {}) => readRequest(JSON.stringify({ ...ADD, ...more }), 5);

describe('CNI request', () => {
  it('ADD - is the record that libcni writes after the call, under the name of its file', () => {
    expect(read()).toEqual({
      command: 'ADD',
      podLink: ADD.podLink,
      dropped: [],
      record: {
        file: 'pods-c1-eth0',
        containerId: 'c1',
        ifName: 'eth0',
        plugin: '',
        podUid: 'uid-1',
        podNamespace: 'shop',
        podName: 'web-1',
        hostInterfaces: ['cni0', 'veth1'],
        hostMacs: {},
        podMac: '0a:58:0a:f4:00:02',
        addresses: ['10.244.0.2'],
        isChosen: false,
        isMacChosen: false,
        writtenAtMs: 5,
        fromCall: true,
      },
    });
  });

  it.each(['0.3.1', '0.4.0', '1.0.0', '1.1.0'])('%s - results of this version are read', (cniVersion) => {
    const version = cniVersion < '1' ? { version: '4' } : {};
    const ips = [{ ...version, address: '10.244.0.2/24', interface: 2 }];
    const result = { ...ADD.result, cniVersion, ips, routes: [{ dst: '0.0.0.0/0', mtu: 1400 }] };
    expect(read({ result })).toMatchObject({
      record: { addresses: ['10.244.0.2'], hostInterfaces: ['cni0', 'veth1'] },
    });
  });

  it.each<[string, unknown, object]>([
    [
      'without interfaces',
      { ips: [{ address: '10.0.0.2/24' }] },
      { addresses: ['10.0.0.2'], hostInterfaces: [], podMac: '' },
    ],
    ['without addresses', { interfaces: [{ name: 'cali1' }] }, { addresses: [], hostInterfaces: ['cali1'] }],
    ['that is empty', {}, { addresses: [], hostInterfaces: [] }],
    ['that is absent', undefined, { addresses: [], hostInterfaces: [] }],
    [
      'with values of other types',
      { interfaces: 'x', ips: [null, { address: 4 }] },
      { addresses: [], hostInterfaces: [] },
    ],
  ])('a result %s is read as far as it goes', (_name, result, record) => {
    expect(read({ result })).toMatchObject({ record });
  });

  it('CHECK does not use the pod side: a pod may have changed it since', () => {
    expect(read({ command: 'CHECK' })).toMatchObject({ command: 'CHECK', podLink: null });
  });

  it('several interfaces of a pod have records of their own', () => {
    expect(read({ ifName: 'net1', network: 'storage' })).toMatchObject({
      record: { file: 'storage-c1-net1', ifName: 'net1' },
    });
  });

  it.each<[string, string | object, RegExp]>([
    ['no JSON', '{', /not JSON/],
    ['no object', '[]', /wrong/],
    ['another protocol', { protocol: 2 }, /wrong protocol/],
    ['an unknown command', { command: 'DEL' }, /wrong command/],
    ['a result of another type', { result: [] }, /wrong result/],
    ['a pod side of another type', { podLink: { ifindex: -1 } }, /wrong podLink/],
    ['a pod side with another MAC', { podLink: { ...ADD.podLink, mac: 'x' } }, /wrong podLink.mac: no MAC/],
    ['no pod', { args: 'A=1' }, /K8S_POD_UID/],
  ])('%s is refused', (_name, value, reason) => {
    const result = typeof value === 'string' ? readRequest(value, 0) : read(value as Record<string, unknown>);
    expect(result).toEqual({ reason: expect.stringMatching(reason) });
  });
});

import type { Pod } from '@bailiff/kube';
import { type PermittedPod, spoofCluster } from '@bailiff/policy';
import { clusterSnapshot } from '@bailiff/schemas';
import { describe, expect, test } from 'vitest';
import {
  granted,
  grantRequests,
  MAC_ANNOTATION,
  MAX_ANNOTATION_CHARS,
  MAX_MACS_PER_POD,
  MAX_PREFIXES_PER_POD,
  NEIGHBOUR_ANNOTATION,
  type Permits,
  PREFIX_ANNOTATION,
  permitsOf,
  TUNNEL_ANNOTATION,
} from './grants.ts';
import { nodeRecord, podRecord, sameRecord } from './records.ts';

/** What a pod that asks for these values gets. */
const grantedOf = (kind: keyof Permits, asked: string[], pod: PermittedPod, permits: Permits): string[] => {
  const nothing = { values: [], refused: 0 };
  const requests = { prefixes: nothing, macs: nothing, tunnels: nothing, neighbours: nothing };
  return granted({ ...requests, [kind]: { values: asked, refused: 0 } }, pod, permits)[kind];
};
const permitted = (config: object): Permits => permitsOf(spoofCluster.parse(config));
const requestedPrefixes = (annotation: string | undefined) =>
  grantRequests(annotation === undefined ? {} : { [PREFIX_ANNOTATION]: annotation }).prefixes;

const pod = (change: { metadata?: object; spec?: object; status?: object } = {}): Pod => ({
  metadata: {
    name: 'web-1',
    namespace: 'shop',
    uid: 'u1',
    resourceVersion: '42',
    creationTimestamp: '2026-11-24T10:00:00Z',
    labels: { app: 'web' },
    ...change.metadata,
  },
  spec: { nodeName: 'node-1', serviceAccountName: 'web', containers: [{ name: 'main' }], ...change.spec },
  status: { phase: 'Running', podIPs: [{ ip: '10.1.0.5' }, { ip: 'FD00::5' }], ...change.status },
});

describe('pod record', () => {
  test('record - a mirror has the UID of its static pod; the UID of another pod is not believed', () => {
    const of = (value: string) =>
      podRecord(pod({ metadata: { annotations: { 'kubernetes.io/config.mirror': value } } }))?.staticUid;
    expect(of('0123456789abcdef0123456789abcdef')).toBe('0123456789abcdef0123456789abcdef');
    for (const value of ['', 'node-1', '7d3b7a38-5cd5-4b0e-8a25-0d6f3c1d9a11', 'A'.repeat(32)])
      expect(of(value), value).toBeUndefined();
    expect(podRecord(pod())).not.toHaveProperty('staticUid');
  });
  test('pod record - both families in one spelling, identity, container ids without the scheme', () => {
    const status = { containerStatuses: [{ name: 'main', containerID: 'containerd://abc' }] };
    expect(podRecord(pod({ status }))).toMatchObject({
      uid: 'u1',
      nodeName: 'node-1',
      serviceAccount: 'web',
      addresses: ['10.1.0.5', 'fd00::5'],
      hostNetwork: false,
      containers: [{ name: 'main', id: 'abc' }],
      terminating: false,
      revision: 42,
      createdAt: '2026-11-24T10:00:00Z',
    });
  });
  test.each([
    ['not bound to a node', { spec: { nodeName: undefined } }],
    ['succeeded', { status: { phase: 'Succeeded' } }],
    ['failed', { status: { phase: 'Failed' } }],
  ])('pod record - a pod that is %s has none', (_, change) => {
    expect(podRecord(pod(change))).toBeNull();
  });
  test.each([
    ['pending without an address', { status: { phase: 'Pending', podIPs: undefined } }, { addresses: [] }],
    ['terminating', { metadata: { deletionTimestamp: '2026-11-24T10:00:00Z' } }, { terminating: true }],
    ['with podIP alone', { status: { podIPs: undefined, podIP: '10.9.9.9' } }, { addresses: ['10.9.9.9'] }],
    ['on the host network', { spec: { hostNetwork: true } }, { hostNetwork: true, addresses: [] }],
    ['with an invalid address', { status: { podIPs: [{ ip: 'x' }, { ip: '10.1.0.6' }] } }, { addresses: ['10.1.0.6'] }],
    ['with an opaque version', { metadata: { resourceVersion: 'abc' } }, { revision: 0 }],
  ])('pod record - a pod %s is kept', (_, change, expected) => {
    expect(podRecord(pod(change))).toMatchObject(expected);
  });
  test('pod record - the owner is the controller, not another reference', () => {
    const reference = (name: string, controller?: boolean) => ({
      apiVersion: 'v1',
      kind: 'K',
      name,
      uid: name,
      controller,
    });
    const own = (refs: object[]) => podRecord(pod({ metadata: { ownerReferences: refs } }))?.owner;
    expect(own([reference('a'), reference('b', true)])).toEqual({ kind: 'K', name: 'b', uid: 'b' });
    expect(own([reference('a')])).toBeNull();
  });
  test('pod record - probe ports of all probes and sidecars, named ones resolved, each once', () => {
    const spec = {
      containers: [
        {
          name: 'main',
          ports: [{ name: 'http', containerPort: 8080 }],
          livenessProbe: { httpGet: { port: 'http' } },
          readinessProbe: { tcpSocket: { port: 9090 } },
          startupProbe: { grpc: { port: 50051 } },
        },
        { name: 'second', livenessProbe: { httpGet: { port: 'http' } }, readinessProbe: { httpGet: { port: '8080' } } },
        { name: 'exec', livenessProbe: { exec: {} } },
        { name: 'wrong', livenessProbe: { tcpSocket: { port: 70000 } } },
      ],
      initContainers: [{ name: 'sidecar', restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 15021 } } }],
    };
    expect(podRecord(pod({ spec }))?.probePorts.map(({ port }) => port)).toEqual([8080, 9090, 15021, 50051]);
  });
  test('pod record - a heartbeat is no change, relevant fields are', () => {
    const base = podRecord(pod())!;
    expect(sameRecord(base, podRecord(pod({ metadata: { resourceVersion: '43' } }))!)).toBe(true);
    expect(sameRecord(base, podRecord(pod({ metadata: { labels: { app: 'x' } } }))!)).toBe(false);
    expect(sameRecord(base, podRecord(pod({ status: { podIPs: [] } }))!)).toBe(false);
  });
});

test('node record - internal and external addresses of both families, pod CIDRs, no names', () => {
  const record = nodeRecord({
    metadata: { name: 'node-1.example', uid: 'n', resourceVersion: '1' },
    spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'FD00:1::/64'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '192.0.2.1' },
        { type: 'ExternalIP', address: '2001:DB8::1' },
        { type: 'Hostname', address: 'node-1' },
        { type: 'InternalIP', address: 'nonsense' },
      ],
    },
  });
  expect(record).toEqual({
    name: 'node-1.example',
    addresses: ['192.0.2.1', '2001:db8::1'],
    podCidrs: ['10.1.0.0/24', 'fd00:1::/64'],
  });
});

test('node record - as many addresses as the cluster list may have; readers refuse a longer one for all nodes', () => {
  const addresses = Array.from({ length: 1_000 }, (_, i) => ({
    type: 'InternalIP',
    address: `10.9.${i >> 8}.${i & 255}`,
  }));
  const record = nodeRecord({ metadata: { name: 'stolen', uid: 'n', resourceVersion: '1' }, status: { addresses } });
  const listOf = (all: string[]) => ({
    revision: 1,
    nodes: [
      { name: 'honest', addresses: ['192.0.2.1'], podCidrs: [] },
      { ...record, addresses: all },
    ],
  });
  expect(clusterSnapshot.parse(listOf(record.addresses)).nodes.map((node) => node.addresses.length)).toEqual([1, 128]);
  expect(record.addresses[0]).toBe('10.9.0.0');
  expect(clusterSnapshot.safeParse(listOf(addresses.map(({ address }) => address))).success, 'control').toBe(false);
});

describe('grants', () => {
  const asking = (change: Partial<PermittedPod>): PermittedPod => ({
    namespace: 'vpn',
    serviceAccount: 'default',
    workload: null,
    ...change,
  });
  test.each([
    [undefined, [], 0],
    ['', [], 0],
    [' , ', [], 0],
    ['10.0.0.5/8', ['10.0.0.0/8'], 0],
    ['10.0.0.0/8, FD00::/64 ,10.1.1.1/8', ['10.0.0.0/8', 'fd00::/64'], 0],
    ['10.0.0.0, nonsense, 10.0.0.0/33, 10.0.0.0/8', ['10.0.0.0/8'], 3],
  ])('grants - annotation %j requests %j, %i refused', (annotation, prefixes, refused) => {
    expect(requestedPrefixes(annotation)).toEqual({ values: prefixes, refused });
  });
  test('grants - no pod requests more than the limit', () => {
    const annotation = Array.from({ length: MAX_PREFIXES_PER_POD + 3 }, (_, i) => `10.0.${i}.0/24`).join(',');
    const request = requestedPrefixes(annotation);
    expect(request.values).toHaveLength(MAX_PREFIXES_PER_POD);
    expect(request.refused).toBe(3);
  });
  test('grants - an annotation above its limit is refused before it is parsed', () => {
    const prefixes = '10.0.0.0/8,'.repeat(Math.floor(MAX_ANNOTATION_CHARS / 11));
    expect(requestedPrefixes(prefixes)).toEqual({ values: ['10.0.0.0/8'], refused: 0 });
    expect(requestedPrefixes(prefixes + ' '.repeat(11))).toEqual({ values: [], refused: 1 });
    // Parsing 255 kB of distinct prefixes took 60 ms.
    const large = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join(',');
    expect(requestedPrefixes(large)).toEqual({ values: [], refused: 1 });
  });
  const permits = permitted({
    allowedPrefixes: [
      { namespace: 'vpn', prefixes: ['10.0.0.0/8'] },
      { namespace: 'vpn', prefixes: ['fd00::/16'] },
      { namespace: 'other', prefixes: ['0.0.0.0/0'] },
    ],
  });
  test.each([
    [['10.2.0.0/16', 'fd00::/64'], 'vpn', ['10.2.0.0/16', 'fd00::/64']],
    [['0.0.0.0/0', '10.0.0.0/8'], 'vpn', ['10.0.0.0/8']],
    [['11.0.0.0/16'], 'vpn', []],
    [['10.2.0.0/16'], 'shop', []],
    [[], 'vpn', []],
  ])('grants - of %j a pod of %s gets %j', (asked, namespace, expected) => {
    expect(grantedOf('prefixes', asked, asking({ namespace }), permits)).toEqual(expected);
  });
  test.each([
    [{ serviceAccount: 'gateway' }, { serviceAccount: 'gateway' }, true],
    [{ serviceAccount: 'gateway' }, { serviceAccount: 'default' }, false],
    [{ workload: 'vpn' }, { workload: 'vpn' }, true],
    [{ workload: 'vpn' }, { workload: 'web' }, false],
    [{ workload: 'vpn' }, { workload: null }, false],
    [{ workload: 'vpn', serviceAccount: 'gateway' }, { workload: 'vpn', serviceAccount: 'default' }, false],
  ])('grants - a permit for %j is for a pod of %j: %s', (scope, pod, expected) => {
    const narrow = permitted({ allowedPrefixes: [{ namespace: 'vpn', ...scope, prefixes: ['10.0.0.0/8'] }] });
    expect(grantedOf('prefixes', ['10.0.0.0/8'], asking(pod), narrow)).toEqual(expected ? ['10.0.0.0/8'] : []);
  });
  test.each([
    ['52:54:00:12:34:56', ['52:54:00:12:34:56'], 0],
    ['52:54:00:AB:34:56, 52:54:00:ab:34:56', ['52:54:00:ab:34:56'], 0],
    ['00:00:00:00:00:00, ff:ff:ff:ff:ff:ff, 01:00:5e:00:00:01, 52:54:00, 52-54-00-12-34-56, 10.0.0.0/8', [], 6],
    [Array.from({ length: MAX_MACS_PER_POD + 2 }, (_, i) => `52:54:00:00:00:0${i.toString(16)}`).join(), null, 2],
  ])('grants - annotation %j requests MACs %j, %i refused', (annotation, macs, refused) => {
    const request = grantRequests({ [MAC_ANNOTATION]: annotation }).macs;
    expect(request.refused).toBe(refused);
    if (macs === null) expect(request.values).toHaveLength(MAX_MACS_PER_POD);
    else expect(request.values).toEqual(macs);
  });
  test.each([
    [['52:54:00:12:34:56'], ['52:54:00'], true],
    [['52:54:00:12:34:56'], ['52:54:00:12:34:56'], true],
    [['52:54:01:12:34:56'], ['52:54:00'], false],
    [['52:54:00:12:34:56'], [], false],
  ])('grants - MACs %j under a permit of %j: %s', (asked, macs, expected) => {
    const permits = permitted({ allowedMacs: macs.length > 0 ? [{ namespace: 'vpn', macs }] : [] });
    expect(grantedOf('macs', asked, asking({}), permits)).toEqual(expected ? asked : []);
    expect(grantedOf('macs', asked, asking({ namespace: 'shop' }), permits)).toEqual([]);
  });
  test('grants - tunnel peers and neighbour prefixes have keys of their own', () => {
    const asked = { [TUNNEL_ANNOTATION]: '10.1.0.7/32,10.2.0.7/32', [NEIGHBOUR_ANNOTATION]: 'fd00::50/128,nonsense' };
    const requests = grantRequests(asked);
    expect(requests).toMatchObject({ prefixes: { values: [] }, neighbours: { values: ['fd00::50/128'], refused: 1 } });
    const permits = permitted({
      allowedTunnels: [{ namespace: 'vpn', peers: ['10.1.0.0/16'] }],
      allowedNeighbours: [{ namespace: 'vpn', prefixes: ['fd00::/64'] }],
    });
    const all = { prefixes: [], macs: [], tunnels: ['10.1.0.7/32'], neighbours: ['fd00::50/128'] };
    expect(granted(requests, asking({}), permits)).toEqual(all);
    const none = { prefixes: [], macs: [], tunnels: [], neighbours: [] };
    expect(granted(requests, asking({ namespace: 'shop' }), permits)).toEqual(none);
    expect(granted(requests, asking({}), permitted({}))).toEqual(none);
    expect(granted(grantRequests({}), asking({}), permits)).toEqual(none);
  });
});

describe('pod record - values chosen by the writer of a pod are limited and reported as cut', () => {
  const controller = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'u2', controller: true };
  const owners = (change: object) => ({ metadata: { ownerReferences: [{ ...controller, ...change }] } });
  const long = 'ü'.repeat(300_000);
  const many = (count: number, of: (i: number) => object) => Array.from({ length: count }, (_, i) => of(i));
  test.each([
    ['ordinary', owners({}), { owner: { kind: 'ReplicaSet', name: 'web', uid: 'u2' }, cut: false }],
    ['an owner with a long name', owners({ name: long }), { owner: { name: `${'ü'.repeat(125)}…` }, cut: true }],
    ['an owner of a long kind', owners({ kind: long }), { owner: { kind: `${'ü'.repeat(125)}…` }, cut: true }],
    ['an owner with a long uid', owners({ uid: long }), { owner: null, cut: true }],
    ['a uid with more bytes than characters', owners({ uid: '€'.repeat(43) }), { owner: null, cut: true }],
    ['a uid with as many bytes as allowed', owners({ uid: 'ü'.repeat(64) }), { owner: { uid: 'ü'.repeat(64) } }],
    [
      'a container with a long id',
      { status: { containerStatuses: [{ name: 'main', containerID: `containerd://${'d'.repeat(300_000)}` }] } },
      { containers: [{ name: 'main', id: '' }] },
    ],
    [
      'many containers',
      { spec: { containers: many(50_000, (i) => ({ name: `c${i}` })) } },
      { containers: { length: 64 }, cut: true },
    ],
    [
      'many probe ports',
      { spec: { containers: many(1_000, (i) => ({ name: `c${i}`, livenessProbe: { tcpSocket: { port: i + 1 } } })) } },
      { probePorts: { length: 64 }, cut: true },
    ],
  ])('%s', (_, change, expected) => {
    expect(podRecord(pod(change as object))).toMatchObject(expected);
  });

  test('labels - as many as fit into 8 KiB, sorted by name', () => {
    const labels = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, i) => [`l${String(i).padStart(5, '0')}`, 'v'.repeat(58)]),
    );
    const record = podRecord(pod({ metadata: { labels } }));
    expect(record?.cut).toBe(true);
    expect(Object.keys(record?.labels ?? {})).toEqual(Object.keys(labels).slice(0, 128));
    // A label that a policy selects by is not cut.
    const selected = { ...labels, zone: 'restricted' };
    expect(podRecord(pod({ metadata: { labels: selected } }))?.labels).not.toHaveProperty('zone');
    expect(podRecord(pod({ metadata: { labels: selected } }), new Set(['zone']))).toMatchObject({
      labels: { zone: 'restricted', l00000: 'v'.repeat(58) },
      cut: true,
    });
    const few = Object.fromEntries(Object.entries(labels).slice(0, 100));
    expect(podRecord(pod({ metadata: { labels: few } }))).toMatchObject({ labels: few, cut: false });
  });
});

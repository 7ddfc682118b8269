// Each policy of policies/: it parses, compiles and is described; it refuses its attacks and allows
// normal use.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SetHeadLayout } from '@bailiff/bpf/runtime-layout';
import { CAPABILITIES, KERNEL_VALUES, MOUNT_VALUES } from '@bailiff/vocabulary';
import { describe, expect, it } from 'vitest';
import { compileSet } from '../compile/compile.ts';
import { encodeSet } from '../compile/encode.ts';
import { explain } from '../model/explain.ts';
import type { Operation } from '../model/model.ts';
import { mergePolicies, onAddress, onPath, onValue, socket, task } from '../testing.ts';
import { loadPolicyFile } from './load.ts';
import { mergeSelected } from './merge.ts';

const folder = path.resolve(import.meta.dirname, '../../../../policies');
const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
const load = (file: string) => loadPolicyFile(readFileSync(path.join(folder, file), 'utf8'), file);

const capability = (name: (typeof CAPABILITIES)[number]) => onValue('capability', CAPABILITIES.indexOf(name));
const kernel = (name: (typeof KERNEL_VALUES)[number]) => onValue('kernel', KERNEL_VALUES.indexOf(name));
const mount = (name: (typeof MOUNT_VALUES)[number]) => onValue('mount', MOUNT_VALUES.indexOf(name));
const [LAYER, VOLUME, MEMORY] = [onValue('drift', 0), onValue('drift', 1), onValue('drift', 2)];
const [UNIX, INET, INET6, NETLINK, PACKET, ALG, XDP] = [1, 2, 10, 16, 17, 38, 44];
const [STREAM, DGRAM, RAW, SEQPACKET] = [1, 2, 3, 5];
const TOKEN = '/run/secrets/kubernetes.io/serviceaccount/..2026_11_24/token';
const CLOUD_TOKENS = [
  '/secrets/eks.amazonaws.com/serviceaccount/token',
  '/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token',
  '/secrets/azure/tokens/azure-identity-token',
  '/secrets/tokens/gcp-ksa/token',
];
const SHELL = ['/usr/bin/cat', '/usr/bin/dash', '/app/server'];

/** Deciding vector (null: passes), the operation, and the programs (newest first). */
type Row = readonly [string | null, Operation, (readonly string[])?];

const CASES: Readonly<Record<string, readonly Row[]>> = {
  'no-raw-sockets': [
    ['no-raw-sockets/raw', socket(INET, RAW, 1)],
    ['no-raw-sockets/raw', socket(INET6, RAW, 58)],
    ['no-raw-sockets/raw', socket(INET, RAW, 255)],
    ['no-raw-sockets/packet', socket(PACKET, RAW, 3)],
    ['no-raw-sockets/packet', socket(PACKET, DGRAM, 0x800)],
    ['no-raw-sockets/xdp', socket(XDP, RAW, 0)],
    ['no-raw-sockets/net-raw', capability('net_raw')],
    [null, capability('net_admin')],
    [null, capability('net_bind_service')],
    [null, socket(INET, DGRAM, 1)],
    [null, socket(INET, STREAM, 0)],
    [null, socket(INET6, DGRAM, 17)],
    [null, socket(NETLINK, RAW, 0)],
    [null, socket(UNIX, STREAM, 0)],
  ],
  'af-alg': [
    ['af-alg/alg-socket', socket(ALG, SEQPACKET, 0)],
    [null, socket(INET, STREAM, 6)],
    [null, socket(UNIX, SEQPACKET, 0)],
  ],
  'immutable-image': [
    ['immutable-image/drift', LAYER],
    ['immutable-image/drift', VOLUME],
    ['immutable-image/drift', MEMORY],
    [null, onPath('execute', '/usr/bin/python3.12')],
    [null, onPath('write', '/tmp/x')],
  ],
  'no-fileless-exec': [
    ['no-fileless-exec/memory', MEMORY],
    ['no-fileless-exec/detached', onPath('execute', 'memfd:x')],
    ['no-fileless-exec/detached', onPath('map-execute', 'memfd:lib')],
    [null, LAYER],
    [null, VOLUME],
    [null, onPath('execute', '/usr/bin/id')],
    [null, onPath('map-execute', '/usr/lib/libc.so.6')],
    [null, onPath('write', '/dev/shm/a')],
    [null, { kind: 'path', op: 'link', path: '/dev/shm/sem.x', oldName: true }],
    [null, { kind: 'path', op: 'rename', path: '/dev/shm/a', oldName: true }],
    [null, onPath('execute', '/memfd:x')],
  ],
  'no-shell': [
    ['no-shell/shell', onPath('execute', '/usr/bin/dash')],
    ['no-shell/shell', onPath('execute', '/bin/bsd-csh')],
    ['no-shell/shell', onPath('map-execute', '/usr/bin/lksh')],
    ['no-shell/shell', onPath('execute', '/usr/bin/bash')],
    ['no-shell/shell', onPath('execute', '/bin/busybox')],
    ['no-shell/shell', onPath('execute', '/opt/tools/busybox')],
    ['no-shell/shell', onPath('execute', '/opt/tools/bash')],
    ['no-shell/shell', onPath('execute', '/usr/lib/arm-linux-musl/bin/mksh')],
    ['no-shell/shell', onPath('map-execute', '/usr/bin/bash')],
    ['no-shell/shell-copy', onPath('rename', '/usr/bin/bash')],
    ['no-shell/shell-copy', onPath('rename', '/usr/bin')],
    [null, onPath('rename', '/usr/bin/node')],
    ['no-shell/shell-by-another-way', onPath('execute', '/usr/bin/nc.traditional')],
    ['no-shell/shell-copy', { kind: 'path', op: 'link', path: '/usr/bin/dash', oldName: true }],
    [null, onPath('execute', '/usr/bin/node')],
    [null, onPath('execute', '/usr/bin/bashful')],
    ['no-shell/shell-copy', onPath('read', '/usr/bin/bash')],
    ['no-shell/tool-copy', onPath('read', '/usr/bin/socat')],
    ['no-shell/shell-copy', mount('bind')],
    [null, mount('new')],
    [null, onPath('read', '/usr/bin/node')],
    [null, { kind: 'path', op: 'link', path: '/usr/bin/node', oldName: true }],
  ],
  'metadata-guard': [
    ['metadata-guard/metadata', onAddress('connect', '169.254.169.254', 80)],
    ['metadata-guard/metadata', onAddress('connect', '::ffff:169.254.169.254', 80)],
    ['metadata-guard/metadata', onAddress('send', '169.254.169.254', 80, 17)],
    ['metadata-guard/metadata', onAddress('connect', 'fd00:ec2::254', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fd20:ce::254', 80)],
    ['metadata-guard/metadata', onAddress('connect', '100.100.100.200', 80)],
    ['metadata-guard/metadata', onAddress('connect', '168.63.129.16', 32526)],
    ['metadata-guard/metadata', onAddress('connect', '192.0.0.192', 80)],
    ['metadata-guard/metadata', onAddress('connect', '169.254.0.23', 80)],
    ['metadata-guard/metadata', onAddress('connect', '169.254.42.42', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fd00:c1::a9fe:a9fe', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fd00:42::42', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fd00:100::100:200', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fd00:a9fe:a9fe::1', 80)],
    ['metadata-guard/metadata', onAddress('connect', 'fe80::a9fe:a9fe', 80)],
    [null, onAddress('connect', '168.63.129.16', 53, 17)],
    [null, onAddress('connect', '169.254.169.253', 80)],
    [null, onAddress('connect', '169.254.170.23', 80)],
    [null, onAddress('connect', 'fd00:ec2::23', 80)],
    [null, onAddress('connect', '169.254.170.2', 80)],
    [null, onAddress('connect', 'fe80::1', 80)],
    [null, onAddress('connect', '10.96.0.1', 443)],
    [null, onAddress('bind', '169.254.169.254', 80)],
  ],
  'service-account-token-guard': [
    ['service-account-token-guard/token-by-shell', onPath('read', TOKEN), SHELL],
    ['service-account-token-guard/token-by-downloader', onPath('read', TOKEN), ['/usr/bin/curl', '/app/server']],
    ['service-account-token-guard/token-by-shell', onPath('read', TOKEN), ['/usr/bin/curl', '/bin/ash', '/app/server']],
    ...CLOUD_TOKENS.flatMap((token): Row[] => [
      ['service-account-token-guard/token-by-shell', onPath('read', `/run${token}`), SHELL],
      ['service-account-token-guard/token-by-shell', onPath('read', `/var/run${token}`), SHELL],
      [null, onPath('read', `/run${token}`), ['/app/server']],
    ]),
    [null, onPath('read', '/run/secrets/database-password'), SHELL],
    ['service-account-token-guard/token-by-shell', onPath('read', `/var${TOKEN}`), ['/bin/busybox']],
    ['service-account-token-guard/token-by-shell', { kind: 'path', op: 'link', path: TOKEN, oldName: true }, SHELL],
    [null, onPath('read', TOKEN), ['/app/server']],
    [null, onPath('read', TOKEN), ['/app/server', '/app/init']],
    [null, onPath('read', '/etc/ssl/certs/ca.pem'), SHELL],
  ],
  'no-crypto-miners': [
    ['no-crypto-miners/pool-ports', onAddress('connect', '203.0.113.7', 3333)],
    ['no-crypto-miners/pool-ports', onAddress('connect', '2001:db8::7', 14444)],
    ['no-crypto-miners/miner-programs', onPath('execute', '/tmp/.x/xmrig')],
    ['no-crypto-miners/miner-programs', onPath('map-execute', '/tmp/xmrig')],
    [null, onPath('map-execute', '/usr/lib/libxmrig.so')],
    [null, onAddress('connect', '203.0.113.7', 443)],
    [null, onAddress('connect', '10.1.2.3', 3333)],
    [null, onAddress('connect', 'fd00::1', 4444)],
    [null, onAddress('send', '203.0.113.7', 3333, 17)],
    [null, onPath('execute', '/usr/bin/node')],
  ],
  'escape-guard': [
    ['escape-guard/release-agent', onPath('write', '/sys/fs/cgroup/rdma/x/release_agent')],
    ['escape-guard/release-agent', onPath('write', '/tmp/cgrp/x/notify_on_release')],
    ['escape-guard/core-pattern', onPath('write', '/proc/sys/kernel/core_pattern')],
    ['escape-guard/core-pattern', onPath('write', '/tmp/p/sys/kernel/core_pattern')],
    ['escape-guard/sysrq', onPath('write', '/proc/sysrq-trigger')],
    ['escape-guard/kernel-helpers', onPath('write', '/proc/sys/kernel/modprobe')],
    ['escape-guard/kernel-helpers', onPath('write', '/proc/sys/kernel/poweroff_cmd')],
    ['escape-guard/kernel-helpers', onPath('write', '/sys/module/firmware_class/parameters/path')],
    ['escape-guard/kernel-helpers', onPath('write', '/sys/devices/system/machinecheck/machinecheck0/trigger')],
    [null, onPath('read', '/sys/devices/system/machinecheck/machinecheck0/trigger')],
    ['escape-guard/kernel-helpers', onPath('write', '/sys/kernel/uevent_helper')],
    ['escape-guard/kernel-memory', onPath('read', '/proc/kcore')],
    ['escape-guard/host-binaries', kernel('host-mounts')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/docker.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/containerd/containerd.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/host/run/crio.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/var/run/cri-dockerd.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/var/run/podman/podman.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/user/1000/buildkit/buildkitd.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/k3s/containerd/containerd.sock.ttrpc')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/systemd/private')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/systemd/io.systemd.Manager')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/nri/nri.sock')],
    ['escape-guard/runtime-sockets', onPath('unix-connect', '/run/containerd/s/0a1b2c')],
    [null, onPath('unix-connect', '/run/systemd/notify')],
    [null, onPath('unix-connect', '/run/dbus/system_bus_socket')],
    ...(['new', 'bind', 'move', 'remount', 'pivot', 'propagation'] as const).map(
      (name): Row => ['escape-guard/mounts', mount(name)],
    ),
    ['escape-guard/device-nodes', capability('mknod')],
    ['escape-guard/other-tasks', kernel('ptrace')],
    ['escape-guard/other-tasks', kernel('traceme')],
    ['escape-guard/modules', kernel('module')],
    ['escape-guard/modules', kernel('kexec')],
    ['escape-guard/bpf', kernel('bpf')],
    ['escape-guard/user-namespaces', kernel('user-namespace')],
    ['escape-guard/foreign-network', kernel('foreign-netns')],
    ['escape-guard/host-capabilities', capability('dac_read_search')],
    ['escape-guard/host-capabilities', capability('sys_module')],
    ['escape-guard/namespaces', capability('sys_admin')],
    [null, onPath('read', '/proc/sys/kernel/core_pattern')],
    [null, onPath('read', '/sys/fs/cgroup/memory.max')],
    [null, onPath('write', '/proc/self/oom_score_adj')],
    [null, onPath('unix-connect', '/run/postgresql/.s.PGSQL.5432')],
    [null, onPath('execute', '/usr/sbin/modprobe')],
    [null, capability('net_bind_service')],
    [null, capability('chown')],
    ['escape-guard/other-tasks', kernel('signal')],
    [null, mount('umount')],
    [null, onAddress('connect', '10.0.0.1', 443)],
  ],
};

describe('ready-made policies', () => {
  it('each file has cases, and each case a file', () => {
    expect(files.map((file) => file.replace('.yaml', '')).sort()).toEqual(Object.keys(CASES).sort());
  });

  it.each(files)('%s - one policy of its name, described, tagged, enforcing, and small enough for the maps', (file) => {
    const [named, ...more] = load(file);
    expect([named?.name, more]).toEqual([file.replace('.yaml', ''), []]);
    expect(named?.policy).toMatchObject({ mode: 'enforce', enabled: true });
    expect(named?.policy.description).not.toBe('');
    expect(named?.policy.message).not.toBe('');
    expect(named?.policy.tags.some((tag) => /^attack\.t\d{4}/.test(tag))).toBe(true);
    const encoded = encodeSet(compileSet(mergeSelected([named!]), 1, new Uint8Array(16)));
    expect(encoded.head.value.length).toBe(SetHeadLayout.size);
  });

  const rows = Object.entries(CASES).flatMap(([name, list]) =>
    list.map(([vector, operation, chain]) => [name, vector, operation, chain] as const),
  );
  it.each(rows)('%s - by %s: %o %o', (name, vector, operation, chain) => {
    const set = mergeSelected(load(`${name}.yaml`));
    const decision = explain(set, operation, task(...(chain ?? [])));
    const denied = decision.outcome === 'pass' ? null : decision.decidedBy;
    expect([denied, decision.text]).toEqual([vector, decision.text]);
  });

  it('programs of every policy - have both spellings, for images with and without a separate /bin', () => {
    const twin = (name: string) =>
      /^\/(s?bin)\/[^/]+$/.test(name) ? `/usr${name}` : name.replace(/^\/usr(\/s?bin\/[^/]+)$/, '$1');
    const oneSided = files.flatMap((file) =>
      load(file).flatMap(({ policy }) =>
        policy.rules.flatMap(({ name, execute, fromSource }) => {
          const lists = [execute?.paths ?? [], (fromSource ?? []).map((source) => source.path)];
          return lists.flatMap((list) => list.filter((one) => !list.includes(twin(one))).map((one) => [name, one]));
        }),
      ),
    );
    expect(oneSided).toEqual([]);
  });

  it('every rule of every policy - has a case that it denies', () => {
    const wanted = files.flatMap((file) =>
      load(file).flatMap(({ name, policy }) => policy.rules.map((rule) => `${name}/${rule.name}`)),
    );
    const covered = new Set(rows.map(([, vector]) => vector));
    expect(wanted.filter((vector) => !covered.has(vector))).toEqual([]);
  });

  it('all of them on one pod - merge and compile together; those that could break kube-system do not select it', () => {
    const all = files.flatMap(load);
    const labels = { 'bailiff.dev/no-shell': 'true' };
    const shop = mergePolicies(all, { namespace: 'shop', labels }, null);
    expect(new Set(shop?.rules.map((rule) => rule.policyName)).size).toBe(files.length);
    encodeSet(compileSet(shop!, 1, new Uint8Array(16)));
    const system = mergePolicies(all, { namespace: 'kube-system', labels }, null);
    expect([...new Set(system?.rules.map((rule) => rule.policyName))].sort()).toEqual([
      'af-alg',
      'no-crypto-miners',
      'no-fileless-exec',
    ]);
  });
});

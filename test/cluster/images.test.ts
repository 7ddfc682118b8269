// Starts every image with the command of its Containerfile and the environment of its manifest.
// Twice: from its files alone, copied to a directory by the Containerfile's own COPY lines, which
// needs no container engine; and as a container, from images that buildah builds of packages or
// that BAILIFF_IMAGES names (contract/container-engine.ts).

import { type ExecFileOptions, execFile, execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { APPS } from '../../tools/images/image-list.ts';
import { copyOf, last, lineage, parseContainerfile } from '../k8s/containerfile.ts';
import { environmentOf, objectsOf, userIn, type Workload, workloadsOf } from '../k8s/rendered.ts';
import { CniNode, OWN } from '../support/cni-node.ts';
import { forge, startCri } from '../support/cri/on-node.ts';
import { CriRuntime } from '../support/cri/runtime.ts';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import {
  type BuiltImages,
  buildImages,
  type ContainerEngine,
  canBuildImages,
  NO_ENGINE,
  namedEngine,
  removeContainer,
  runImage,
} from './contract/container-engine.ts';
import { readArchive } from './contract/oci-archive.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const file = parseContainerfile(readFileSync(path.join(ROOT, 'k8s/images/Containerfile'), 'utf8'));
const objects = objectsOf('included');
const apps = workloadsOf(objects).filter(
  ({ container }) => container.image.startsWith('bailiff/') && container.name !== 'bus-setup',
);
/** The workload that runs an image; the cli's is the Job. */
const workloadOf = (name: string): Workload =>
  workloadsOf(objects).find(({ component }) => component === (name === 'cli' ? 'bus-setup' : name)) as Workload;
const NODE_DIR = path.dirname(process.execPath);
/** Node's binary is 109 MB of each image. The cli's has openssl, the collector's two static programs. */
const MAX_MEGABYTES: Readonly<Record<string, number>> = { cli: 130, collector: 123 };
const MAX_OTHER_MEGABYTES = 120;
/** Packages that not every image has. */
const OWN_PARTS: Readonly<Record<string, readonly string[]>> = {
  cli: ['libbpf1', 'node-addon-api', 'openssl'],
  collector: ['libbpf1', 'libjansson-dev', 'node-addon-api'],
};
/** Compressed, as nodes pull it. */
const MAX_ARCHIVE_MEGABYTES = 55;
const RUN_TIMEOUT_MS = 30_000;
/**
 * A Node deprecation ends the run: it would print a warning between the lines of a log, or break
 * with the next Node version.
 */
const NO_DEPRECATIONS = '--pending-deprecation --throw-deprecation';
/**
 * Printed length of an output. A bundle that fails to parse quotes its own line, which is the whole
 * bundle.
 */
const SHOWN_CHARACTERS = 3_000;

let root = '';
beforeAll(() => {
  root = temporaryDirectory();
  chmodSync(root, 0o755);
});

const copiedFromBuild = (name: string) =>
  lineage(file, name)
    .filter(({ word }) => word === 'COPY')
    .map(copyOf)
    .filter(({ from }) => from === 'build');

/** The directory that stands for /app of an image. */
function assemble(name: string): string {
  const app = path.join(root, name);
  mkdirSync(app, { recursive: true });
  for (const { sources, to } of copiedFromBuild(name)) {
    for (const source of sources) {
      const target = to.endsWith('/') ? path.join(app, to, path.basename(source)) : path.join(app, to);
      cpSync(source.replace(/^\/src/, ROOT), target, { recursive: true });
    }
  }
  return app;
}

interface Ended {
  code: number;
  text: string;
}

/**
 * The image's command with these arguments, as its user, with access to Node and its own directory
 * only.
 */
function run(name: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const app = assemble(name);
  const inside = (text: string) => text.replaceAll('/app/', `${app}/`);
  const [command = '', ...flags] = (JSON.parse(last(lineage(file, name), 'ENTRYPOINT') ?? '[]') as string[]).map(
    inside,
  );
  const own = Object.fromEntries(
    lineage(file, name)
      .filter(({ word }) => word === 'ENV')
      .flatMap(({ text }) => text.split(' ').map((pair) => pair.split('=') as [string, string]))
      .map(([key, value]) => [key, inside(value)])
      // The one of the image has no Node here.
      .filter(([key]) => key !== 'PATH'),
  );
  const [uid, gid] = (last(lineage(file, name), 'USER') ?? '').split(':').map(Number);
  const inPlace = { PATH: NODE_DIR, HOME: app, NODE_OPTIONS: NO_DEPRECATIONS };
  return ended([command, ...flags, ...args], { cwd: app, env: { ...inPlace, ...own, ...env }, uid, gid });
}

type Start = typeof run;

let engine: ContainerEngine | null = null;

/** The same with the built image, in a container engine. */
function runBuilt(name: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  if (engine === null) throw new Error('no image was built');
  const options = {
    env: { NODE_OPTIONS: NO_DEPRECATIONS, ...env },
    volumes: name === 'collector' ? ['/sys/fs/bpf'] : [],
  };
  return ended([...runImage(engine, name, workloadOf(name), options), ...args], {});
}

function ended([command = '', ...args]: readonly string[], options: ExecFileOptions): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { ...options, encoding: 'utf8', timeout: RUN_TIMEOUT_MS }, (error, stdout, stderr) => {
      // A command that did not start has no output of its own.
      const printed = stdout + stderr || (error?.message ?? '');
      resolve({ code: error ? Number(error.code ?? -1) : 0, text: printed.slice(-SHOWN_CHARACTERS) });
    });
  });
}

/**
 * The checkout as the build stage has it: its copies, without the files in .dockerignore, and the
 * packages.
 */
function buildStage(): string {
  const src = path.join(root, 'src');
  const leftOut = (from: string) => /\/(node_modules|dist|build|\.cache|\.nx)$/.test(from);
  for (const { sources, to } of lineage(file, 'build')
    .filter(({ word }) => word === 'COPY')
    .map(copyOf))
    for (const source of sources) {
      const target = sources.length > 1 ? path.join(src, to, path.basename(source)) : path.join(src, to);
      cpSync(path.join(ROOT, source), target, { recursive: true, filter: (from) => !leftOut(from) });
    }
  const packages = path.join(src, 'node_modules');
  mkdirSync(path.join(packages, '@bailiff'), { recursive: true });
  for (const name of readdirSync(path.join(ROOT, 'node_modules')))
    if (name !== '@bailiff' && name !== 'bailiff')
      symlinkSync(path.join(ROOT, 'node_modules', name), path.join(packages, name));
  // As npm links workspaces, but into the copy.
  for (const folder of ['libs', 'apps', 'test'])
    for (const name of readdirSync(path.join(src, folder))) {
      const manifest = path.join(src, folder, name, 'package.json');
      const own = (JSON.parse(readFileSync(manifest, 'utf8')) as { name: string }).name;
      symlinkSync(path.join(src, folder, name), path.join(packages, own));
    }
  return src;
}

it('build stage - has all sources of the bundles and the kernel programs, and produces the files that images copy', () => {
  const src = buildStage();
  const made = ['cli', ...apps.map(({ component }) => component)]
    .flatMap((name) => copiedFromBuild(name))
    .flatMap(({ sources }) => sources)
    // node-gyp compiles it against the machine's Node; test/k8s/images.test.ts checks that the same
    // step produces it.
    .filter((source) => !source.endsWith('.node'))
    .map((source) => source.replace(/^\/src/, src));
  expect(made.filter((place) => existsSync(place))).toEqual([]);
  const run = (directory: string, command: string) =>
    execFileSync('sh', ['-c', command], { cwd: path.join(src, directory), stdio: ['ignore', 'pipe', 'pipe'] });
  for (const name of ['cli', ...apps.map(({ component }) => component)]) {
    const { nx } = JSON.parse(readFileSync(path.join(src, 'apps', name, 'package.json'), 'utf8')) as {
      nx: { targets: { build: { command: string } } };
    };
    run('.', nx.targets.build.command);
  }
  run('libs/bpf', 'node --import tsx scripts/build-bpf.ts');
  run('cni', 'node --import tsx build.ts');
  expect(made.filter((place) => !existsSync(place))).toEqual([]);
  // It needs a processor for 20 s, and gets only a small share on a busy machine.
}, 600_000);

function askedOf(run: Start): void {
  it.each(apps)(
    '$component - its bundle alone accepts the configuration of its manifest',
    async ({ component, container }) => {
      const env = environmentOf(objects, container);
      expect(await run(component, ['--check-config'], env)).toEqual({ code: 0, text: 'configuration ok\n' });
      const wrong = { ...env, [`BAILIFF_${component.toUpperCase().replaceAll('-', '_')}_NATS_URL`]: 'nowhere' };
      const refused = await run(component, ['--check-config'], wrong);
      expect([refused.code, refused.text]).toEqual([6, expect.stringContaining('natsUrl')]);
    },
  );

  it('collector - loads its binding and its programs from its directory, and finds no pins', async () => {
    const { code, text } = await run('collector', ['status', '--bpf-dir', '/sys/fs/bpf/bailiff-images-test'], {});
    expect([code, text]).toEqual([7, expect.stringContaining('nothing is pinned')]);
  });

  it('cli - is the command of the set-up Job, and fails with its own message when there is no bus', async () => {
    const job = workloadsOf(objects).find(({ component }) => component === 'bus-setup');
    const env: Record<string, string> = {
      ...environmentOf(objects, job?.container),
      BAILIFF_NATS_URL: 'nats://127.0.0.1:1',
    };
    const { BAILIFF_NATS_PASSWORD_FILE: _, BAILIFF_NATS_CA_FILE: __, ...reachable } = env;
    const { code, text } = await run('cli', ['bus', 'setup', '--replicas', '3'], reachable);
    expect([code, text]).toEqual([7, expect.stringContaining('127.0.0.1:1')]);
    expect((await run('cli', ['--version'], {})).code).toBe(0);
    const doctor = await run('cli', ['doctor', '--only', 'kubernetes', '--kubeconfig', '/none'], {});
    expect([doctor.code, doctor.text]).toEqual([6, expect.stringContaining('kubectl')]);
  });
}

describe('images, assembled', () => {
  askedOf(run);
});

const named = namedEngine();
const canBuild = named !== null || canBuildImages();

describe('images, as built', () => {
  if (!canBuild) {
    it('a container engine', ({ skip }) => skip(NO_ENGINE));
    return;
  }
  let built: BuiltImages | undefined;
  beforeAll(async () => {
    if (named === null) built = await buildImages();
    engine = built?.engine ?? named;
    // A minute with two free processors; more than the limit of the build.
  }, 960_000);
  afterAll(() => built?.[Symbol.asyncDispose]());

  it('list, archives and SBOMs are complete, and every checksum is right', ({ skip }) => {
    if (built === undefined) return skip('optional: BAILIFF_IMAGES names images that were built before');
    const { saved, list } = built;
    const lines = list
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/));
    expect(lines.map(([name]) => name)).toEqual([...APPS.map((app) => `bailiff/${app}`), 'nats', 'valkey/valkey']);
    for (const [name = '', reference = '', digest = ''] of lines.slice(0, APPS.length)) {
      expect(reference).toMatch(/^localhost\/bailiff-built\/[a-z-]+:\d/);
      expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
      const app = name.slice('bailiff/'.length);
      const sbom = JSON.parse(
        readFileSync(path.join(saved, `${app}-${process.arch === 'x64' ? 'amd64' : process.arch}.cdx.json`), 'utf8'),
      ) as { components: { name: string }[] };
      const names = sbom.components.map((component) => component.name);
      expect(names).toEqual(expect.arrayContaining(['node', 'libc6', 'zod', '@nats-io/nats-core']));
      const own = ['libbpf1', 'libjansson-dev', 'node-addon-api', 'openssl'].filter((part) => names.includes(part));
      expect([app, own]).toEqual([app, OWN_PARTS[app] ?? []]);
      expect(readArchive(path.join(saved, `${app}.tar`)).digest).toBe(digest);
    }
    execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: saved, stdio: 'pipe' });
  });

  it.each(APPS)('%s - small, of one time, owned by root, without set-uid files, shell and package manager', (app) => {
    if (built === undefined) return;
    const archive = path.join(built.saved, `${app}.tar`);
    const { user, labels, created, files } = readArchive(archive);
    const megabytes = files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
    const limit = MAX_MEGABYTES[app] ?? MAX_OTHER_MEGABYTES;
    expect([megabytes > 100, megabytes <= limit]).toEqual([true, true]);
    expect(statSync(archive).size / 1e6).toBeLessThan(MAX_ARCHIVE_MEGABYTES);
    expect(user).toBe(userIn(app, workloadOf(app)));
    expect(labels['org.opencontainers.image.title']).toBe(`bailiff-${app}`);
    expect(Date.parse(labels['org.opencontainers.image.created'] ?? '')).toBe(Date.parse(created));
    const times = new Set(files.map(({ time }) => Date.parse(`${time.replace(' ', 'T')}Z`)));
    expect([...times]).toEqual([Date.parse(created)]);
    expect(new Set(files.map(({ owner }) => owner))).toEqual(new Set(['0/0']));
    expect(files.filter(({ mode }) => /^[^dl]/.test(mode) && /[sS]/.test(mode))).toEqual([]);
    // Only directories for temporary files are writable for all.
    const writable = files.filter(({ mode }) => mode[0] !== 'l' && mode[8] === 'w').map(({ name }) => name);
    expect(writable.filter((name) => !/^(tmp|var\/tmp|var\/lock|run\/lock)\/$/.test(name))).toEqual([]);
    const programs = files
      .filter(({ mode, name }) => mode[0] !== 'd' && /(^|\/)s?bin\/./.test(name))
      .map(({ name }) => name);
    expect(programs.sort()).toEqual([...(app === 'cli' ? ['usr/bin/openssl'] : []), 'usr/local/bin/node']);
    expect(files.filter(({ name }) => name.endsWith('.map'))).toEqual([]);
  });

  askedOf(runBuilt);

  it('cli - issues the certificates of the bus, with a file system that is writable in /tmp only', async () => {
    const command = runImage(engine as ContainerEngine, 'cli', workloadOf('cli'), { tmpfs: ['/tmp'] });
    const { code, text } = await ended([...command, 'credentials', 'init', '--out', '/tmp/bus'], {});
    expect([code, text]).toEqual([0, expect.stringContaining('wrote')]);
  });

  it('cli - probes the kernel by its binding, with the rights of the collector', async () => {
    const command = runImage(engine as ContainerEngine, 'cli', workloadOf('collector'));
    const { text } = await ended([...command, 'doctor', '--preflight'], {});
    expect(text).toContain('kernel features: program:schedCls');
  });

  it('collector - in a container with the rights of its manifest it guards, across a stop, and publishes its drops', async () => {
    await using node = await TestNode.start();
    const name = path.basename(node.dir);
    const running = engine as ContainerEngine;
    node.program = runImage(running, 'collector', workloadOf('collector'), { volumes: [node.dir], name });
    const pod = await node.addPod();
    const forged = udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
    const own = udpFrame({ sourceMac: pod.mac, source: pod.ipv4, destination: '10.244.0.1' });
    const received = await node.ipReceived();
    await node.send(pod, [forged], 10);
    // Without a guard, all of them arrive.
    expect((await node.ipReceived()) - received).toBe(10);
    try {
      for (const dropped of [10, 20]) {
        await node.startCollector();
        await node.waitForState(pod, 'provisional');
        const before = await node.ipReceived();
        await node.send(pod, [forged], 10);
        await node.send(pod, [own], 3);
        await waitFor(() => node.ledger.packets({ podUid: pod.uid, action: 'drop' }) === dropped, {
          what: `${dropped} dropped packets`,
          state: () => node.log.slice(-2000),
        });
        expect((await node.ipReceived()) - before).toBe(3);
        expect(await node.killCollector('SIGTERM')).toBe(0);
      }
    } finally {
      await ended(removeContainer(running, name), {});
    }
  });

  it('collector - as a pod of containerd with the rights of its manifest it guards another pod from its first act on', async ({
    skip,
  }) => {
    if (built === undefined) return skip('optional: BAILIFF_IMAGES names images that were built before');
    const missing = CriRuntime.missing();
    if (missing !== null) return skip(missing);
    await using cni = await CniNode.create();
    cni.writePrimary('bridge');
    await using cri = await startCri(cni);
    const image = 'localhost/bailiff-cri/collector:1';
    await cri.importImage(path.join(built.saved, 'collector.tar'), image);
    const { pod: spec, container } = workloadOf('collector');
    const of = (uid: string, name: string) => ({ uid, namespace: 'bailiff-system', name });
    /** A pod whose first act is forged. @returns the number of packets that arrive */
    const arrived = async (pod: ReturnType<typeof of>, ends: () => Promise<unknown> = async () => {}) => {
      const started = await cri.runSandbox(pod);
      const before = await cni.node.ipReceived();
      const first = await started.start('first', { command: forge(10) });
      expect([await first.exit(), first.lines]).toEqual([0, ['sent 10']]);
      await ends();
      const after = await cni.node.ipReceived();
      await started.remove();
      return after - before;
    };
    expect(await arrived(of('00000000-0000-4000-8000-0000000002c2', 'web-0')), 'control').toBe(10);
    const host = { hostNetwork: Boolean(spec.hostNetwork), hostPid: Boolean(spec.hostPID) };
    const sandbox = await cri.runSandbox({ ...of('00000000-0000-4000-8000-0000000002c0', 'collector'), ...host });
    const collector = await sandbox.start('collector', {
      image,
      args: cni.node.collectorArgs(cni.args('closed')),
      volumes: [cni.node.dir],
      security: {
        readonly_rootfs: container.securityContext.readOnlyRootFilesystem,
        no_new_privs: container.securityContext.allowPrivilegeEscalation === false,
        run_as_user: { value: spec.securityContext.runAsUser },
        run_as_group: { value: spec.securityContext.runAsGroup },
        capabilities: {
          drop_capabilities: container.securityContext.capabilities.drop,
          add_capabilities: container.securityContext.capabilities.add,
        },
      },
    });
    const log = () => collector.lines.slice(-20);
    await waitFor(() => log().some((line) => line.includes('"msg":"ready"')), { what: 'the collector', state: log });
    await cri.usesNetwork(cni.at('net.d', OWN));
    const pod = of('00000000-0000-4000-8000-0000000002c1', 'web-1');
    expect(await arrived(pod, () => cni.isDropped(pod, 'programmed', 10))).toBe(0);
    await sandbox.remove();
  });
});

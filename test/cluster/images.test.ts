// The content of each image, copied to a directory by the Containerfile's own COPY lines, and
// started there without anything else: with the flags of its ENTRYPOINT and the environment of the
// manifest. The images themselves need a registry and a builder. If they are built, the same tests
// run on them (contract/container-engine.ts).

import { type ExecFileOptions, execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyOf, last, lineage, parseContainerfile } from '../k8s/containerfile.ts';
import { environmentOf, objectsOf, type Workload, workloadsOf } from '../k8s/rendered.ts';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { areImagesNamed, NO_IMAGES, removeContainer, runImage } from './contract/container-engine.ts';

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
const SHOWN_CHARACTERS = 1_000;

let root = '';
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'bailiff-images-'));
  chmodSync(root, 0o755);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The directory that stands for /app of an image. */
function assemble(name: string): string {
  const app = path.join(root, name);
  mkdirSync(app, { recursive: true });
  for (const instruction of lineage(file, name).filter(({ word }) => word === 'COPY')) {
    const { from, sources, to } = copyOf(instruction);
    expect(from).toBe('build');
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
      .map(([key, value]) => [key, inside(value)]),
  );
  const [uid, gid] = (last(lineage(file, name), 'USER') ?? '').split(':').map(Number);
  const inPlace = { PATH: NODE_DIR, NODE_OPTIONS: NO_DEPRECATIONS };
  return ended([command, ...flags, ...args], { cwd: app, env: { ...inPlace, ...own, ...env }, uid, gid });
}

type Start = typeof run;

/** The same with the built image, in a container engine. */
function runBuilt(name: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const volumes = name === 'collector' ? ['/sys/fs/bpf'] : [];
  return ended(
    [...runImage(name, workloadOf(name), { env: { NODE_OPTIONS: NO_DEPRECATIONS, ...env }, volumes }), ...args],
    {},
  );
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
  const made = lineage(file, 'collector')
    .concat(...apps.map(({ component }) => lineage(file, component)), lineage(file, 'cli'))
    .filter(({ word }) => word === 'COPY')
    .flatMap((instruction) => copyOf(instruction).sources)
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
  expect(made.filter((place) => !existsSync(place))).toEqual([]);
  // It needs a processor for 20 s, and gets only a small share on a busy machine.
}, 300_000);

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

describe('images, as built', () => {
  if (!areImagesNamed) {
    it('a container engine', ({ skip }) => skip(NO_IMAGES));
    return;
  }
  askedOf(runBuilt);

  it('collector - in a container with the rights of its manifest it guards, across a stop, and publishes its drops', async () => {
    await using node = await TestNode.start();
    const name = path.basename(node.dir);
    node.program = runImage('collector', workloadOf('collector'), { volumes: [node.dir], name });
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
      await ended(removeContainer(name), {});
    }
  });
});

// The Containerfile against the manifests and the checkout, without a registry or a builder.
// test/cluster/images.test.ts starts the files of each image from a separate directory.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { serverFinding } from '../../apps/cli/src/operate/doctor/bus-rules.ts';
import { NODE_VERSION } from '../../tools/images/from-packages.ts';
import { APPS } from '../../tools/images/image-list.ts';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { copyOf, last, lineage, parseContainerfile } from './containerfile.ts';
import { mountOf, OVERLAYS, objectsOf, userIn, type Workload, workloadsOf } from './rendered.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const file = parseContainerfile(read('k8s/images/Containerfile'));
const images = file.stages.filter(({ instructions }) => last(instructions, 'ENTRYPOINT')).map(({ name }) => name);
interface Target {
  executor?: string;
  outputs?: string[];
  dependsOn?: string[];
}
type Targets = Readonly<Record<string, Target>>;
interface NxFile {
  targetDefaults: { build: { outputs: string[] } };
}

const { version } = JSON.parse(read('package.json')) as { version: string };

describe('Containerfile', () => {
  it('there is an image for each app, and for nothing else', () => {
    expect([...images].sort()).toEqual([...APPS]);
  });

  it('base - an exact version of Node 24 on Debian 13, by digest; all other stages start from it or are empty', () => {
    const { NODE_IMAGE: base = '', ...stages } = file.args;
    expect(base).toMatch(/^docker\.io\/library\/node:24\.\d+\.\d+-trixie-slim@sha256:[0-9a-f]{64}$/);
    // `scripts/images --from-packages` takes the same version from npm.
    expect(base).toContain(`:${NODE_VERSION}-`);
    expect(stages).toEqual({ BUILD: 'compile', ROOT: 'unpack' });
    const known = [base, 'scratch', ...file.stages.map(({ name }) => name)];
    for (const stage of file.stages) expect(known).toContain(stage.base);
    for (const name of ['app', 'lists', 'prepared'])
      expect([name, file.stages.find((stage) => stage.name === name)?.base]).toEqual([name, 'scratch']);
  });

  it('images contain files of the build and of the unpacked root only', () => {
    const sources = images
      .flatMap((name) => lineage(file, name))
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .map(({ from, sources: [first = ''] }) => [from, first.split('/')[1]]);
    expect([...new Set(sources.map(String))].sort()).toEqual(['build,src', 'root,rootfs']);
    for (const name of images)
      expect([name, lineage(file, name).filter(({ word }) => word === 'RUN')]).toEqual([name, []]);
  });

  it('lists - name the packages of every image', () => {
    const listed = lineage(file, 'lists')
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .filter(({ from }) => from === 'build');
    const linked = [['/src/cni/build/packages'], '/collector-linked'];
    expect(listed.map(({ sources, to }) => [sources, to]).sort()).toEqual([
      ...[...images].sort().map((name) => [[`/src/apps/${name}/dist/packages.json`], `/${name}.json`]),
      linked,
    ]);
  });

  it('sources that the build stage copies are in the checkout and in the build context', () => {
    const build = lineage(file, 'build')
      .filter(({ word }) => word === 'COPY')
      .map(copyOf);
    const ignored = read('.dockerignore')
      .split('\n')
      .filter((line) => line && !line.startsWith('#'));
    for (const { from, sources } of build) {
      expect(from).toBeNull();
      for (const source of sources) {
        expect([source, existsSync(path.join(ROOT, source))]).toEqual([source, true]);
        expect(ignored).not.toContain(source);
      }
    }
    // `npm ci` needs every workspace of the lock file.
    const workspaces = (JSON.parse(read('package.json')) as { workspaces: string[] }).workspaces.map(
      (one) => one.split('/*')[0],
    );
    const copied = build.flatMap(({ sources }) => sources);
    for (const workspace of workspaces)
      expect(copied.some((source) => source.startsWith(workspace as string))).toBe(true);
  });

  it('files that images copy from the build stage are outputs of its last step', () => {
    const steps = lineage(file, 'build').filter(({ word }) => word === 'RUN');
    expect(steps.at(-1)?.text).toContain('nx run-many -t build');
    const { outputs: usual } = (JSON.parse(read('nx.json')) as NxFile).targetDefaults.build;
    const madeBy = (project: string): string[] => {
      const { targets } =
        project === 'cni'
          ? (JSON.parse(read('cni/project.json')) as { targets: Targets })
          : (JSON.parse(read(`${project}/package.json`)) as { nx: { targets: Targets } }).nx;
      const { build } = targets;
      const made = [targets['build'], ...(build?.dependsOn ?? []).map((name) => targets[name])];
      return made
        .flatMap((target) => target?.outputs ?? (target?.executor === 'nx:noop' ? [] : usual))
        .map((output) => output.replace('{projectRoot}', project));
    };
    const sources = images
      .flatMap((name) => lineage(file, name))
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .filter(({ from }) => from === 'build')
      .flatMap((copy) => copy.sources);
    expect(new Set(sources).size).toBe(images.length + 7);
    for (const source of sources) {
      const [, project = '', rest = ''] = /^\/src\/((?:apps|libs)\/[^/]+|cni)\/(.+)$/.exec(source) ?? [];
      const made = madeBy(project);
      const covered = made.some(
        (output) => `${project}/${rest}` === output || `${project}/${rest}`.startsWith(`${output}/`),
      );
      expect([source, covered]).toEqual([source, true]);
    }
    // Parts are built only on request.
    expect(read('apps/collector/package.json')).toContain('--parts');
  });

  it('the build stage installs the packages that building needs, as scripts/setup lists them', () => {
    const run = lineage(file, 'build').find(({ word, text }) => word === 'RUN' && text.includes('apt-get'))?.text ?? '';
    const setup = read('scripts/setup');
    for (const name of [
      'clang-19',
      'llvm-19',
      'bpftool',
      'libbpf-dev',
      'libelf-dev',
      'libjansson-dev',
      'gcc',
      'g++',
      'make',
      'pkg-config',
      'python3',
    ]) {
      expect(setup).toContain(`:${name}`);
      expect(run.split(' ')).toContain(name);
    }
    expect(run).toContain('--no-install-recommends');
  });

  it.each(images)('%s - starts its own bundle with the flags that its benchmarks used', (name) => {
    const own = lineage(file, name);
    const entrypoint = JSON.parse(last(own, 'ENTRYPOINT') ?? '[]') as string[];
    expect(entrypoint).toEqual(['node', ...nodeFlagsOf(name), '/app/main.mjs']);
    expect(last(own, 'WORKDIR')).toBe('/app');
    const bundles = own
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .filter(({ from }) => from === 'build')
      .flatMap(({ sources }) => sources);
    expect(bundles).toContain(`/src/apps/${name}/dist/main.mjs`);
    expect(
      bundles.every((source) =>
        [`/src/apps/${name}/`, '/src/libs/bpf/build/', '/src/cni/build/'].some((place) => source.startsWith(place)),
      ),
    ).toBe(true);
    expect(last(own, 'LABEL')).toContain(`bailiff-${name}`);
  });

  it.each(images)('%s - runs as the user in the manifests', (name) => {
    const user = last(lineage(file, name), 'USER');
    const workload = workloadsOf(objectsOf('included')).find(
      ({ container }) => container.image === `bailiff/${name}:${version}`,
    );
    expect(user).toBe(userIn(name, workload));
  });

  it('collector - finds the kernel programs and the binding in the image', () => {
    const own = lineage(file, 'collector');
    const variables = Object.fromEntries(
      (last(own, 'ENV') ?? '').split(' ').map((pair) => pair.split('=') as [string, string]),
    );
    const copied = own
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .flatMap(({ sources }) => sources);
    expect(Object.keys(variables)).toEqual([
      'BAILIFF_NATIVE',
      'BAILIFF_SPOOF_OBJECT',
      'BAILIFF_RUNTIME_OBJECT',
      'BAILIFF_CNI_PLUGIN',
    ]);
    for (const place of Object.values(variables)) {
      expect(path.dirname(place)).toBe('/app');
      expect(copied.filter((source) => path.basename(source) === path.basename(place))).toHaveLength(1);
    }
  });
});

it('nats-server - the pinned version is the documented one, and doctor accepts it', () => {
  const pinned = /# nats (\S+) as .*\n {2}- name: nats\n {4}digest: /.exec(
    read('k8s/overlays/included/kustomization.yaml'),
  )?.[1];
  expect(serverFinding(pinned ?? '').state).toBe('ok');
  expect(read('docs/install.md')).toContain(`The manifests pin ${pinned} by the digest of its image`);
});

describe.each(OVERLAYS)('%s', (overlay) => {
  it.each(workloadsOf(objectsOf(overlay)))(
    '$name - its image has a version, and is built here or named in the overlay',
    (workload) => {
      const { image } = workload.container;
      if (image.startsWith('bailiff/')) {
        const [name = '', tag] = image.slice('bailiff/'.length).split(':');
        expect(images).toContain(name);
        expect(tag).toBe(version);
      } else expect(image).toMatch(/^(nats@sha256:[0-9a-f]{64}|valkey\/valkey:\d+\.\d+\.\d+)$/);
    },
  );

  it.each(workloadsOf(objectsOf(overlay)))('$name - no mount hides files of the image', (workload: Workload) => {
    expect(mountOf(workload, '/app/main.mjs')).toBeUndefined();
  });
});

import { describe, expect, it } from 'vitest';
import { type BuildSettings, containerfileAt, exportCommand, imageSteps, saveCommand } from './engine.ts';
import { ENGINES, type Engine } from './options.ts';

const settings = (engine: Engine): BuildSettings => ({
  engine,
  epoch: 1_700_000_000,
  args: { BUILD: 'prepared' },
  labels: { 'x.version': '1' },
  contexts: { 'prepared-files': '/tmp/p' },
  containerfile: '/tmp/w/Containerfile',
});
const image = { target: 'cli', reference: 'r.example/b/cli:1', platforms: ['linux/amd64'] as const };
const both = { ...image, platforms: ['linux/amd64', 'linux/arm64'] as const };
const archive = { kind: 'archive', file: '/out/cli.tar' } as const;
const registry = { kind: 'registry' } as const;

it('Containerfile - another time gives another text of the stage that all images start from', () => {
  const text = 'FROM a AS build\n\nFROM scratch AS app\nCOPY f /\n\nFROM app AS cli\n';
  const [first, second] = [0, 86_400].map((epoch) => containerfileAt(text, epoch));
  const label = 'LABEL org.opencontainers.image.created="1970-01-01T00:00:00.000Z"';
  expect(first).toBe(text.replace('AS app\n', `AS app\n${label}\n`));
  expect(second).toBe(first?.replace('01-01', '01-02'));
  expect(() => containerfileAt('FROM scratch AS other\n', 0)).toThrow('"app"');
});

describe('command lines', () => {
  it.each(['buildah', 'podman'] as const)('%s - one build, then one push for each destination', (engine) => {
    const [build, save, push, ...others] = imageSteps(settings(engine), image, [archive, registry], '/tmp/d');
    expect(others).toEqual([]);
    expect(build).toEqual({
      argv: [
        ...[engine, 'build', '--layers', '--force-rm', '--format=oci', '--timestamp=1700000000'],
        ...['--platform=linux/amd64', '--target=cli', '--build-arg=BUILD=prepared', '--label=x.version=1'],
        ...['--build-context=prepared-files=/tmp/p', '--file=/tmp/w/Containerfile'],
        ...['--tag=r.example/b/cli:1', '.'],
      ],
      digest: 'none',
    });
    const pushed = [engine, 'push', '--quiet', '--digestfile=/tmp/d', 'r.example/b/cli:1'];
    expect(save?.argv).toEqual([...pushed, 'oci-archive:/out/cli.tar:r.example/b/cli:1']);
    expect(push).toEqual({ argv: [...pushed, 'docker://r.example/b/cli:1'], digest: 'digest-file' });
  });

  it.each(['buildah', 'podman'] as const)('%s - several platforms are one list', (engine) => {
    const [build, push] = imageSteps(settings(engine), both, [registry], '/tmp/d');
    expect(build?.argv).toContain('--manifest=r.example/b/cli:1');
    expect(build?.argv).toContain('--platform=linux/amd64,linux/arm64');
    expect(push?.argv.slice(0, 4)).toEqual([engine, 'manifest', 'push', '--all']);
  });

  it('docker - one build for each destination', () => {
    const steps = imageSteps(settings('docker'), both, [archive, registry], '/tmp/d');
    const outputs = steps.map(({ argv }) => argv.find((word) => word.startsWith('--output=')));
    expect(outputs).toEqual([
      '--output=type=oci,dest=/out/cli.tar,name=r.example/b/cli:1,rewrite-timestamp=true',
      '--output=type=image,push=true,name=r.example/b/cli:1,rewrite-timestamp=true',
    ]);
    for (const { argv, digest } of steps) {
      expect(argv.slice(0, 3)).toEqual(['docker', 'buildx', 'build']);
      expect(argv).toContain('--build-arg=SOURCE_DATE_EPOCH=1700000000');
      expect(argv).toContain('--metadata-file=/tmp/d');
      expect(digest).toBe('metadata-file');
    }
  });

  it.each(ENGINES)('%s - without a destination the image stays in the engine', (engine) => {
    const steps = imageSteps(settings(engine), image, [{ kind: 'engine' }], '/tmp/d');
    expect(steps.every(({ argv }) => argv[0] === engine && !argv.includes('push'))).toBe(true);
    expect(steps.at(-1)?.digest).toBe(engine === 'docker' ? 'metadata-file' : 'stdout');
  });

  it.each(ENGINES)('%s - files of a stage are written for one platform', (engine) => {
    const argv = exportCommand(settings(engine), 'lists', 'linux/arm64', '/tmp/lists');
    expect(argv).toEqual(
      expect.arrayContaining(['--target=lists', '--platform=linux/arm64', '--output=type=local,dest=/tmp/lists']),
    );
    expect(argv.some((word) => /^--(tag|manifest)=/.test(word))).toBe(false);
  });

  it('images of other projects are copied with all platforms, so that their digest stays', () => {
    expect(saveCommand('docker.io/library/nats@sha256:00', '/out/nats.tar')).toEqual([
      ...['skopeo', 'copy', '--quiet', '--all', '--preserve-digests', 'docker://docker.io/library/nats@sha256:00'],
      'oci-archive:/out/nats.tar:docker.io/library/nats@sha256:00',
    ]);
  });
});

import { describe, expect, it } from 'vitest';
import { OptionError, optionsOf, USAGE } from './options.ts';

const around = { version: '0.1.0', arch: 'x64', cwd: '/home/op', isOnPath: (name: string) => name !== 'docker' };
const options = (...args: string[]) => optionsOf(args, around);

describe('options of scripts/images', () => {
  it('defaults - first engine on the PATH, names of the manifests, platform of the machine', () => {
    expect(options()).toEqual({
      engine: 'podman',
      registry: 'docker.io/bailiff',
      tag: '0.1.0',
      platforms: ['linux/amd64'],
      base: undefined,
      fromPackages: false,
      isBuilt: false,
      push: false,
      save: undefined,
    });
    expect(optionsOf([], { ...around, arch: 'arm64' })?.platforms).toEqual(['linux/arm64']);
  });

  it.each([
    [['--registry', 'registry.example:5000/team/bailiff/'], { registry: 'registry.example:5000/team/bailiff' }],
    [['--platform', 'arm64'], { platforms: ['linux/arm64'] }],
    [['--platform', 'linux/amd64,arm64,amd64', '--save', 'x'], { platforms: ['linux/amd64', 'linux/arm64'] }],
    [['--save', 'out'], { save: '/home/op/out' }],
    [['--engine', 'docker'], { engine: 'docker' }],
    [['--push', '--registry', 'r.example/b'], { push: true }],
    [['--from-packages', '--platform', 'amd64'], { fromPackages: true }],
    [['--from-packages', '--no-build'], { fromPackages: true, isBuilt: true }],
    [['--base', 'r.example/node@sha256:00'], { base: 'r.example/node@sha256:00' }],
  ])('%j', (args, expected) => {
    expect(options(...args)).toMatchObject(expected);
  });

  it.each([
    [['--push'], '--push needs --registry'],
    [['--platform', 'amd64,arm64'], 'several platforms need --push or --save'],
    [['--platform', 's390x'], '--platform s390x'],
    [['--engine', 'kaniko'], '--engine kaniko'],
    [['--registry', 'https://r.example'], '--registry https://r.example'],
    [['--tag', 'a b'], '--tag a b'],
    [['--from-packages', '--platform', 'arm64'], "this machine's platform only"],
    [['--no-build'], '--no-build needs --from-packages'],
    [['--from-packages', '--base', 'x'], '--from-packages uses no --base'],
    [['--unknown'], '--unknown'],
    [['collector'], 'collector'],
  ])('%j - refused', (args, text) => {
    expect(() => options(...args)).toThrow(OptionError);
    expect(() => options(...args)).toThrow(text);
  });

  it('no engine - the message names those that can be installed', () => {
    expect(() => optionsOf([], { ...around, isOnPath: () => false })).toThrow('docker, podman, buildah');
  });

  it('--save - needs skopeo, unless nothing is pulled', () => {
    const without = { ...around, isOnPath: (name: string) => name === 'buildah' };
    expect(() => optionsOf(['--save', 'x'], without)).toThrow('skopeo');
    expect(optionsOf(['--save', 'x', '--from-packages'], without)?.save).toBe('/home/op/x');
  });

  it('help - names every option', () => {
    expect(options('--help')).toBeNull();
    const flags = [
      'engine',
      'registry',
      'tag',
      'platform',
      'base',
      'from-packages',
      'no-build',
      'push',
      'save',
      'help',
    ];
    for (const flag of flags) expect(USAGE).toContain(`--${flag} `);
  });
});

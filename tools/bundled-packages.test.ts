import { describe, expect, it } from 'vitest';
import { bundledPackages, type LockFile } from './bundled-packages.ts';

const lock: LockFile = {
  packages: {
    'node_modules/pino': { version: '10.4.0', license: 'MIT', integrity: 'sha512-aaaa' },
    'node_modules/@nats-io/nkeys': { version: '2.0.3', license: 'Apache-2.0' },
    'node_modules/pino/node_modules/split2': { version: '3.0.0' },
    'node_modules/split2': { version: '4.0.0' },
    'node_modules/node-addon-api': { version: '8.9.2' },
  },
};
const output = (inputs: Record<string, number>) => ({
  outputs: {
    'dist/main.mjs': {
      inputs: Object.fromEntries(Object.entries(inputs).map(([file, bytesInOutput]) => [file, { bytesInOutput }])),
    },
  } as never,
});

describe('bundled packages', () => {
  it('each package once, by its innermost folder, without files of the workspace', () => {
    const packages = bundledPackages(
      output({
        'apps/collector/src/main.ts': 10,
        'node_modules/pino/lib/a.js': 10,
        'node_modules/pino/lib/b.js': 20,
        'node_modules/pino/node_modules/split2/index.js': 5,
        'node_modules/split2/index.js': 5,
        'node_modules/@nats-io/nkeys/lib/mod.js': 1,
      }),
      lock,
    );
    expect(packages).toEqual([
      { name: '@nats-io/nkeys', version: '2.0.3', license: 'Apache-2.0' },
      { name: 'pino', version: '10.4.0', license: 'MIT', integrity: 'sha512-aaaa' },
      { name: 'split2', version: '3.0.0' },
      { name: 'split2', version: '4.0.0' },
    ]);
  });

  it('packages behind a link to another directory are the same packages', () => {
    const linked = output({
      '../../w/node_modules/pino/node_modules/split2/index.js': 5,
      '../w/node_modules/pino/a.js': 1,
    });
    expect(bundledPackages(linked, lock).map(({ name, version }) => [name, version])).toEqual([
      ['pino', '10.4.0'],
      ['split2', '3.0.0'],
    ]);
  });

  it('a package of which nothing remains is not in the bundle; one that is compiled elsewhere can be added', () => {
    const nothing = output({ 'node_modules/pino/lib/a.js': 0 });
    expect(bundledPackages(nothing, lock)).toEqual([]);
    expect(bundledPackages(nothing, lock, ['node-addon-api'])).toEqual([{ name: 'node-addon-api', version: '8.9.2' }]);
  });

  it('a package that the lock file does not list is an error', () => {
    expect(() => bundledPackages(output({ 'node_modules/left/index.js': 1 }), lock)).toThrow('node_modules/left');
  });
});

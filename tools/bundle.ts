// Bundles one app into a single file, <app>/dist/main.mjs. A bundled process is 20-50 MB smaller
// than one that loads its packages file by file, and an image needs only Node and this file. Usage:
// tsx tools/bundle.ts apps/<app>. With --parts, dynamically imported modules go into separate
// files, which a process loads only if it needs them. Their source maps go to <app>/dist/maps, so that
// an image can copy the parts alone. The packages in the bundle are listed in
// <app>/dist/packages.json, for the SBOM of the app's image. With --page, the page of apps/console is
// compiled in as text. --out writes to another directory than <app>/dist.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build, type Plugin } from 'esbuild';
import { bundledPackages, type LockFile } from './bundled-packages.ts';
import { buildPage } from './page.ts';

const appDir = process.argv[2];
if (!appDir) throw new Error('usage: tsx tools/bundle.ts apps/<app> [--parts] [--page] [--out DIR]');
const splitting = process.argv.includes('--parts');
/**
 * Packages with a smaller entry, because unused code costs memory in every process. The build of an
 * app fails if it needs more than the smaller entry exports.
 */
const SMALLER: Readonly<Record<string, string>> = {
  // Types only, without RPC services, files and protocols.
  avsc: path.resolve('node_modules/avsc/etc/browser/avsc-types.js'),
  'prom-client': path.resolve(import.meta.dirname, 'bundle-parts/prom-client.mjs'),
  'whatwg-url': path.resolve(import.meta.dirname, 'bundle-parts/whatwg-url.mjs'),
};
const smallerEntries: Plugin = {
  name: 'smaller-entries',
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^(${Object.keys(SMALLER).join('|')})$`) }, ({ path: name }) => ({
      path: SMALLER[name] as string,
    }));
  },
};

const { version } = JSON.parse(readFileSync(path.join(appDir, 'package.json'), 'utf8')) as { version: string };

const outAt = process.argv.indexOf('--out');
const outdir = outAt < 0 ? path.join(appDir, 'dist') : (process.argv[outAt + 1] as string);
// Part names contain hashes, so parts of earlier builds would accumulate.
const [parts, maps] = ['parts', 'maps'].map((name) => path.join(outdir, name)) as [string, string];
if (splitting) for (const folder of [parts, maps]) rmSync(folder, { recursive: true, force: true });
const page = process.argv.includes('--page') ? await buildPage() : null;
const { metafile } = await build({
  metafile: true,
  entryPoints: [path.join(appDir, 'src/main.ts')],
  outdir,
  outExtension: { '.js': '.mjs' },
  splitting,
  chunkNames: 'parts/[name]-[hash]',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'linked',
  // Whitespace and syntax only: stack traces keep their names. The source text stays in memory.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  plugins: [smallerEntries],
  logLevel: 'warning',
  define: {
    'process.env.BAILIFF_VERSION': JSON.stringify(version),
    ...(page ? { 'process.env.BAILIFF_CONSOLE_PAGE': JSON.stringify(JSON.stringify(page.files)) } : {}),
  },
  // CommonJS dependencies use require(), __filename and __dirname, which an ES module has to
  // define.
  banner: {
    js: [
      "import { createRequire as __createRequire } from 'node:module';",
      "import { fileURLToPath as __fileURLToPath } from 'node:url';",
      "import { dirname as __pathDirname } from 'node:path';",
      'const require = __createRequire(import.meta.url);',
      'const __filename = __fileURLToPath(import.meta.url);',
      'const __dirname = __pathDirname(__filename);',
    ].join('\n'),
  },
});

if (splitting) {
  mkdirSync(maps);
  for (const name of readdirSync(parts)) {
    const file = path.join(parts, name);
    // Both folders are at the same depth, so the paths in the map remain valid.
    if (name.endsWith('.map')) renameSync(file, path.join(maps, name));
    else writeFileSync(file, readFileSync(file, 'utf8').replace(/^(\/\/# sourceMappingURL=)/m, '$1../maps/'));
  }
}

/** Headers that are compiled into the native binding, which two images contain. */
const IN_BINDING = ['collector', 'cli'].includes(path.basename(appDir)) ? ['node-addon-api'] : [];
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as LockFile;
const outputs = { ...metafile.outputs, ...page?.metafile.outputs };
const packages = bundledPackages({ outputs }, lock, IN_BINDING);
writeFileSync(path.join(outdir, 'packages.json'), `${JSON.stringify(packages, null, 2)}\n`);

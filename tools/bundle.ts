// Bundles one app into a single file, <app>/dist/main.mjs: a bundled process is 20-50 MB smaller than one that loads its
// packages file by file, and an image needs nothing but Node and this file. Run as: tsx tools/bundle.ts apps/<app>
// With --parts, what the app imports when it needs it stands in files of its own beside it, which a process that never does not load.
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build, type Plugin } from 'esbuild';

const appDir = process.argv[2];
if (!appDir) throw new Error('usage: tsx tools/bundle.ts apps/<app> [--parts]');
const splitting = process.argv.includes('--parts');
/**
 * Packages of which a smaller entry is bundled: loading what is never called is memory in every process. An app that needs more of one
 * than its smaller entry has does not build.
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

const outdir = path.join(appDir, 'dist');
// Parts are named by their content: those of an earlier build would only gather.
if (splitting) rmSync(path.join(outdir, 'parts'), { recursive: true, force: true });
await build({
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
  // White space and syntax only: names stay, so that a stack trace says what it means. The source text is held in memory.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  plugins: [smallerEntries],
  logLevel: 'warning',
  define: { 'process.env.BAILIFF_VERSION': JSON.stringify(version) },
  // CommonJS dependencies call require(), __filename and __dirname; an ES module has none of them until they are made.
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

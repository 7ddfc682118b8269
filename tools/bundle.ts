// Bundles one app into a single file, <app>/dist/main.mjs: a bundled process is 20-50 MB smaller than one that loads its
// packages file by file, and an image needs nothing but Node and this file. Run as: tsx tools/bundle.ts apps/<app>
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const appDir = process.argv[2];
if (!appDir) throw new Error('usage: tsx tools/bundle.ts apps/<app>');
const { version } = JSON.parse(readFileSync(path.join(appDir, 'package.json'), 'utf8')) as { version: string };

await build({
  entryPoints: [path.join(appDir, 'src/main.ts')],
  outfile: path.join(appDir, 'dist/main.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'linked',
  // White space and syntax only: names stay, so that a stack trace says what it means. The source text is held in memory.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
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

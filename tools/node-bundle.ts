/**
 * Bundles TypeScript of this workspace into plain modules for Node, in tests and in the lab, where
 * loading the sources one by one would take long.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';

/**
 * Options of every such bundle. CommonJS dependencies use require(), which an ES module has to
 * define.
 */
export const NODE_BUNDLE: BuildOptions = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
  banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" },
};

/** Each source keeps its own `import.meta` in the bundle, so it finds the files beside it. */
const samePlaces: Plugin = {
  name: 'same-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const [url, directory] = [pathToFileURL(file).href, path.dirname(file)].map((place) => JSON.stringify(place));
      // On the first line, so that line numbers stay.
      const source = await readFile(file, 'utf8');
      return { contents: `const sourceUrl = ${url}, sourceDirectory = ${directory};${source}`, loader: 'ts' };
    });
  },
};

/**
 * Options of a bundle with several entries: each is in `outdir` at its path below `root`, and
 * shared code is emitted once.
 */
export const entriesOf = (root: string, sources: readonly string[], outdir: string): BuildOptions => ({
  ...NODE_BUNDLE,
  plugins: [samePlaces],
  define: { 'import.meta.url': 'sourceUrl', 'import.meta.dirname': 'sourceDirectory' },
  entryPoints: sources.map((source) => path.join(root, source)),
  outdir,
  outbase: root,
  outExtension: { '.js': '.mjs' },
  splitting: true,
});

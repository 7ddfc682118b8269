/** How TypeScript of this workspace becomes plain modules that Node runs where loading the sources one by one would take long: in tests and in the lab. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';

/** Options of every such bundle. CommonJS dependencies call require(), which an ES module has when it is made. */
export const NODE_BUNDLE: BuildOptions = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
  banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" },
};

/** What a source finds beside itself, it finds from within a bundle too: each has its own place for `import.meta`. */
const samePlaces: Plugin = {
  name: 'same-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const [url, directory] = [pathToFileURL(file).href, path.dirname(file)].map((place) => JSON.stringify(place));
      // On the first line, so that every line keeps its number.
      const source = await readFile(file, 'utf8');
      return { contents: `const sourceUrl = ${url}, sourceDirectory = ${directory};${source}`, loader: 'ts' };
    });
  },
};

/** Options of a bundle of several entries: each lies in `outdir` where its source lies in `root`, and what they share is made once. */
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

/** Runs inside.ts in a virtual machine and gives its report. What it needs is compiled here, where a compiler is quick. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { compileProgram } from '../../vm/compile.ts';
import { repoRoot } from '../../vm/kernels.ts';
import { runInVm } from '../../vm/machine.ts';
import { compileEmptyHooks } from './empty-hooks.ts';

const TIMEOUT_MS = 1_500_000;
const PROGRAMS = ['contain', 'cost', 'hammer'].map((name) => path.join('../../lsm/programs', `${name}.c`));
const SOURCES = [...PROGRAMS, '../../lsm/harness/acts.c'];

export interface InsideOptions {
  /** Times are then instructions: see MachinePlan. */
  countInstructions: boolean;
}

/** In a bundle, a module still finds the files that lie beside its source. */
const samePlaces: Plugin = {
  name: 'same-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
      const place = { url: pathToFileURL(file).href, dirname: path.dirname(file) };
      const text = readFileSync(file, 'utf8').replaceAll(
        /\bimport\.meta\.(url|dirname)\b/g,
        (_, word: 'url' | 'dirname') => JSON.stringify(place[word]),
      );
      return { contents: text, loader: 'ts' };
    });
  },
};

/** inside.ts and all that it imports, as one file of JavaScript. */
async function bundle(outfile: string): Promise<void> {
  await build({
    ...{ entryPoints: [path.join(import.meta.dirname, 'inside.ts')], outfile, plugins: [samePlaces] },
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'warning' },
    banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" },
  });
}

/** @throws VmError, and Error with the output when it fails inside */
export async function inside<Report>(
  what: string,
  plan: object,
  { countInstructions }: InsideOptions,
): Promise<Report> {
  compileEmptyHooks();
  for (const source of SOURCES) compileProgram(path.join(import.meta.dirname, source), { flags: ['-static'] });
  const cache = path.join(repoRoot, '.cache/vm');
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(path.join(cache, 'inside-'));
  try {
    const file = path.join(dir, 'inside.mjs');
    await bundle(file);
    const words = ['node', file, what, JSON.stringify(plan)];
    const { code, stdout, stderr } = await runInVm(words, { countInstructions, timeoutMs: TIMEOUT_MS });
    if (code !== 0) throw new Error(`${what} ended with ${code}\n${stdout.slice(-2000)}\n${stderr.slice(-4000)}`);
    return JSON.parse(stdout) as Report;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

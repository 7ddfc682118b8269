// The bundle that the machine runs instead of the sources. Runs no machine.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { Bundle } from './bundle.ts';
import { repoRoot } from './kernels.ts';

const KERNELS = 'test/vm/kernels.ts';

it('bundle - modules find files beside their sources, stacks name the sources, and disposal removes it', async () => {
  let dir = '';
  {
    using bundle = new Bundle();
    dir = bundle.dir;
    await bundle.make([KERNELS]);
    const script = `
      const { kernelEntry, repoRoot } = await import(${JSON.stringify(bundle.file(KERNELS))});
      try { kernelEntry('none'); } catch ({ stack }) { console.log(JSON.stringify({ repoRoot, stack })); }`;
    const reported = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    const { stack, ...rest } = JSON.parse(reported) as { repoRoot: string; stack: string };
    expect(rest).toEqual({ repoRoot });
    const lines = readFileSync(path.join(repoRoot, KERNELS), 'utf8').split('\n');
    const thrown = lines.findIndex((line) => line.includes('throw new Error(`no kernel')) + 1;
    expect(stack).toContain(`${dir}/`);
    expect(bundle.places(stack)).toContain(`(${KERNELS}:${thrown}:`);
    expect(bundle.places('at /elsewhere/other.mjs:1:2')).toBe('at /elsewhere/other.mjs:1:2');
  }
  expect(existsSync(dir)).toBe(false);
});

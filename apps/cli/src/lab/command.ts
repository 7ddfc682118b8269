/**
 * `bailiff lab …`: a cluster on this machine, for trying things and for tests. The lab is part of the checkout, not of the
 * command: this file finds the checkout and hands arguments, terminal and signals to test/lab/src/main.ts.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';

const LAB_MAIN = 'test/lab/src/main.ts';
/** The kernel or the installation lacks something. */
const EXIT_MISSING = 3;

/** The checkout that this file is part of; null in an installation without sources. */
export function findCheckout(from: string): string | null {
  for (let dir = from; ; dir = path.dirname(dir)) {
    if (existsSync(path.join(dir, LAB_MAIN))) return dir;
    if (path.dirname(dir) === dir) return null;
  }
}

/** Runs the lab's own program to its end; resolves with its exit code. */
function runLab(checkout: string, argv: readonly string[]): Promise<number> {
  const tsx = createRequire(path.join(checkout, 'package.json')).resolve('tsx');
  const args = ['--import', pathToFileURL(tsx).href, path.join(checkout, LAB_MAIN), ...argv];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  // Ctrl-C reaches the whole terminal group, so the child has it already; a signal sent to this process alone is passed on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}

/** Adds the command; its arguments are the lab's own, so that `bailiff lab --help` is too. */
export function register(program: Command): void {
  program
    .command('lab')
    .description('bring up, attack, list and take down a cluster on this machine (needs the source checkout and root)')
    .argument('[args...]', 'up, down, attack, list, info and their flags')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const checkout = findCheckout(import.meta.dirname);
      if (!checkout) {
        process.stderr.write(`bailiff lab: this installation has no ${LAB_MAIN}; run it from a checkout\n`);
        process.exitCode = EXIT_MISSING;
        return;
      }
      process.exitCode = await runLab(checkout, args.length > 0 ? args : ['help']);
    });
}

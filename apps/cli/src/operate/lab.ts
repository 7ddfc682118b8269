/**
 * `bailiff lab`: a cluster on this machine for trials and tests. The lab is part of the checkout:
 * this file locates the checkout and runs test/lab/src/main.ts with the same arguments, terminal
 * and signals.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { findCheckout, LAB_MAIN } from '../shared/checkout.ts';

/** A kernel feature or part of the installation is missing. */
const EXIT_MISSING = 3;

/** Runs the lab's program and resolves with its exit code. */
function runLab(checkout: string, argv: readonly string[]): Promise<number> {
  const tsx = createRequire(path.join(checkout, 'package.json')).resolve('tsx');
  const args = ['--import', pathToFileURL(tsx).href, path.join(checkout, LAB_MAIN), ...argv];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  // Ctrl-C reaches the whole terminal group, including the child. Signals to this process alone are
  // forwarded.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}

/** The lab parses its own arguments, including `--help`. */
export function register(program: Command): void {
  program
    .command('lab')
    .description('start, attack, list and stop a cluster on this machine (needs the source checkout and root)')
    .argument('[args...]', 'up, down, attack, list, info and their flags')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const checkout = findCheckout(import.meta.dirname);
      if (!checkout) {
        process.stderr.write(`bailiff lab: this installation has no ${LAB_MAIN}; run the command from a checkout\n`);
        process.exitCode = EXIT_MISSING;
        return;
      }
      process.exitCode = await runLab(checkout, args.length > 0 ? args : ['help']);
    });
}

/**
 * Flags of the offline commands: strings and switches, `--help`, and errors that show the usage.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { EXIT } from '@bailiff/service';

export const DEFAULT_BPF_DIR = '/sys/fs/bpf/bailiff';
export const DEFAULT_STATE_DIR = '/var/lib/bailiff';

/** Prints an error in one line. @returns the exit code */
export function fail(code: number, message: string): number {
  process.stderr.write(`collector: ${message}\n`);
  return code;
}

type Flags = NonNullable<ParseArgsConfig['options']>;

/** @returns the values of the flags; or the exit code, if the command is done */
export function readFlags<F extends Flags>(
  argv: string[],
  { usage, about, flags }: { usage: string; about: string; flags: F },
) {
  const options = { ...flags, help: { type: 'boolean', short: 'h' } } as const;
  try {
    const { values } = parseArgs({ args: argv, options });
    if (!(values as { help?: boolean }).help) return { values };
    process.stdout.write(`usage: ${usage}\n\n${about}\n`);
    return { exit: EXIT.ok };
  } catch (error) {
    return { exit: fail(EXIT.badFlags, `${(error as Error).message}\nusage: ${usage}`) };
  }
}

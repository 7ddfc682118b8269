/** Options of the commands that change stored configuration. */
import type { ConfigSigner } from '@bailiff/policy';
import type { Command } from 'commander';
import { readSigner, SIGN_HELP } from '../key-file.ts';

export interface ChangeOptions {
  reason?: string;
  by?: string;
  yes?: boolean;
  dryRun?: boolean;
  /** Also write keys that a custom resource owns; the CLI owns them from then on. */
  takeOver?: boolean;
  /** Show new and deleted values in full instead of one line. */
  full?: boolean;
  /** Signs the change; a value that is the same is written if it lacks the signature. */
  sign?: ConfigSigner;
  json?: boolean;
}

/** Adds the options of every command that changes a key. */
export function withChangeOptions(command: Command): Command {
  return command
    .option('--reason <text>', 'reason, for the change log')
    .option('--by <name>', 'author, for the change log (default: user@host)')
    .option('--sign <keyfile>', SIGN_HELP, readSigner)
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--take-over', 'write a key that a custom resource owns; the CLI owns it from then on')
    .option('--dry-run', 'show the difference without writing')
    .option('--json', 'print the result as one JSON document');
}

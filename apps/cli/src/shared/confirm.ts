/** Confirmation before a change. */
import { CliError } from './errors.ts';
import type { CliIo } from './io.ts';

/**
 * Asks yes or no. Without a terminal and without --yes it fails: a script must confirm explicitly.
 * @throws CliError CLI_DECLINED
 */
export async function confirm(io: CliIo, question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!io.interactive) {
    throw new CliError('CLI_DECLINED', 'nothing was changed: there is no terminal to confirm on', {
      remedy: 'pass --yes',
    });
  }
  const answer = await io.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('CLI_DECLINED', 'nothing was changed');
}

/** Asking before something is changed. */
import { CliError } from './errors.ts';
import type { CliIo } from './io.ts';

/**
 * Asks a yes or no. Nobody to ask and no --yes is an error: a script that changes something says so.
 * @throws CliError CLI_DECLINED
 */
export async function confirm(io: CliIo, question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!io.interactive) {
    throw new CliError('CLI_DECLINED', 'nothing was changed: nobody can be asked here', { remedy: 'say --yes' });
  }
  const answer = await io.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('CLI_DECLINED', 'nothing was changed');
}

/** `bailiff policy promote`: its flags and help. promote.ts has the implementation. */
import { readBusTime } from '@bailiff/insight';
import type { Command } from 'commander';
import { parseWhen } from '../shared/arguments.ts';
import { type ChangeOptions, withChangeOptions } from '../shared/config/change-options.ts';
import type { CliIo } from '../shared/io.ts';
import { onBus } from '../shared/session.ts';

export function registerPromote(parent: Command, io: CliIo): void {
  const command = withChangeOptions(
    parent
      .command('promote')
      .description('enforce a policy that is in audit; first show what enforcing would have denied')
      .argument('<name>', 'name, or namespace/name')
      .option('-n, --namespace <namespace>', 'policies of a namespace')
      .option('--since <when>', 'start of the range of violations', '7d'),
  ).addHelpText(
    'after',
    `
Examples:
  bailiff policy promote no-shell --dry-run --since 7d      only show what would have been denied
  bailiff policy promote shop/no-shell --reason "seven quiet days" --yes

Violations are recorded only where the policy is in force, and as long as the bus keeps them. To go back:
bailiff policy rollback NAME.

Exit codes: 0 enforced, or enforced before; 2 no such policy, or not confirmed; 6 refused, nothing was written.
`,
  );
  onBus(
    command,
    io,
    async ({ since, ...options }: ChangeOptions & { namespace?: string; since: string }, name: string) => {
      const from = parseWhen(since, '--since');
      const { promote } = await import('./promote.ts');
      return async (session) =>
        promote(session, name, { ...options, since, sinceMs: from(await readBusTime(session)) });
    },
  );
}

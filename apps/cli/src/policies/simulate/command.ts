/** `bailiff policy simulate`: its flags and help. simulate.ts has the implementation. */
import { readBusTime } from '@bailiff/insight';
import type { Command } from 'commander';
import { parsePod, parseWhen } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { readPolicies } from '../../shared/policy/files.ts';
import { onBus } from '../../shared/session.ts';
import { simulate } from './simulate.ts';

interface Flags {
  since: string;
  pod?: string;
  namespace?: string;
  alone?: boolean;
  json?: boolean;
}

export function registerSimulate(parent: Command, io: CliIo, files: string): void {
  const command = parent
    .command('simulate')
    .description('show which recorded operations policies would have denied, without changing anything')
    .argument('<file...>', files)
    .option('--since <when>', 'start of the range of violations', '7d')
    .option('--pod <pod>', 'only operations of this pod: namespace/name, name or uid')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--alone', 'without the policies that are in force')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff policy simulate no-shell.yaml --since 7d
  bailiff policy learn --pod shop/web-0 --for 10m --record && bailiff policy simulate web.yaml --since 15m

Every policy of the files is judged as enforced, whatever its mode. It replaces the stored policy of its name, and
holds beside the other policies as they are stored now. Each operation is judged alone: one that follows a denied
operation might not have happened.

Only violations are recorded: operations that a policy denied, or that a rule or posture in audit counted. The output
says for each pod and class what is recorded of allowed operations. \`policy learn --record\` records all of a pod's.

Exit codes: 0 simulated, whatever was found; 6 a file was refused.
`,
    );
  onBus(command, io, async ({ since, pod, namespace, alone = false, json = false }: Flags, given: string[]) => {
    const from = parseWhen(since, '--since');
    const options = { since, pod: pod === undefined ? null : parsePod(pod, '--pod', namespace), alone, json };
    const read = await readPolicies(given, io);
    return async (session) => simulate(session, read, { ...options, sinceMs: from(await readBusTime(session)) });
  });
}

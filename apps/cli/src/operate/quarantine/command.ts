/** `bailiff quarantine list` and `release`. */
import type { Command } from 'commander';
import { parseName, parsePod } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { onBus } from '../../shared/session.ts';
import { listQuarantined, type ReleaseOptions, release } from './release.ts';

function registerList(parent: Command, io: CliIo): void {
  const command = parent
    .command('list')
    .description('pods in quarantine: whether their nodes drop their traffic in both directions, until when, and why')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff quarantine list\n');
  onBus(command, io, ({ namespace, json = false }: { namespace?: string; json?: boolean }) => {
    if (namespace !== undefined) parseName(namespace, '--namespace');
    return (session) => listQuarantined(session, namespace, json);
  });
}

function registerRelease(parent: Command, io: CliIo): void {
  const command = parent
    .command('release')
    .description("end a quarantine early; the pod's traffic passes at once")
    .argument('<pod>', 'namespace/name, name or uid')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('--reason <text>', 'reason, for the record')
    .option('--by <name>', 'author, for the record (default: user@host)')
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--json', 'print the result as one JSON document')
    .addHelpText('after', '\nExample:\n  bailiff quarantine release shop/cart-1 --reason "image was rebuilt"\n');
  onBus(command, io, (options: ReleaseOptions & { namespace?: string }, text: string) => {
    const pod = parsePod(text, 'pod', options.namespace);
    return (session) => release(session, pod, options);
  });
}

export function register(program: Command, io: CliIo): void {
  const command = program.command('quarantine').description('quarantined pods, and their release');
  registerList(command, io);
  registerRelease(command, io);
}

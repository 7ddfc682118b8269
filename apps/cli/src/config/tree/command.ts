/** `bailiff config export` and `import`. The work is in ../config/tree, loaded when a command of these runs: YAML is not small. */
import type { Command } from 'commander';
import { withChangeOptions } from '../../shared/config/change-options.ts';
import type { CliIo } from '../../shared/io.ts';
import { optionsOf, withBusOptions, withSession } from '../../shared/session.ts';
import type { ImportOptions } from './import.ts';

const LAYOUT = `
Layout, one file a key:
  spoof/cluster.yaml   spoof/namespaces/<namespace>.yaml   spoof/workloads/<namespace>/<owner>.yaml
  correlation/<rule>.yaml   response/<policy>.yaml
  runtime/<policy>.yaml   runtime/<namespace>/<policy>.yaml        as \`policy apply\` takes them
A break-glass (\`bailiff disarm\`) has no file. Other files, and names that begin with a dot, are left alone.
`;

export function registerTree(parent: Command, io: CliIo): void {
  const write = parent
    .command('export')
    .description('what is stored as a directory of YAML files, one a key')
    .argument('<directory>', 'made when it is not there')
    .option('--prune', 'take away files of keys that are stored no more')
    .option('--json', 'one JSON document')
    .addHelpText('after', `${LAYOUT}\nExample:\n  bailiff config export cluster-1/ && git -C cluster-1 diff\n`);
  withBusOptions(write).action(async (directory: string) => {
    const { exportTree } = await import('./export.ts');
    io.exitCode = await withSession(io, write, (session) => exportTree(session, directory, optionsOf(write)));
  });
  const read = withChangeOptions(
    parent
      .command('import')
      .description(
        'write what a directory says: all is checked first, the difference shown, and all is written or none',
      )
      .argument('<directory>', 'as export writes it')
      .option('--prune', 'delete stored keys that have no file'),
  ).addHelpText(
    'after',
    `${LAYOUT}
Examples:
  bailiff config import cluster-1/ --dry-run
  bailiff config import cluster-1/ --reason "release 12" --yes

Exit code: 0 written, or nothing to change; 6 refused, with file:line: field: what is wrong; nothing was written then.
`,
  );
  withBusOptions(read).action(async (directory: string) => {
    const { importTree } = await import('./import.ts');
    io.exitCode = await withSession(io, read, (session) =>
      importTree(session, directory, optionsOf<ImportOptions>(read)),
    );
  });
}

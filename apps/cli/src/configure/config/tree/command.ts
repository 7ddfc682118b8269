/**
 * `bailiff config export` and `import`. Their implementation is loaded on use, because the yaml
 * package is large.
 */
import type { Command } from 'commander';
import { withChangeOptions } from '../../../shared/config/change-options.ts';
import type { CliIo } from '../../../shared/io.ts';
import { onBus } from '../../../shared/session.ts';
import { type ExportOptions, exportTree } from './export.ts';
import { type ImportOptions, importTree } from './import.ts';

const LAYOUT = `
Layout, one file per key:
  spoof/cluster.yaml   spoof/namespaces/<namespace>.yaml   spoof/workloads/<namespace>/<owner>.yaml
  correlation/<rule>.yaml   response/<policy>.yaml
  runtime/<policy>.yaml   runtime/<namespace>/<policy>.yaml        as for \`policy apply\`
Disarms have no file. Other files, and names that start with a dot, are ignored.
`;

export function registerTree(parent: Command, io: CliIo): void {
  const write = parent
    .command('export')
    .description('write the stored configuration as a directory of YAML files, one per key')
    .argument('<directory>', 'created if it does not exist')
    .option('--prune', 'delete files of keys that are no longer stored')
    .option('--json', 'one JSON document')
    .addHelpText('after', `${LAYOUT}\nExample:\n  bailiff config export cluster-1/ && git -C cluster-1 diff\n`);
  onBus(write, io, (options: ExportOptions, directory: string) => {
    return (session) => exportTree(session, directory, options);
  });
  const read = withChangeOptions(
    parent
      .command('import')
      .description('write the files of a directory: checks all, shows the difference, writes all or nothing')
      .argument('<directory>', 'a directory that export wrote')
      .option('--prune', 'delete stored keys that have no file'),
  ).addHelpText(
    'after',
    `${LAYOUT}
Examples:
  bailiff config import cluster-1/ --dry-run
  bailiff config import cluster-1/ --reason "release 12" --yes

Exit codes: 0 written, or nothing to change; 6 refused with file:line: field: reason, nothing was written.
`,
  );
  onBus(read, io, (options: ImportOptions, directory: string) => {
    return (session) => importTree(session, directory, options);
  });
}

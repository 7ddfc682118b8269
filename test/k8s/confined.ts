/**
 * The collector's rights on a node as its manifest grants them, and a command line that runs a
 * process with exactly these rights.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

/**
 * Names as in `capabilities.add`, without CAP_. Read directly from the file, because kubectl takes
 * seconds on an emulated machine.
 */
export function collectorCapabilities(): string[] {
  const file = path.resolve(import.meta.dirname, '../../k8s/base/collector.yaml');
  const documents = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS());
  const daemonSet = documents.find(({ kind }) => kind === 'DaemonSet');
  return daemonSet.spec.template.spec.containers[0].securityContext.capabilities.add;
}

/**
 * Limits the bounding set to these capabilities, as a container runtime does for a root process;
 * children cannot get more. The command execs.
 */
export function confined(capabilities: readonly string[]): string[] {
  const set = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',');
  return ['setpriv', `--bounding-set=${set}`, '--inh-caps=-all', '--no-new-privs', '--'];
}

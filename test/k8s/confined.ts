/** The collector's rights on a node as its manifest grants them, and a command line under which a process has them and no others. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

/** Names as in `capabilities.add`: without CAP_. Read from the file as it is, since kubectl takes seconds where the machine is emulated. */
export function collectorCapabilities(): string[] {
  const file = path.resolve(import.meta.dirname, '../../k8s/base/collector.yaml');
  const documents = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS());
  const daemonSet = documents.find(({ kind }) => kind === 'DaemonSet');
  return daemonSet.spec.template.spec.containers[0].securityContext.capabilities.add;
}

/** As a container runtime starts a root process: these in its bounding set, and nothing that it runs gets more. It execs. */
export function confined(capabilities: readonly string[]): string[] {
  const set = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',');
  return ['setpriv', `--bounding-set=${set}`, '--inh-caps=-all', '--no-new-privs', '--'];
}

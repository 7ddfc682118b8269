/** Flags of the demo. */
import { parseFlags, wrongUse } from '../command/flags.ts';
import { isLabId, notALabId } from '../names.ts';
import { CNI_PLUGINS, type CniPlugin } from '../plan.ts';

export const COMMAND = 'npm run demo';
/** npm consumes flags before `--`. */
const COMMAND_HELP = `${COMMAND} --`;
export const USAGE = `usage: ${COMMAND} [-- FLAGS]

Act 1 starts a cluster on this machine, forges packets without and with Bailiff, and removes the cluster.
Act 2 escapes from a container without and with a policy, in a virtual machine with BPF-LSM.
Prints the counts. Needs root. First it names the missing packages with their size, and installs them
ten seconds later.

  --act 1|2      run only this act (default: both)
  --yes          install missing packages without waiting
  --json         print the counts as one JSON line at the end
  --cni PLUGIN   CNI plugin of the first act: bridge or ptp (default: bridge)
  --lab ID       name of the lab, to find its files and processes (--id is a deprecated alias)
`;
const FLAGS = {
  act: { type: 'string' },
  json: { type: 'boolean' },
  cni: { type: 'string' },
  lab: { type: 'string' },
  id: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

export interface DemoOptions {
  /** Null: both acts. */
  act: 1 | 2 | null;
  json: boolean;
  cni: CniPlugin;
  id: string | undefined;
}

/** Null: help is requested. @throws LabError LAB_USAGE */
export function parseDemoArgs(argv: readonly string[]): DemoOptions | null {
  const { values, positionals } = parseFlags(argv, FLAGS, COMMAND_HELP);
  if (values.help) return null;
  const { act, json = false, id: alias, lab: id = alias, cni = 'bridge' } = values;
  if (positionals.length > 0) throw wrongUse(`it takes no argument "${positionals[0]}"`, COMMAND_HELP);
  if (act !== undefined && act !== '1' && act !== '2')
    throw wrongUse(`--act must be 1 or 2, not "${act}"`, COMMAND_HELP);
  if (!(CNI_PLUGINS as readonly string[]).includes(cni))
    throw wrongUse(`--cni must be bridge or ptp, not "${cni}"`, COMMAND_HELP);
  if (id !== undefined && !isLabId(id)) throw wrongUse(`--lab: ${notALabId(id)}`, COMMAND_HELP);
  return { act: act === undefined ? null : act === '1' ? 1 : 2, json, cni: cni as CniPlugin, id };
}

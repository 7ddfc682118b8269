/**
 * Command line of the lab: `up`, `down`, `attack`, `list`, `info`. Pure: text → a checked request
 * or LabError LAB_USAGE.
 */
import type { ManualAttack } from '../attack/manual-attack.ts';
import { MANUAL_VECTORS, type ManualVector } from '../attack/manual-frames.ts';
import type { LabError } from '../errors.ts';
import { isLabId, notALabId } from '../names.ts';
import { CNI_PLUGINS, type CniPlugin, checkOptions, DEFAULT_OPTIONS, type LabOptions } from '../plan.ts';
import { parseFlags, wrongUse } from './flags.ts';

/** Enough packets for a verdict by the built-in rules. */
const DEFAULT_ATTACK = { vectors: ['ipv4-source'], count: 20, rate: 100 } as const;
const MAX_COUNT = 1_000_000;
const MAX_RATE = 100_000;

/** Names of the vectors, four per line: at most 80 columns. */
function vectorLines(): string {
  const lines: string[] = [];
  for (let at = 0; at < MANUAL_VECTORS.length; at += 4)
    lines.push(`                     ${MANUAL_VECTORS.slice(at, at + 4).join(', ')}`);
  return lines.join(',\n');
}

/** At most 80 columns. */
export const USAGE = `usage: bailiff lab <command>

  up      bring up a cluster on this machine and keep it until Ctrl-C
    --nodes N        nodes (${DEFAULT_OPTIONS.nodes})
    --pods M         pods on each node (${DEFAULT_OPTIONS.podsPerNode})
    --cni PLUGIN     bridge or ptp (${DEFAULT_OPTIONS.cni})
    --unguarded      attach no programs, to see attacks without Bailiff
    --enforce        execute responses; without it they are dry runs
    --no-replace     do not replace pods that are deleted
    --siem           also start siem-relay: OCSF, ECS and CEF events on the bus
    --bus-auth       collectors log in with ServiceAccount tokens; bus-auth
                     verifies them at the API server
    --lab ID         name of the lab (default: eight random letters and digits)
    --detach         return when everything is ready; the lab stays up
    --json           print the parts of the lab as one JSON line
  down    stop a lab and remove everything that it created
    --lab ID         name of the lab (default: the newest)
    --all            stop all labs
  attack POD  forge packets from inside a pod: name, namespace/name, or the end
              of a name
    --vector V,W     one or more of these, or all (${DEFAULT_ATTACK.vectors.join(',')})
${vectorLines()}
    --count N        number of packets (${DEFAULT_ATTACK.count}); ten from one pod within a minute
                     cause a verdict
    --rate N         packets per second (${DEFAULT_ATTACK.rate})
    --json           print sent and landed packets as one JSON line
    --lab ID         name of the lab (default: the newest)
  list    list the labs on this machine
  info    print the line of \`up --json\` for the current state of a lab
    --lab ID         name of the lab (default: the newest)

  --id is a deprecated alias of --lab.
`;

export type LabRequest =
  | { command: 'help' }
  | { command: 'up' | 'supervise'; options: LabOptions; detach: boolean; json: boolean; id: string | undefined }
  | { command: 'down'; id: string | undefined; all: boolean }
  | ({ command: 'attack'; id: string | undefined; json: boolean } & ManualAttack)
  | { command: 'list' | 'info'; id: string | undefined; json: boolean };

const FLAGS = {
  nodes: { type: 'string' },
  pods: { type: 'string' },
  cni: { type: 'string' },
  unguarded: { type: 'boolean' },
  enforce: { type: 'boolean' },
  'no-replace': { type: 'boolean' },
  siem: { type: 'boolean' },
  'bus-auth': { type: 'boolean' },
  detach: { type: 'boolean' },
  json: { type: 'boolean' },
  lab: { type: 'string' },
  id: { type: 'string' },
  all: { type: 'boolean' },
  vector: { type: 'string' },
  count: { type: 'string' },
  rate: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** The flag that names a lab, and its deprecated alias. */
const LAB = ['lab', 'id'];

/** Flags of each command. `supervise` is `up` in the detached process. */
const FLAGS_OF: Record<string, readonly string[]> = {
  up: ['nodes', 'pods', 'cni', 'unguarded', 'enforce', 'no-replace', 'siem', 'bus-auth', 'detach', 'json', ...LAB],
  supervise: ['nodes', 'pods', 'cni', 'unguarded', 'enforce', 'no-replace', 'siem', 'bus-auth', ...LAB],
  down: [...LAB, 'all'],
  attack: ['vector', 'count', 'rate', 'json', ...LAB],
  list: ['json'],
  info: [...LAB, 'json'],
};

const COMMAND = 'bailiff lab';
const usage = (message: string): LabError => wrongUse(message, COMMAND);

function wholeNumber(text: string | undefined, fallback: number, flag: string): number {
  if (text === undefined) return fallback;
  if (!/^\d{1,9}$/.test(text)) throw usage(`${flag} must be a whole number, not "${text}"`);
  return Number(text);
}

function attackOf(pod: string | undefined, values: { vector?: string; count?: string; rate?: string }): ManualAttack {
  if (pod === undefined) throw usage('the attacking pod is missing: bailiff lab attack POD');
  const count = wholeNumber(values.count, DEFAULT_ATTACK.count, '--count');
  const rate = wholeNumber(values.rate, DEFAULT_ATTACK.rate, '--rate');
  if (count < 1 || count > MAX_COUNT)
    throw usage(`--count must be a whole number from 1 to ${MAX_COUNT}, not ${count}`);
  if (rate < 1 || rate > MAX_RATE) throw usage(`--rate must be a whole number from 1 to ${MAX_RATE}, not ${rate}`);
  return { pod, vectors: vectorsOf(values.vector), count, rate };
}

function vectorsOf(text: string | undefined): readonly ManualVector[] {
  if (text === undefined) return DEFAULT_ATTACK.vectors;
  if (text === 'all') return MANUAL_VECTORS;
  return text.split(',').map((name) => {
    const vector = MANUAL_VECTORS.find((known) => known === name.trim());
    if (!vector) throw usage(`--vector: "${name}" is none of ${MANUAL_VECTORS.join(', ')}, all`);
    return vector;
  });
}

/** The lab that --lab or its alias names. @throws LabError LAB_USAGE */
function labIdOf({ lab, id }: { lab?: string; id?: string }): string | undefined {
  if (lab !== undefined && id !== undefined) throw usage('--lab and --id exclude each other');
  const given = lab ?? id;
  if (given !== undefined && !isLabId(given)) throw usage(`--${lab === undefined ? 'id' : 'lab'}: ${notALabId(given)}`);
  return given;
}

/** @throws LabError LAB_USAGE */
export function parseLabArgs(argv: readonly string[]): LabRequest {
  const { values, positionals } = parseFlags(argv, FLAGS, COMMAND);
  const [command, ...rest] = positionals;
  if (values.help || command === 'help') return { command: 'help' };
  if (command === undefined) throw usage('a command is missing: up, down, list, info or attack');
  if (!Object.hasOwn(FLAGS_OF, command)) throw usage(`"${command}" is not a lab command`);
  const allowed = command === 'attack' ? 1 : 0;
  if (rest.length > allowed) throw usage(`${command} takes no argument "${rest[allowed]}"`);
  const unknown = Object.keys(values).find((flag) => !FLAGS_OF[command]?.includes(flag));
  if (unknown) throw usage(`${command} has no flag --${unknown}`);
  const id = labIdOf(values);
  const { json = false } = values;
  if (command === 'attack') return { command, id, json, ...attackOf(rest[0], values) };
  if (command === 'down') return { command, id, all: values.all ?? false };
  if (command === 'list' || command === 'info') return { command, id, json };
  const cni = values.cni ?? DEFAULT_OPTIONS.cni;
  if (!(CNI_PLUGINS as readonly string[]).includes(cni)) throw usage(`--cni must be bridge or ptp, not "${cni}"`);
  const options: LabOptions = {
    nodes: wholeNumber(values.nodes, DEFAULT_OPTIONS.nodes, '--nodes'),
    podsPerNode: wholeNumber(values.pods, DEFAULT_OPTIONS.podsPerNode, '--pods'),
    cni: cni as CniPlugin,
    unguarded: values.unguarded ?? false,
    enforce: values.enforce ?? false,
    replace: !(values['no-replace'] ?? false),
    siem: values.siem ?? false,
    busAuth: values['bus-auth'] ?? false,
  };
  checkOptions(options);
  return { command: command as 'up' | 'supervise', options, detach: values.detach ?? false, json, id };
}

/** The options as flags for the detached process. Pure. */
export function optionFlags(options: LabOptions): string[] {
  return [
    ...['--nodes', String(options.nodes), '--pods', String(options.podsPerNode), '--cni', options.cni],
    ...(options.unguarded ? ['--unguarded'] : []),
    ...(options.enforce ? ['--enforce'] : []),
    ...(options.replace ? [] : ['--no-replace']),
    ...(options.siem ? ['--siem'] : []),
    ...(options.busAuth ? ['--bus-auth'] : []),
  ];
}

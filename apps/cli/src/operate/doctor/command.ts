/** `bailiff doctor`: finds missing prerequisites, and shows how to provide them. */
import { signedConfigBy } from '@bailiff/bus';
import { readBusTime } from '@bailiff/insight';
import { CNI_RESULTS_DIRS } from '@bailiff/vocabulary';
import type { Command } from 'commander';
import { oneOf, parseWhen } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { CHECK_SIGNERS_HELP } from '../../shared/key-file.ts';
import { type BusOptionValues, kubeconfigOf, onBus, outOf } from '../../shared/session.ts';
import { wouldDrop } from '../../shared/would-drop.ts';
import { busGroup } from './bus.ts';
import { canary } from './canary.ts';
import { demanded, exitCodeOf, type Group, groupLines, skip, verdictLine } from './finding.ts';
import { kubernetesGroup } from './kubernetes.ts';
import { machineGroup } from './machine.ts';
import { CGROUP_ROOT } from './machine-rules.ts';
import { redisGroup } from './redis.ts';

interface Options extends BusOptionValues {
  only?: string;
  configSigners?: string;
  redisUrl?: string;
  redisPasswordFile?: string;
  redisCaFile?: string;
  kubeconfig?: string;
  cniResultsDir: string;
  preflight?: boolean;
  cgroupRoot: string;
  stateDir: string;
  cniConfDir?: string;
  cniBinDir?: string;
  wouldDrop?: boolean;
  canary?: string;
  since: string;
  json?: boolean;
}

const PARTS = ['machine', 'bus', 'redis', 'kubernetes'] as const;
type Part = (typeof PARTS)[number];

const HELP = `
Examples:
  bailiff doctor                                    this machine, and the other parts that are configured;
                                                    kubectl bailiff doctor: without this machine
  bailiff doctor --only bus,kubernetes --kubeconfig ~/.kube/config
  bailiff doctor --preflight                        on a node, before an installation
  bailiff doctor --would-drop --since 1d            before enforcing: packets that would be dropped
  bailiff doctor --canary shop/web-0                in that pod: one forged packet must be reported

Exit codes: 0 nothing needed is missing; 2 a part that --only names has no address; 4 a privilege is missing; 3 a kernel feature is missing; 6 bad configuration;
7 a dependency is unreachable, or a part does not work; 10 everything works, but something is not enforced.
bailiff status --help says more of 3, 6, 7 and 10.
`;

/** `null`: every part, and of the machine only if it may be a node; a user of kubectl is elsewhere. */
function partsOf(only: string | undefined): ReadonlySet<Part> | null {
  if (only === undefined) return null;
  return new Set(only.split(',').map((part) => oneOf(part.trim(), PARTS, '--only')));
}

const ELSEWHERE: Group = {
  title: 'This machine',
  findings: [skip('machine', 'not taken for a node', 'on a node: bailiff doctor --preflight')],
};

async function examine(io: CliIo, command: Command, options: Options): Promise<Group[]> {
  const only = partsOf(options.only);
  const parts = only ?? new Set<Part>(PARTS);
  const groups: Group[] = [];
  if (only === null && io.asPlugin) groups.push(ELSEWHERE);
  else if (parts.has('machine')) groups.push(machineGroup(options.cniResultsDir.split(',')));
  const signed = signedConfigBy(options.configSigners ?? '');
  const isBusNeeded = parts.has('bus') || parts.has('redis') || parts.has('kubernetes');
  const bus = isBusNeeded ? await busGroup(io, command, signed) : null;
  if (bus && parts.has('bus')) groups.push(bus.group);
  // A lab's state has the addresses of its other parts.
  const lab = bus?.connection?.lab ?? null;
  if (parts.has('redis'))
    groups.push(await redisGroup(io, { ...options, redisUrl: options.redisUrl ?? lab?.redisUrl }));
  if (parts.has('kubernetes')) {
    groups.push(await kubernetesGroup(io, options.kubeconfig ?? lab?.kubeconfig ?? kubeconfigOf(undefined, io)));
  }
  return only === null ? groups : groups.map(demanded);
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('doctor')
    .description('check this machine, the bus, Redis and Kubernetes; show what enforcing would drop')
    .option('--only <parts>', `check only these: ${PARTS.join(',')}`)
    .option('--config-signers <file>', CHECK_SIGNERS_HELP)
    .option('--redis-url <url>', "the responder's Redis: redis://, rediss:// or unix://")
    .option('--redis-password-file <file>', 'file with its password')
    .option('--redis-ca-file <file>', 'CA certificates (PEM) for TLS (rediss://)')
    .option('--cni-results-dir <dirs>', "libcni's result caches", CNI_RESULTS_DIRS.join(','))
    .option('--preflight', 'check only this machine, as a node: also directories that a collector needs')
    .option('--cgroup-root <dir>', "with --preflight: the collector's cgroupRoot", CGROUP_ROOT)
    .option('--state-dir <dir>', "with --preflight: the collector's stateDir", '/var/lib/bailiff')
    .option('--cni-conf-dir <dir>', 'with --preflight: directory of CNI configurations (default: not checked)')
    .option('--cni-bin-dir <dir>', 'with --preflight: directory of CNI plugins (default: not checked)')
    .option('--would-drop', 'show only the audited packets, which enforcing would drop')
    .option('--since <when>', 'with --would-drop: start of the range', '1h')
    .option('--canary <pod>', 'send one forged packet from this pod, namespace/name, and expect its violation')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, async (options: Options) => {
    const { json = false, since } = options;
    if (options.wouldDrop) {
      const from = parseWhen(since, '--since');
      return async (session) => wouldDrop(session, since, from(await readBusTime(session)), json);
    }
    const { canary: pod } = options;
    if (pod !== undefined) return (session) => canary(session, pod);
    const groups = options.preflight
      ? [machineGroup(options.cniResultsDir.split(','), options)]
      : await examine(io, command, options);
    const out = outOf(io, command);
    const exitCode = exitCodeOf(groups);
    if (json) out.json({ ok: exitCode === 0, exitCode, groups });
    else out.lines([...groups.flatMap((group) => [...groupLines(group, out.table), '']), verdictLine(groups)]);
    return exitCode;
  });
}

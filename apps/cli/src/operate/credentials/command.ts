/**
 * `bailiff credentials`: bus users with passwords, auth callout keys, certificates. The
 * implementation is loaded on use because of its cryptography packages.
 */
import type { Command } from 'commander';
import { bytesIn, parseName, wholeNumber } from '../../shared/arguments.ts';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { runInstall, runUninstall } from './cluster.ts';
import { DEFAULT_NAMESPACE, defaultDnsNames } from './names.ts';
import { type OutputTarget, type RotateOptions, runInit, runRender, runRotate, runShow } from './steps.ts';

const EXAMPLES = `
Examples:
  bailiff credentials init --kubernetes secrets.yaml     for the manifests in k8s: one server
  bailiff credentials init --replicas 3 --dns-name bus.example.org
  bailiff credentials rotate && kubectl apply -f …       first step: new secrets for the clients; then --finish
  bailiff credentials show

credentials.json in --out contains all secrets, including the key of the CA: store it safely. Nothing is sent anywhere.
`;

const DEFAULT_OUT = './bailiff-credentials';
const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f:.]+$/i;

interface BusFlags {
  namespace: string;
  replicas: string;
  maxFileStore?: string;
  dnsName: string[];
}

const withTargetOptions = (command: Command) =>
  command
    .option('--out <dir>', 'credentials directory; created with mode 0700', DEFAULT_OUT)
    .option('--kubernetes [file]', 'write Secrets as YAML to a file, or to stdout');

/** Odd: Raft needs a majority. */
function replicasOf(text: string): number {
  const replicas = wholeNumber(text, '--replicas', 1, 5);
  if (replicas % 2 === 1) return replicas;
  throw new CliError('CLI_USAGE', `--replicas: ${replicas} servers tolerate no more failures than ${replicas - 1}`, {
    remedy: 'use 1, 3 or 5',
  });
}

function dnsName(name: string): string {
  if (DNS_NAME.test(name) && name.length <= 253) return name;
  throw new CliError('CLI_USAGE', `--dns-name: "${name}" is neither a DNS name nor an IP address`);
}

/** The smallest that has room for more than one stream. */
const MIN_FILE_STORE = '1GiB';

function fileStore(text: string): number {
  const bytes = bytesIn(text);
  if (bytes >= bytesIn(MIN_FILE_STORE)) return bytes;
  throw new CliError('CLI_USAGE', `--max-file-store: "${text}" is not a size from ${MIN_FILE_STORE}, such as 12GiB`);
}

const collect = (value: string, before: string[]) => [...before, value];

const withBusOptions = (command: Command) =>
  command
    .option('--namespace <namespace>', 'namespace of the bus', DEFAULT_NAMESPACE)
    .option('--replicas <n>', 'servers of the bus: 1, 3 or 5', '1')
    .option('--max-file-store <size>', 'what a server may store, below the size of its volume (default: 12GiB)')
    .option('--dns-name <name>', 'additional name or address of the certificate; repeatable', collect, []);

const busOf = ({ namespace, replicas, maxFileStore, dnsName: more }: BusFlags) => ({
  namespace: parseName(namespace, '--namespace'),
  replicas: replicasOf(replicas),
  ...(maxFileStore === undefined ? {} : { maxFileBytes: fileStore(maxFileStore) }),
  dnsNames: [...new Set([...defaultDnsNames(namespace), ...more.map(dnsName)])],
});

function registerInit(parent: Command, io: CliIo): void {
  const command = withTargetOptions(
    withBusOptions(parent.command('init').description('create the credentials of a new bus')),
  ).addHelpText('after', EXAMPLES);
  command.action(({ out, kubernetes, ...bus }: BusFlags & OutputTarget) =>
    runInit(io, busOf(bus), { out, ...(kubernetes === undefined ? {} : { kubernetes }) }),
  );
}

interface RotateFlags {
  ca?: boolean;
  keys?: boolean;
  routes?: boolean;
  redis?: boolean;
  finish?: boolean;
  abort?: boolean;
}

function registerRotate(parent: Command, io: CliIo): void {
  const command = withTargetOptions(
    parent.command('rotate').description('rotate passwords and certificate, in two steps without an interruption'),
  )
    .option('--ca', 'also a new certificate authority')
    .option('--keys', 'also new auth callout keys; servers need a restart instead of a reload')
    .option('--routes', 'also a new route password; servers are also reloaded after the first step')
    .option('--redis', 'also a new password of the included Valkey, which accepts both between the steps')
    .option('--finish', 'second step: the servers accept the prepared secrets')
    .option('--abort', 'revert a prepared rotation')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials rotate --kubernetes secrets.yaml            first step: apply the file, wait two minutes
  bailiff credentials rotate --finish --kubernetes secrets.yaml   second step: apply the file, wait, reload the servers
`,
    );
  command.action((flags: OutputTarget & RotateFlags) => {
    const { ca = false, keys = false, routes = false, redis = false, finish = false, abort = false, ...where } = flags;
    if (Number(ca || keys || routes || redis) + Number(finish) + Number(abort) > 1) {
      throw new CliError('CLI_USAGE', '--finish, --abort and the flags of the first step exclude each other', {
        remedy: '--ca, --keys, --routes and --redis belong to the first step',
      });
    }
    const step: RotateOptions['step'] = finish ? 'finish' : abort ? 'abort' : 'prepare';
    return runRotate(io, { scope: { authority: ca, keys, routes, redis }, step }, where);
  });
}

interface InstallFlags extends BusFlags {
  kubeconfig?: string;
  certificates: boolean;
  redis: boolean;
}

function registerCluster(parent: Command, io: CliIo): void {
  const command = parent
    .command('install')
    .description('create missing Secrets of the bus in a cluster, as the Helm chart does');
  withBusOptions(command)
    .option('--kubeconfig <file>', 'kubeconfig (default: the service account of the pod)')
    .option('--no-certificates', 'without certificates: another program issues them')
    .option('--no-redis', 'without the password of Redis: the Secret is yours')
    .option('--empty-bus', 'go from one server to several, or to fewer, although every stream is lost')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials install --replicas 3     in a Job: its account creates, reads and patches Secrets

Existing Secrets are not changed, except for the servers' configuration when --replicas or
--max-file-store changes.
The Secret bailiff-credentials contains credentials.json, for a later rotation.
`,
    )
    .action((flags: InstallFlags) => runInstall(io, busOf(flags), flags));
  parent
    .command('uninstall')
    .description('delete the Secrets of `credentials install`')
    .option('--namespace <namespace>', 'namespace of the bus', DEFAULT_NAMESPACE)
    .option('--kubeconfig <file>', 'kubeconfig (default: the service account of the pod)')
    .requiredOption('--yes', 'confirms: a bus that still runs loses its credentials')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials uninstall --yes     in a Job, after an uninstall
`,
    )
    .action(({ namespace, kubeconfig }: { namespace: string; kubeconfig?: string }) =>
      runUninstall(io, parseName(namespace, '--namespace'), kubeconfig),
    );
}

export function register(program: Command, io: CliIo): void {
  const parent = program
    .command('credentials')
    .description('create, rotate and show users, keys and certificates of the bus')
    .addHelpText('after', EXAMPLES);
  registerInit(parent, io);
  registerRotate(parent, io);
  registerCluster(parent, io);
  parent
    .command('show')
    .description('show users, rotation stage and expiry, without secrets')
    .option('--out <dir>', 'credentials directory', DEFAULT_OUT)
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials show                       rotation stage, and expiry of the certificate
  bailiff credentials show --out /root/bus --json
`,
    )
    .action(({ out, json = false }: { out: string; json?: boolean }) => runShow(io, { out, json }));
  withTargetOptions(parent.command('render').description('write files and Secrets again from credentials.json'))
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials render --kubernetes secrets.yaml   the unchanged Secrets again
`,
    )
    .action((where: OutputTarget) => runRender(io, where));
}

/**
 * `bailiff credentials …`: users of the bus with their passwords, keys of auth callout, certificates. The work is in ../credentials/,
 * loaded when a command of these runs: it has the cryptography that no other needs.
 */
import type { Command } from 'commander';
import { parseName, wholeNumber } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { DEFAULT_NAMESPACE, defaultDnsNames } from './names.ts';
import type { RotateOptions, Where } from './steps.ts';

const EXAMPLES = `
Examples:
  bailiff credentials init --kubernetes secrets.yaml     for the manifests in k8s: three servers
  bailiff credentials init --replicas 1 --dns-name bus.example.org
  bailiff credentials rotate && kubectl apply -f …       new secrets to the clients; --finish later, for the servers
  bailiff credentials show

credentials.json in --out is the source of everything, with the key of the CA: keep it where you keep such things. Nothing is sent anywhere.
`;

const DEFAULT_OUT = './bailiff-credentials';
const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f:.]+$/i;

interface InitFlags extends Where {
  namespace: string;
  replicas: string;
  dnsName: string[];
}

const withWhere = (command: Command) =>
  command
    .option('--out <dir>', 'the directory of the credentials; made with mode 0700', DEFAULT_OUT)
    .option('--kubernetes [file]', 'Secrets as YAML, to a file or to stdout');

/** Odd, so that a majority is one: nats-server's Raft. */
function replicasOf(text: string): number {
  const replicas = wholeNumber(text, '--replicas', 1, 5);
  if (replicas % 2 === 1) return replicas;
  throw new CliError('CLI_USAGE', `--replicas: ${replicas} servers bear no more failures than ${replicas - 1}`, {
    remedy: '1, 3 or 5',
  });
}

function dnsName(name: string): string {
  if (DNS_NAME.test(name) && name.length <= 253) return name;
  throw new CliError('CLI_USAGE', `--dns-name: "${name}" is neither a name nor an address`);
}

function registerInit(parent: Command, io: CliIo): void {
  const command = withWhere(parent.command('init').description('make the credentials of a new bus'))
    .option('--namespace <namespace>', 'where the bus runs', DEFAULT_NAMESPACE)
    .option('--replicas <n>', 'servers of the bus: 1, 3 or 5', '3')
    .option('--dns-name <name>', 'a name or address that the certificate is for too; may be repeated', collect, [])
    .addHelpText('after', EXAMPLES);
  command.action(async ({ namespace, replicas, dnsName: more, ...where }: InitFlags) => {
    const credentials = await import('./steps.ts');
    const options = {
      namespace: parseName(namespace, '--namespace'),
      replicas: replicasOf(replicas),
      dnsNames: [...new Set([...defaultDnsNames(namespace), ...more.map(dnsName)])],
    };
    await credentials.runInit(io, options, where);
  });
}

const collect = (value: string, before: string[]) => [...before, value];

interface RotateFlags {
  ca?: boolean;
  keys?: boolean;
  routes?: boolean;
  redis?: boolean;
  finish?: boolean;
  abort?: boolean;
}

function registerRotate(parent: Command, io: CliIo): void {
  const command = withWhere(
    parent.command('rotate').description('new passwords and certificate, in two steps so that nothing is cut off'),
  )
    .option('--ca', 'a new certificate authority too')
    .option('--keys', 'new keys of auth callout too; servers take them by a restart, not by a reload')
    .option('--routes', 'a new password between the servers too; they are reloaded after the first step as well')
    .option('--redis', 'a new password of the included Valkey too, which takes both between the steps')
    .option('--finish', 'the second step: the servers take what was prepared')
    .option('--abort', 'take a preparation back')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials rotate --kubernetes secrets.yaml            the first step: apply it, wait two minutes
  bailiff credentials rotate --finish --kubernetes secrets.yaml   the second: apply it, wait, reload the servers
`,
    );
  command.action(async (flags: Where & RotateFlags) => {
    const { ca = false, keys = false, routes = false, redis = false, finish = false, abort = false, ...where } = flags;
    if (Number(ca || keys || routes || redis) + Number(finish) + Number(abort) > 1) {
      throw new CliError('CLI_USAGE', '--finish, --abort, and what is to be new exclude each other', {
        remedy: '--ca, --keys, --routes and --redis belong to the first step',
      });
    }
    const credentials = await import('./steps.ts');
    const step: RotateOptions['step'] = finish ? 'finish' : abort ? 'abort' : 'prepare';
    await credentials.runRotate(io, { scope: { authority: ca, keys, routes, redis }, step }, where);
  });
}

export function register(program: Command, io: CliIo): void {
  const parent = program
    .command('credentials')
    .description('users of the bus, keys and certificates: made, rotated, shown')
    .addHelpText('after', EXAMPLES);
  registerInit(parent, io);
  registerRotate(parent, io);
  parent
    .command('show')
    .description('what there is, in which stage and until when; nothing secret')
    .option('--out <dir>', 'the directory of the credentials', DEFAULT_OUT)
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials show                       stages, and when the certificate ends
  bailiff credentials show --out /root/bus --json
`,
    )
    .action(async ({ out, json = false }: { out: string; json?: boolean }) => {
      const credentials = await import('./steps.ts');
      await credentials.runShow(io, { out, json });
    });
  withWhere(parent.command('render').description('write the files again from credentials.json, and the Secrets'))
    .addHelpText(
      'after',
      `
Examples:
  bailiff credentials render --kubernetes secrets.yaml   the Secrets again, with nothing in them changed
`,
    )
    .action(async (where: Where) => {
      const credentials = await import('./steps.ts');
      await credentials.runRender(io, where);
    });
}

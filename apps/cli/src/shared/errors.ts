/**
 * Errors of the command line, and how any error is told to a person: what, where, what to do. Only --debug shows a stack.
 *
 * Place in the path: everything throws → run.ts → here → stderr and the exit code.
 */
import { SETUP_REMEDY } from '@bailiff/bus';
import { ConfigError } from '@bailiff/policy';
import { EXIT, type ExitCode, exitCodeOf } from '@bailiff/service';
import { schemaRemedy } from './config-keys/schema-remedy.ts';
import { clean } from './text/clean.ts';
import { fitLine } from './text/fit.ts';

/**
 * CLI_USAGE: what was asked cannot be asked so. CLI_NOT_FOUND: what was named is not there. CLI_CONTEXT: the context file or the
 * environment is wrong. CLI_DECLINED: a person said no, or could not be asked. CLI_CONFIG: a configuration that is refused. CLI_STATE: the
 * thing is not in a state for this. CLI_BUS: the bus cannot do what it is there for.
 */
export type CliErrorCode =
  | 'CLI_USAGE'
  | 'CLI_NOT_FOUND'
  | 'CLI_CONTEXT'
  | 'CLI_DECLINED'
  | 'CLI_CONFIG'
  | 'CLI_STATE'
  | 'CLI_BUS';

const EXIT_OF: Record<CliErrorCode, ExitCode> = {
  CLI_USAGE: EXIT.badFlags,
  CLI_NOT_FOUND: EXIT.badFlags,
  CLI_CONTEXT: EXIT.badConfiguration,
  CLI_DECLINED: EXIT.badFlags,
  CLI_CONFIG: EXIT.badConfiguration,
  CLI_STATE: EXIT.badFlags,
  CLI_BUS: EXIT.dependencyUnreachable,
};

export class CliError extends Error {
  readonly code: CliErrorCode;
  readonly exitCode: ExitCode;
  /** What to do about it; empty when that is plain. */
  readonly remedy: string;
  /** @param options.exitCode where another command has a code for the same case */
  constructor(
    code: CliErrorCode,
    message: string,
    options: ErrorOptions & { remedy?: string; exitCode?: ExitCode } = {},
  ) {
    super(message, options);
    this.name = 'CliError';
    this.code = code;
    this.exitCode = options.exitCode ?? EXIT_OF[code];
    this.remedy = options.remedy ?? '';
  }
}

/** What to do about errors of the libraries, by their code. */
const REMEDIES: Readonly<Record<string, string>> = {
  BUS_UNREACHABLE: 'is nats-server running there? Name another with --nats-url, or see `bailiff doctor`',
  BUS_AUTHENTICATION:
    'the server does not know this user with this password: check --nats-user and --nats-password-file. After a rotation, copy the newest password file or reload the server',
  BUS_PERMISSION: 'connect as a user that has the right: --nats-user and --nats-password-file',
  BUS_NO_STREAM: `is the bus set up for Bailiff? ${SETUP_REMEDY}. See \`bailiff doctor\``,
  BUS_SHRINK: 'leave the flag out to keep what is there, or say --shrink to have it so',
  BUS_TIMEOUT:
    'the bus is connected and does not answer: is it overloaded, or without a leader? When only writes fail, the disk of nats-server is full: see "Disk full" in docs/operations.md',
  BUS_FULL:
    'the stream is at its limit (`bailiff status` says which), or the disk of nats-server is full: make room there, see "Disk full" in docs/operations.md',
  BUS_TOO_LARGE: 'the value is larger than the bus takes (256 KiB)',
  CONFIG_REVISION: 'read it again (`bailiff config get`) and repeat the change',
  CONFIG_KEY:
    'keys look like spoof.cluster._.default, spoof.namespace.shop.default, correlation.cluster._.<rule>, response.cluster._.<policy>, runtime.cluster._.<policy>',
  CONFIG_JSON: '',
  CONFIG_OWNER:
    'change the resource with kubectl, or write with --take-over: then the key is kept here, and the resource is not accepted until `bailiff config release`',
  CONFIG_CONTRADICTION:
    'each field may be so by itself, together they can never be in force: see docs/configuration.md',
  POLICY_FILE: '',
  POLICY_LIMIT: 'fewer rules on one thing, or policies that select fewer pods',
  ENOENT: 'check the path',
  EACCES: 'it may need another user (root?)',
};

const exitCodeFor = (error: unknown): ExitCode => {
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && /^(CONFIG|POLICY)_/.test(code)) return EXIT.badConfiguration;
  if (code === 'ENOENT' || code === 'BUS_SHRINK') return EXIT.badFlags;
  const known = exitCodeOf(error);
  // Whatever else the bus refuses is the bus's doing, not a bug of ours.
  const ofBus = typeof code === 'string' && /^(BUS|QUARANTINE)_/.test(code);
  return known === EXIT.bug && ofBus ? EXIT.dependencyUnreachable : known;
};

export interface Told {
  exitCode: ExitCode;
  /** Lines without a line end. */
  lines: string[];
}

/** What a person is told happened; of a file that is not there not the system call. */
function messageOf(error: unknown): string {
  const { message, code, path, syscall } = error as Partial<NodeJS.ErrnoException>;
  const isFile = code === 'ENOENT' && path !== undefined && !syscall?.startsWith('spawn');
  return isFile ? `${path} does not exist` : String(message ?? error);
}

/** What OpenSSL says of a certificate that is not taken, and what to do. */
const CERTIFICATES: readonly [RegExp, string][] = [
  [
    /certificate has expired/,
    'renew the certificate of nats-server and have it reload: `bailiff credentials rotate`, see docs/bus-credentials.md',
  ],
  [/certificate is not yet valid/, 'is the clock of this machine right? Or that of who made the certificate'],
  [
    /self-signed certificate|unable to (get|verify)/,
    'the certificate of nats-server is not signed by an authority that is known here: pass the ca.crt of the bus with --nats-ca-file',
  ],
];

function remedyOf(error: unknown): string {
  if (error instanceof CliError) return error.remedy;
  const { message, code } = error as { message?: unknown; code?: unknown };
  const found = String(code).startsWith('BUS_') && CERTIFICATES.find(([words]) => words.test(String(message)));
  if (found) return found[1];
  if (error instanceof ConfigError && error.code === 'CONFIG_SCHEMA') return schemaRemedy(error);
  return REMEDIES[String((error as { code?: unknown }).code)] ?? '';
}

/** Words for an error, wrapped to the columns of a terminal; 0 = none. */
export function tell(error: unknown, debug: boolean, width = 0): Told {
  const exitCode = exitCodeFor(error);
  const [first = '', ...more] = messageOf(error).split('\n');
  const lines = [`bailiff: ${clean(first)}`, ...more.map((line) => `  ${clean(line)}`)];
  const remedy = remedyOf(error);
  if (remedy !== '') lines.push(...remedy.split('\n').map((line) => `  ${line}`));
  else if (exitCode === EXIT.bug && !(error instanceof CliError)) {
    lines.push('  this was not expected: run it again with --debug and report what it shows');
  }
  const fitted = lines.flatMap((line, index) => fitLine(line, width, index === 0 ? '  ' : ''));
  if (debug) fitted.push(...stacks(error, (error as Partial<Error>).stack));
  return { exitCode, lines: fitted };
}

/** The stack of an error and of what caused it. */
function stacks(error: unknown, stack: string | undefined): string[] {
  const lines = (stack ?? String(error)).split('\n');
  let { cause } = error as { cause?: unknown };
  for (let depth = 0; depth < 8 && cause instanceof Error; depth += 1) {
    lines.push(...`caused by ${cause.stack ?? cause.message}`.split('\n'));
    ({ cause } = cause as { cause?: unknown });
  }
  return lines;
}

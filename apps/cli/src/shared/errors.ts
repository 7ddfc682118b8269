/**
 * CLI errors, and how every error is reported: what failed, where, what to do. Stacks only with
 * --debug.
 *
 * Errors of all commands reach `describeError` through run.ts, which writes its lines to stderr and
 * returns its exit code.
 */
import { SETUP_REMEDY } from '@bailiff/bus';
import { ConfigError } from '@bailiff/policy';
import { EXIT, type ExitCode, exitCodeOf } from '@bailiff/service';
import { schemaRemedy } from './config-keys/schema-remedy.ts';
import { clean } from './text/clean.ts';
import { fitLine } from './text/fit.ts';

/**
 * CLI_USAGE: the flags or arguments are wrong. CLI_NOT_FOUND: the named object does not exist.
 * CLI_CONTEXT: the context file or the environment is wrong. CLI_DECLINED: the change was not
 * confirmed. CLI_CONFIG: the configuration is refused. CLI_STATE: the object's state does not allow
 * the operation. CLI_BUS: the bus lacks something that the command needs.
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
  /** What to do about it; empty if that is obvious. */
  readonly remedy: string;
  /** @param options.exitCode overrides the code's own exit code */
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

const DISK_REMEDY = 'make room on its disk, or write to another one; the file is not complete';
/** Remedies for errors of the libraries, by code. */
const REMEDIES: Readonly<Record<string, string>> = {
  BUS_UNREACHABLE: 'check that nats-server runs at this address; pass another with --nats-url, or run `bailiff doctor`',
  BUS_AUTHENTICATION:
    'the server rejected this user and password: check --nats-user and --nats-password-file. After a rotation, copy the new password file, or reload the server',
  BUS_PERMISSION: 'connect as a user that has this permission, with --nats-user and --nats-password-file',
  BUS_NO_STREAM: `the bus may not be set up for Bailiff: ${SETUP_REMEDY}. \`bailiff doctor\` checks it`,
  BUS_SHRINK: 'omit the flag to keep the current limit, or pass --shrink to lower it',
  BUS_TIMEOUT:
    'the bus is connected but does not respond: it may be overloaded or have no leader. If only writes fail, the disk of nats-server may be full: see "Disk full" in docs/operations.md',
  BUS_FULL:
    'the stream reached its limit, which `bailiff status` shows, or the disk of nats-server is full: see "Disk full" in docs/operations.md',
  BUS_TOO_LARGE: 'the value exceeds the limit of the bus (256 KiB)',
  KUBE_CONFIG: 'check the kubeconfig with `kubectl config view`; select it with --kubeconfig and --context',
  KUBE_UNREACHABLE: 'check the API server with `kubectl version`; select another cluster with --context',
  KUBE_TIMEOUT: 'check the API server with `kubectl version`, or wait longer with --timeout',
  KUBE_UNAUTHORIZED: 'log in to the cluster again: `kubectl auth whoami` fails too',
  CONFIG_REVISION: 'read the current value (`bailiff config get`) and repeat the change',
  CONFIG_KEY:
    'keys look like spoof.cluster._.default, spoof.namespace.shop.default, correlation.cluster._.<rule>, response.cluster._.<policy>, runtime.cluster._.<policy>',
  CONFIG_JSON: '',
  CONFIG_OWNER:
    'change the resource with kubectl. Or pass --take-over: the CLI then owns the key, and ipam-sync refuses the resource until `bailiff config release`',
  CONFIG_SIGNATURE: 'see "Signed configuration" in docs/configuration.md',
  CONFIG_CONTRADICTION: 'each field is valid, but the combination can never take effect: see docs/configuration.md',
  EVIDENCE_LOG:
    'run one process for the directory of a log, with space on its disk; restore only a backup that is not older than its newest head',
  POLICY_FILE: '',
  POLICY_LIMIT: 'use fewer rules for one path, address or value, or narrow the selectors',
  ENOENT: 'check the path',
  EISDIR: 'pass a file',
  EACCES: 'run the command as a user with access, such as root',
  ENOSPC: DISK_REMEDY,
  EDQUOT: DISK_REMEDY,
};

const exitCodeFor = (error: unknown): ExitCode => {
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && /^(CONFIG|POLICY)_/.test(code)) return EXIT.badConfiguration;
  if (code === 'ENOENT' || code === 'EISDIR' || code === 'BUS_SHRINK' || code === 'EVIDENCE_LOG') return EXIT.badFlags;
  if (code === 'ENOSPC' || code === 'EDQUOT') return EXIT.dependencyUnreachable;
  const known = exitCodeOf(error);
  // Other refusals of the bus and of the API server are not a bug of the CLI.
  const isRefusal = typeof code === 'string' && /^(BUS|KUBE|QUARANTINE)_/.test(code);
  return known === EXIT.bug && isRefusal ? EXIT.dependencyUnreachable : known;
};

export interface ErrorReport {
  exitCode: ExitCode;
  /** Without line ends. */
  lines: string[];
}

/** For a missing file, the path instead of the failed system call. */
function messageOf(error: unknown): string {
  const { message, code, path, syscall } = error as Partial<NodeJS.ErrnoException>;
  const isFile = code === 'ENOENT' && path !== undefined && !syscall?.startsWith('spawn');
  return isFile ? `${path} does not exist` : String(message ?? error);
}

/** OpenSSL's reasons for rejecting a certificate, with remedies. */
const CERTIFICATES: readonly [RegExp, string][] = [
  [
    /certificate has expired/,
    'renew the certificate of nats-server, or of its authority, and reload it: docs/bus-credentials.md#before-the-certificate-ends',
  ],
  [/certificate is not yet valid/, 'check the clock of this machine, and of the machine that issued the certificate'],
  [
    /self-signed certificate|unable to (get|verify)/,
    'this machine does not trust the authority that signed the certificate of nats-server: pass the ca.crt of the bus with --nats-ca-file',
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

/** The lines that report an error. @param width columns to wrap to; 0 = no wrapping */
export function describeError(error: unknown, debug: boolean, width = 0): ErrorReport {
  const exitCode = exitCodeFor(error);
  const [first = '', ...more] = messageOf(error).split('\n');
  const lines = [`bailiff: ${clean(first)}`, ...more.map((line) => `  ${clean(line)}`)];
  const remedy = remedyOf(error);
  if (remedy !== '') lines.push(...remedy.split('\n').map((line) => `  ${line}`));
  else if (exitCode === EXIT.bug && !(error instanceof CliError)) {
    lines.push('  this is a bug: run the command again with --debug and report the output');
  }
  const fitted = lines.flatMap((line, index) => fitLine(line, width, index === 0 ? '  ' : ''));
  if (debug) fitted.push(...stacks(error, (error as Partial<Error>).stack));
  return { exitCode, lines: fitted };
}

/** The stack of an error and of its causes. */
function stacks(error: unknown, stack: string | undefined): string[] {
  const lines = (stack ?? String(error)).split('\n');
  let { cause } = error as { cause?: unknown };
  for (let depth = 0; depth < 8 && cause instanceof Error; depth += 1) {
    lines.push(...`caused by ${cause.stack ?? cause.message}`.split('\n'));
    ({ cause } = cause as { cause?: unknown });
  }
  return lines;
}

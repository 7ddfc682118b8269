/**
 * The `bailiff` program: its commands, and the path from a command line to an exit code.
 *
 * Commands are in groups by what the user does. Each exports `register(program, io)`, is listed in
 * COMMANDS, and imports no other command: what two of them use is in shared/. Errors go to stderr
 * (shared/errors.ts) with what failed, where, and what to do; stacks only with --debug.
 */
import { EXIT } from '@bailiff/service';
import { Command, CommanderError } from 'commander';
import { register as backtest } from './configure/backtest.ts';
import { register as config } from './configure/config/command.ts';
import { register as rules } from './configure/rules/command.ts';
import { register as console } from './console/command.ts';
import { register as evidence } from './investigate/evidence/command.ts';
import { register as explain } from './investigate/explain.ts';
import { register as replay } from './investigate/replay/command.ts';
import { register as timeline } from './investigate/timeline.ts';
import { register as why } from './investigate/why.ts';
import { register as witness } from './investigate/witness/command.ts';
import { register as backup } from './operate/backup/command.ts';
import { register as bus } from './operate/bus/command.ts';
import { register as completion } from './operate/completion.ts';
import { register as credentials } from './operate/credentials/command.ts';
import { register as disarm } from './operate/disarm.ts';
import { register as doctor } from './operate/doctor/command.ts';
import { register as lab } from './operate/lab.ts';
import { register as logs } from './operate/logs.ts';
import { register as quarantine } from './operate/quarantine.ts';
import { register as responder } from './operate/responder.ts';
import { register as schemas } from './operate/schemas.ts';
import { register as supportBundle } from './operate/support-bundle/command.ts';
import { register as version } from './operate/version.ts';
import { register as policy } from './policies/command.ts';
import { describeError } from './shared/errors.ts';
import type { CliIo } from './shared/io.ts';
import { withBusOptions } from './shared/session.ts';
import { fitHelp } from './shared/text/fit.ts';
import { terminalSafe } from './shared/text/terminal.ts';
import { register as events } from './watch/events.ts';
import { register as responses } from './watch/responses.ts';
import { register as status } from './watch/status.ts';
import { register as top } from './watch/top.ts';
import { register as verdicts } from './watch/verdicts.ts';

const COMMANDS: readonly ((program: Command, io: CliIo) => void)[] = [
  status,
  console,
  events,
  verdicts,
  responses,
  top,
  why,
  explain,
  evidence,
  witness,
  config,
  policy,
  timeline,
  replay,
  backtest,
  rules,
  quarantine,
  disarm,
  bus,
  backup,
  responder,
  doctor,
  schemas,
  credentials,
  lab,
  logs,
  supportBundle,
  version,
  completion,
];

/** Exit code that shells use for a program ended by SIGINT. */
const INTERRUPTED = 130;

const HELP_FOOTER = `
Select the bus with the flags above, before or after a command; with
BAILIFF_NATS_URL, BAILIFF_NATS_USER and BAILIFF_NATS_PASSWORD_FILE in the environment;
or in ~/.config/bailiff/context.json ({"natsUrl": …, "natsPasswordFile": …}).
Without any of these, the command uses the only lab that is up on this machine. If several are
up, it uses the lab whose kubeconfig is KUBECONFIG. Without a lab, it uses the Bailiff in the cluster
of the current kubeconfig context, as \`kubectl bailiff\` and --context always do: it reads its login
there with your rights, and reaches the bus through the API server.

Exit codes: 0 success, 1 a bug, 2 wrong usage, 3 a kernel feature is missing,
4 not permitted, 6 bad configuration, 7 a dependency is unreachable.
`;

export function makeProgram(io: CliIo): Command {
  const program = new Command(io.asPlugin ? 'kubectl bailiff' : 'bailiff')
    .description(
      'Enforces in the kernel which network identity a pod may use, and publishes every violation on NATS JetStream.',
    )
    .version(io.version)
    .option('--debug', 'show stack traces of errors')
    .enablePositionalOptions()
    .showHelpAfterError('(see --help)')
    .configureOutput({
      writeOut: (text) => io.stdout.write(fitHelp(text, io.stdout.columns)),
      writeErr: (text) => io.stderr.write(fitHelp(text, io.stderr.columns)),
      getOutHelpWidth: () => io.stdout.columns || 100,
      getErrHelpWidth: () => io.stderr.columns || 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      outputError: (text, write) => write(text.replace(/^error: /, 'bailiff: ')),
    })
    .exitOverride()
    .addHelpText('after', HELP_FOOTER);
  withBusOptions(program);
  for (const register of COMMANDS) register(program, io);
  return program;
}

/** Runs a command line, without `node` and the script. @returns the exit code */
export async function run(argv: readonly string[], outerIo: CliIo): Promise<number> {
  const io = terminalSafe(outerIo);
  const program = makeProgram(io);
  const debug = argv.includes('--debug') || (io.env['BAILIFF_DEBUG'] ?? '') !== '';
  try {
    // --debug is accepted anywhere, except after `lab`, which parses its own arguments.
    const words = argv[0] === 'lab' ? argv : argv.filter((word) => word !== '--debug');
    await program.parseAsync(words, { from: 'user' });
    return io.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badFlags;
    if (isInterruption(error, io)) return INTERRUPTED;
    const { lines, exitCode } = describeError(error, debug, io.stderr.columns);
    io.stderr.write(`${lines.join('\n')}\n`);
    return exitCode;
  }
}

/** After a signal, the session closes the bus (session.ts): what still waits for it fails then. */
const CLOSED_BUS: ReadonlySet<unknown> = new Set(['BUS_CLOSED', 'BUS_UNREACHABLE']);

function isInterruption(error: unknown, { signal }: CliIo): boolean {
  if (!signal.aborted) return false;
  const { name, code } = error as { name?: unknown; code?: unknown };
  return error === signal.reason || name === 'AbortError' || CLOSED_BUS.has(code);
}

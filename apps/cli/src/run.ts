/**
 * `bailiff`: its table of commands, and the way from a command line to an exit code.
 *
 * Each file in commands/ exports `register(program, io)` and is listed here. Whatever a command throws is told on stderr (errors.ts): what,
 * where, what to do, and no stack unless --debug.
 */
import { EXIT } from '@bailiff/service';
import { Command, CommanderError } from 'commander';
import { register as backtest } from './backtest/command.ts';
import { register as bus } from './bus/command.ts';
import { register as config } from './config/command.ts';
import { register as credentials } from './credentials/command.ts';
import { register as disarm } from './disarm/command.ts';
import { register as doctor } from './doctor/command.ts';
import { register as events } from './events/command.ts';
import { register as explain } from './explain/command.ts';
import { register as lab } from './lab/command.ts';
import { register as policy } from './policy/command.ts';
import { register as quarantine } from './quarantine/command.ts';
import { register as replay } from './replay/command.ts';
import { register as responder } from './responder/command.ts';
import { register as responses } from './responses/command.ts';
import { register as schemas } from './schemas/command.ts';
import { tell } from './shared/errors.ts';
import type { CliIo } from './shared/io.ts';
import { withBusOptions } from './shared/session.ts';
import { fitHelp } from './shared/text/fit.ts';
import { terminalSafe } from './shared/text/terminal.ts';
import { register as status } from './status/command.ts';
import { register as timeline } from './timeline/command.ts';
import { register as verdicts } from './verdicts/command.ts';

const COMMANDS: readonly ((program: Command, io: CliIo) => void)[] = [
  status,
  events,
  verdicts,
  responses,
  explain,
  config,
  policy,
  timeline,
  replay,
  backtest,
  quarantine,
  disarm,
  bus,
  responder,
  doctor,
  schemas,
  credentials,
  lab,
];

/** As a shell says that a program ended by SIGINT. */
const INTERRUPTED = 130;

const AFTER = `
The bus is said before or after a command, by these flags; or in the
environment (BAILIFF_NATS_URL, BAILIFF_NATS_USER, BAILIFF_NATS_PASSWORD_FILE);
or in ~/.config/bailiff/context.json ({"natsUrl": …, "natsPasswordFile": …}).
When nothing is said, it is the one lab that is up on this machine, of several the one whose file KUBECONFIG is.

Exit codes: 0 good, 1 a bug, 2 wrong use, 3 the kernel lacks something,
4 not permitted, 6 bad configuration, 7 something cannot be reached.
`;

export function makeProgram(io: CliIo): Command {
  const program = new Command('bailiff')
    .description('Proves in the kernel who a pod is, drops what it sends as another, and puts every breach on a bus.')
    .version(io.version)
    .option('--debug', 'show where errors come from')
    .enablePositionalOptions()
    .showHelpAfterError('(--help shows how it is used)')
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
    .addHelpText('after', AFTER);
  withBusOptions(program);
  for (const register of COMMANDS) register(program, io);
  return program;
}

/** Runs a command line, without node and script. @returns the exit code */
export async function run(argv: readonly string[], world: CliIo): Promise<number> {
  const io = terminalSafe(world);
  const program = makeProgram(io);
  const debug = argv.includes('--debug') || (io.env['BAILIFF_DEBUG'] ?? '') !== '';
  try {
    // It may stand anywhere; the lab's arguments are its own.
    const words = argv[0] === 'lab' ? argv : argv.filter((word) => word !== '--debug');
    await program.parseAsync(words, { from: 'user' });
    return io.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badFlags;
    if (isInterruption(error, io)) return INTERRUPTED;
    const { lines, exitCode } = tell(error, debug, io.stderr.columns);
    io.stderr.write(`${lines.join('\n')}\n`);
    return exitCode;
  }
}

function isInterruption(error: unknown, { signal }: CliIo): boolean {
  return signal.aborted && (error === signal.reason || (error as { name?: unknown }).name === 'AbortError');
}

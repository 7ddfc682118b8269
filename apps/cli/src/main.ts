/** The `bailiff` command: its table of subcommands. Each file in commands/ exports `register(program)` and is listed here. */
import { Command } from 'commander';
import { register as lab } from './commands/lab.ts';

const COMMANDS = [lab];

const program = new Command('bailiff')
  .description('proves in the kernel who a pod is, and puts every breach on a bus')
  .version(process.env['BAILIFF_VERSION'] ?? '0.0.0')
  .enablePositionalOptions()
  .showHelpAfterError();
for (const register of COMMANDS) register(program);

await program.parseAsync(process.argv);

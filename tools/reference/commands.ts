/** docs/reference/commands.md: the help of every command, as printed. */
import type { Command } from 'commander';
import { makeProgram } from '../../apps/cli/src/run.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import { page, section } from './markdown.ts';

const WIDTH = 100;
/** Common flags of every command, shown once. */
const BUS_FLAGS = /\nBus:\n(?: {2}.*\n)+/g;

export interface CommandHelp {
  /** `bailiff config set` */
  name: string;
  description: string;
  help: string;
}

/** The program itself and every command below it, in the order of its help. */
export function everyCommand(): CommandHelp[] {
  const written: string[] = [];
  const { io } = captureCli({ terminal: WIDTH, onStdout: (all) => void written.push(all) });
  const visit = (command: Command, name: string): CommandHelp[] => {
    const before = written.at(-1)?.length ?? 0;
    command.outputHelp();
    const help = (written.at(-1) ?? '')
      .slice(before)
      .replaceAll(/[ \t]+$/gm, '')
      .trim();
    return [
      { name, description: command.description(), help: `${help}\n` },
      ...command.commands.flatMap((one) => visit(one, `${name} ${one.name()}`)),
    ];
  };
  return visit(makeProgram(io), 'bailiff');
}

export function commandsPage(): string {
  const [program, ...commands] = everyCommand();
  const block = (help: string) => `\`\`\`text\n${help.trim()}\n\`\`\``;
  return page(
    'Commands',
    'Each command prints the same with `--help`. The flags that select the bus are the same for all commands and are listed once.',
    [
      section('bailiff', block(program?.help ?? '')),
      ...commands.map(({ name, help }) => section(name, block(help.replaceAll(BUS_FLAGS, '')))),
    ],
  );
}

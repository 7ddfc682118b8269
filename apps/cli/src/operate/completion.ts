/** `bailiff completion`: scripts for shells, which ask this program for candidates. */

import { EVENT_KINDS } from '@bailiff/insight';
import { LEVELS, PACKET_ACTIONS, VECTORS } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import { FORMATS } from '../shared/output.ts';

/** Values of flags that are the same in every command. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  '--output': FORMATS,
  '--level': LEVELS,
  '--vector': VECTORS,
  '--action': PACKET_ACTIONS,
  '--kind': EVENT_KINDS,
  '--since': ['10m', '1h', '1d', '7d', 'all'],
};

/**
 * @param words those after the program's name; the last one is being typed, and may be empty. Of
 *   --flag=value, bash makes three words, and other shells one
 */
export function complete(program: Command, words: readonly string[]): string[] {
  const typed = words.at(-1) ?? '';
  let command = program;
  let awaits: string | null = null;
  for (const word of words.slice(0, -1)) {
    if (awaits !== null && word === '=') continue;
    if (awaits !== null) awaits = null;
    else if (word.startsWith('-')) awaits = flagWithValue(command, word);
    else command = command.commands.find((one) => one.name() === word) ?? command;
  }
  if (awaits !== null) return startingWith(VALUES[awaits] ?? [], typed === '=' ? '' : typed);
  const [, flag, value] = /^(--[\w-]+)=(.*)$/.exec(typed) ?? [];
  if (flag !== undefined && value !== undefined) {
    const values = VALUES[flagWithValue(command, flag) ?? ''] ?? [];
    return startingWith(values, value).map((one) => `${flag}=${one}`);
  }
  if (typed.startsWith('-')) return startingWith(flagsOf(command), typed);
  return startingWith(
    command.commands.map((one) => one.name()).filter((name) => !name.startsWith('__')),
    typed,
  );
}

const startingWith = (candidates: readonly string[], typed: string) =>
  candidates.filter((one) => one.startsWith(typed)).toSorted();

function flagsOf(command: Command): string[] {
  const inherited = command.parent ? flagsOf(command.parent) : ['--help'];
  return [...new Set([...command.options.flatMap(({ long }) => (long ? [long] : [])), ...inherited])];
}

/** The long name of a flag whose value is the next word. */
function flagWithValue(command: Command, word: string): string | null {
  for (let at: Command | null = command; at; at = at.parent) {
    const option = at.options.find(({ long, short }) => long === word || short === word);
    if (option) return option.required || option.optional ? (option.long ?? null) : null;
  }
  return null;
}

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

const BASH = `_bailiff() {
  local IFS=$'\\n'
  # Bash passes --flag=value as three words.
  COMPREPLY=($(bailiff __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _bailiff bailiff
`;

// zsh runs the file at the first completion: the function it defines completes that one too.
const ZSH = `#compdef bailiff
_bailiff() {
  local -a candidates
  candidates=(\${(f)"$(bailiff __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( \${#candidates} )); then compadd -- $candidates; else _files; fi
}
if [[ \${funcstack[1]} == _bailiff ]]; then _bailiff "$@"; else compdef _bailiff bailiff; fi
`;

const FISH = `function __bailiff_complete
  set -l words (commandline -opc) (commandline -ct)
  bailiff __complete -- $words[2..-1] 2>/dev/null
end
complete -c bailiff -a '(__bailiff_complete)'
`;

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

const HELP = `
Examples:
  source <(bailiff completion bash)                                    in ~/.bashrc
  bailiff completion zsh > "\${fpath[1]}/_bailiff"
  bailiff completion fish > ~/.config/fish/completions/bailiff.fish

kubectl completes \`kubectl bailiff\` by the program kubectl_complete-bailiff, which the package installs.
`;

export function register(program: Command, io: CliIo): void {
  program
    .command('completion')
    .description('print the script that completes commands and flags in a shell')
    .argument('<shell>', SHELLS.join(', '))
    .addHelpText('after', HELP)
    .action((shell: string) => io.stdout.write(SCRIPTS[oneOf(shell, SHELLS, 'shell')].replaceAll('\t', '  ')));
  program
    .command('__complete', { hidden: true })
    .description('print candidates for the last word, for the scripts of `completion`')
    .argument('[words...]', 'the words after the name of the program')
    .addHelpText('after', '\nExample:\n  bailiff __complete -- verdicts --lev\n')
    .action((words: string[]) => {
      const candidates = complete(program, words);
      if (candidates.length > 0) io.stdout.write(`${candidates.join('\n')}\n`);
    });
}

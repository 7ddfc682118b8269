/** `bailiff completion`: scripts for shells, which ask this program for candidates (complete.ts). */
import type { Command } from 'commander';
import { oneOf } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { complete } from './complete.ts';

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

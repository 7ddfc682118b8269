/** Candidates for the word at the cursor, from the commands and flags that commander knows. Pure. */

import { EVENT_KINDS } from '@bailiff/insight';
import { LEVELS, PACKET_ACTIONS, VECTORS } from '@bailiff/policy';
import type { Command } from 'commander';
import { FORMATS } from '../../shared/output.ts';

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

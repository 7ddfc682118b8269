/**
 * The commands of docs/tutorial.md as a person types them: `sh` blocks in order, in one shell. A comment before a block says what a test looks for:
 * `<!-- says: text -->` in its output, `<!-- until: text -->` it is run again until its output has it, `<!-- exit: 10 -->` how it ends.
 */
export interface Block {
  /** Line of the page where the commands begin. */
  line: number;
  commands: string;
  says: string[];
  /** Whether it is run again until it says so. */
  repeat: boolean;
  exit: number;
}

/** Pure. @throws Error at a comment that is none of these, or that stands before no block */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  const lines = page.split('\n');
  let wanted = '';
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] as string;
    const comment = /^<!-- (.*) -->$/.exec(line)?.[1];
    if (comment !== undefined) {
      wanted = comment;
      if (lines[at + 1] !== '```sh') throw new Error(`line ${at + 1}: nothing to run follows "${comment}"`);
    } else if (line === '```sh') {
      const end = lines.indexOf('```', at);
      blocks.push({ line: at + 2, commands: lines.slice(at + 1, end).join('\n'), ...expectations(wanted, at) });
      wanted = '';
      at = end;
    }
  }
  return blocks;
}

function expectations(text: string, line: number): Omit<Block, 'line' | 'commands'> {
  const result = { says: [] as string[], repeat: false, exit: 0 };
  for (const part of text.split('; ').filter((one) => one !== '')) {
    const [, word, value = ''] = /^(says|until|also|exit): (.+)$/.exec(part) ?? [];
    if (word === undefined) throw new Error(`line ${line}: "${part}" is not understood`);
    if (word === 'exit') result.exit = Number(value);
    else result.says.push(value);
    if (word === 'until') result.repeat = true;
  }
  return result;
}

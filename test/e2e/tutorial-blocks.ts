/**
 * Reads the commands of docs/tutorial.md: its `sh` blocks in order, for one shell. A comment before
 * a block has the expectation: `<!-- says: text -->` text in its output, `<!-- until: text -->`
 * repeat the block until its output has the text, `<!-- exit: 10 -->` its exit code.
 */
export interface Block {
  /** Line of the page where the commands begin. */
  line: number;
  commands: string;
  says: string[];
  /** True if the block is repeated until its output has the text. */
  repeat: boolean;
  exit: number;
}

/** Pure. @throws Error at an unknown comment, or at a comment that is not followed by a block */
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

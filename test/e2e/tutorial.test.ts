// Runs docs/tutorial.md exactly as written: every command in one shell, on a lab. Only names and
// ports that could collide with another run are replaced.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { CHECKOUT, LABS_DIR } from '@bailiff/lab';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { lab, tracesOf, uniqueId } from './support.ts';
import { type Block, blocksOf } from './tutorial-blocks.ts';

const PAGE = readFileSync(path.join(CHECKOUT, 'docs/tutorial.md'), 'utf8');
const REPEAT_WITHIN_MS = 60_000;

interface Ran {
  exit: number;
  output: string;
}

/**
 * One bash for all blocks: exported variables and background jobs of a block are available to the
 * next one.
 */
class Shell implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = '';
  #count = 0;

  constructor() {
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', '--norc'], { cwd: CHECKOUT, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
  }

  async run(commands: string): Promise<Ran> {
    this.#output = '';
    this.#count += 1;
    const mark = `__end_${this.#count}_`;
    const text = Buffer.from(commands).toString('base64');
    this.#child.stdin?.write(`eval "$(echo ${text} | base64 -d)" </dev/null; printf "\\n${mark}%d\\n" $?\n`);
    const end = new RegExp(`\n${mark}(\\d+)\n`);
    await waitFor(() => end.test(this.#output) || this.#child.exitCode !== null, {
      what: `the end of ${commands}`,
      timeoutMs: 150_000,
      state: () => this.#output,
    });
    return { exit: Number(end.exec(this.#output)?.[1] ?? -1), output: this.#output.replace(end, '') };
  }

  /** With everything that was left in the background. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined && this.#child.exitCode === null) process.kill(-pid, 'SIGKILL');
  }
}

const fulfils = ({ says, exit }: Block, ran: Ran) =>
  ran.exit === exit && says.every((text) => ran.output.includes(text));

async function runBlock(shell: Shell, block: Block, commands: string): Promise<void> {
  let ran = await shell.run(commands);
  if (block.repeat && !fulfils(block, ran)) {
    await waitFor(
      async () => {
        ran = await shell.run(commands);
        return fulfils(block, ran);
      },
      {
        what: `line ${block.line} of the tutorial to say ${block.says.join(', ')}`,
        timeoutMs: REPEAT_WITHIN_MS,
        state: () => ran,
      },
    );
  }
  expect(ran.exit, `line ${block.line} printed ${ran.output}`).toBe(block.exit);
  for (const text of block.says) expect(ran.output, `line ${block.line}`).toContain(text);
}

it('blocks - in order, each with its expectation; an unknown comment is rejected', () => {
  const page = 'a\n```sh\none\n```\n<!-- until: x; exit: 10 -->\n```sh\ntwo\nthree\n```\n```yaml\nno: sh\n```\n';
  expect(blocksOf(page)).toEqual([
    { line: 3, commands: 'one', says: [], repeat: false, exit: 0 },
    { line: 7, commands: 'two\nthree', says: ['x'], repeat: true, exit: 10 },
  ]);
  expect(() => blocksOf('<!-- hopes: x -->\n```sh\n```')).toThrow('not understood');
  expect(() => blocksOf('<!-- says: x -->\ntext')).toThrow('nothing to run');
});

it('tutorial - every command prints what the page shows', { timeout: 600_000 }, async () => {
  const id = uniqueId('tu');
  const directory = temporaryDirectory();
  const port = String(await freePort());
  const conf = path.join(tmpdir(), `${id}-rsyslog.conf`);
  const ours = (text: string) =>
    text
      .replaceAll('--lab try', `--lab ${id}`)
      .replaceAll('/run/bailiff-lab/try', `${LABS_DIR}/${id}`)
      .replaceAll('/tmp/bailiff-try', directory)
      .replaceAll('docs/tutorial/rsyslog.conf', conf)
      .replaceAll('10514', port);
  writeFileSync(conf, ours(readFileSync(path.join(CHECKOUT, 'docs/tutorial/rsyslog.conf'), 'utf8')));
  const blocks = blocksOf(PAGE);
  expect(blocks.length).toBeGreaterThan(15);
  try {
    await using shell = new Shell();
    for (const block of blocks) await runBlock(shell, block, ours(block.commands));
    expect(tracesOf(id)).toEqual([]);
  } finally {
    if (tracesOf(id).length > 0) await lab('down', '--lab', id);
    rmSync(conf, { force: true });
  }
});

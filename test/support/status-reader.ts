/**
 * Client of status-child.ts: runs `collector status` in a node's network namespace as often as a
 * test needs it.
 */

import { type LineProcess, labtoolArgs, startLines, stopLines } from '@bailiff/lab/node';
import { nodeArgs } from '../../tools/children.ts';

const END = /^@exit (.*)$/;

export class StatusReader {
  readonly #process: LineProcess;
  #lines: string[] = [];
  #asked: { resolve: (text: string) => void; reject: (error: Error) => void } | null = null;
  #before: Promise<unknown> = Promise.resolve();

  private constructor(child: LineProcess) {
    this.#process = child;
  }

  static async start(labtool: string, netns: string): Promise<StatusReader> {
    const command = [process.execPath, ...nodeArgs('test/support/status-child.ts')];
    const child = await startLines(labtool, labtoolArgs({ netns }, ['run', '--', ...command]), {
      onLine: (line) => reader.#take(line),
    });
    const reader = new StatusReader(child);
    return reader;
  }

  #take(line: string): void {
    const exit = END.exec(line)?.[1];
    if (exit === undefined) {
      this.#lines.push(line);
      return;
    }
    const text = this.#lines.splice(0).join('\n');
    if (exit === '0') this.#asked?.resolve(text);
    else this.#asked?.reject(new Error(`collector status ended with ${exit}: ${this.#process.stderrTail()}`));
  }

  /** Output of the command. @throws Error if its exit code is not 0 */
  async status(args: readonly string[]): Promise<string> {
    const answer = this.#before.then(
      () =>
        new Promise<string>((resolve, reject) => {
          this.#asked = { resolve, reject };
          this.#process.ended.then((how) => reject(new Error(`it ended: ${how}: ${this.#process.stderrTail()}`)));
          this.#process.child.stdin?.write(`${JSON.stringify(args)}\n`);
        }),
    );
    this.#before = answer.catch(() => undefined);
    return answer;
  }

  close(): Promise<void> {
    return stopLines(this.#process, 'SIGKILL', 1_000);
  }
}

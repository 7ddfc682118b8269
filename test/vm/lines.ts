/** The lines in which line-reporter.ts tells the host of each test, and how they are read back. */

export const LINE_MARK = '@bailiff-test ';

export interface TestLine {
  readonly file: string;
  /** Suites and name, as vitest joins them. */
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped. */
  readonly note: string;
  readonly errors: readonly string[];
  readonly durationMs: number;
}

/** Every test told of in the output, in order. A line cut off by the end of the machine is left out. */
export function readLines(output: string): TestLine[] {
  const lines: TestLine[] = [];
  for (const line of output.split('\n')) {
    if (!line.startsWith(LINE_MARK)) continue;
    try {
      lines.push(JSON.parse(line.slice(LINE_MARK.length)) as TestLine);
    } catch {
      // Cut off: the caller sees that the machine ended early.
    }
  }
  return lines;
}

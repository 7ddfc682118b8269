/** The lines that runner.ts prints for each test, and their parser. */

export const LINE_MARK = '@bailiff-test ';

export interface TestLine {
  readonly file: string;
  /** Suites and name, as vitest joins them. */
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** The skip reason, or what a test that passed says of its run. */
  readonly note: string;
  readonly errors: readonly string[];
  readonly durationMs: number;
}

/**
 * Every test reported in the output, in order. Leaves out a line that the end of the machine cut
 * off.
 */
export function readLines(output: string): TestLine[] {
  const lines: TestLine[] = [];
  for (const line of output.split('\n')) {
    if (!line.startsWith(LINE_MARK)) continue;
    try {
      lines.push(JSON.parse(line.slice(LINE_MARK.length)) as TestLine);
    } catch {
      // Cut off: the caller reports that the machine ended early.
    }
  }
  return lines;
}

/**
 * Cases: tests that users write for their rules and policies, as YAML files. Reads and checks them, and
 * reports the results as text, JSON and JUnit.
 */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import * as z from 'zod';
import { CliError } from './errors.ts';
import { filesOf, readDocument } from './files.ts';
import type { CliIo } from './io.ts';
import { Out } from './session.ts';
import { clean } from './text/clean.ts';

/** Additional exit code: a case failed. */
const CASES_FAILED = 10;

/** Fields of every case. */
export const caseName = z.string().min(1).max(256);

export interface CaseResult {
  file: string;
  name: string;
  /** One sentence each; empty: passed. */
  failures: string[];
}

/** @throws CliError CLI_CONFIG with all errors as `file: field: message`; CLI_USAGE; ENOENT, EACCES */
export async function readCases<T>(
  given: readonly string[],
  io: Pick<CliIo, 'readStdin'>,
  schema: z.ZodType<T>,
): Promise<{ file: string; cases: T }[]> {
  const files = [...new Set((await Promise.all(given.map((one) => filesOf(one, 'case')))).flat())];
  const errors: string[] = [];
  const read: { file: string; cases: T }[] = [];
  for (const file of files) {
    const result = schema.safeParse(await readDocument(file, io));
    if (result.success) read.push({ file, cases: result.data });
    else errors.push(...result.error.issues.map((issue) => `${file}: ${issue.path.join('.')}: ${issue.message}`));
  }
  if (errors.length > 0) throw new CliError('CLI_CONFIG', `not cases\n${errors.join('\n')}`);
  return read;
}

/** XML 1.0 may not contain control characters, escaped neither. */
const xml = (text: string) =>
  clean(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** One `<testsuite>` per file, in JUnit's form. */
export function junit(results: readonly CaseResult[]): string {
  const files = [...new Set(results.map(({ file }) => file))];
  const failed = (all: readonly CaseResult[]) => all.filter(({ failures }) => failures.length > 0).length;
  const testcase = ({ file, name, failures }: CaseResult) => {
    const head = `    <testcase classname="${xml(file)}" name="${xml(name)}"`;
    return failures.length === 0 ? `${head}/>` : `${head}><failure message="${xml(failures.join('; '))}"/></testcase>`;
  };
  const lines = files.flatMap((file) => {
    const all = results.filter((result) => result.file === file);
    const head = `  <testsuite name="${xml(file)}" tests="${all.length}" failures="${failed(all)}">`;
    return [head, ...all.map(testcase), '  </testsuite>'];
  });
  const counts = `tests="${results.length}" failures="${failed(results)}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ${counts}>\n${lines.join('\n')}\n</testsuites>\n`;
}

/** Adds the command `test`, which runs cases of files. @param run loads its implementation on use */
export function registerCases(
  parent: Command,
  io: CliIo,
  {
    description,
    examples,
    run,
  }: { description: string; examples: string; run(files: string[]): Promise<CaseResult[]> },
): void {
  parent
    .command('test')
    .description(description)
    .argument('<file...>', 'YAML files with cases, or folders of such files')
    .option('--junit <file>', 'write the results in JUnit form')
    .option('--json', 'one JSON document')
    .addHelpText('after', `${examples}\nAdditional exit code: ${CASES_FAILED} a case failed.\n`)
    .action(async (files: string[], options: { junit?: string; json?: boolean }) => {
      io.exitCode = await reportCases(new Out(io), await run(files), options);
    });
}

/** @returns the exit code */
async function reportCases(
  out: Out,
  results: readonly CaseResult[],
  options: { junit?: string; json?: boolean },
): Promise<number> {
  const failed = results.filter(({ failures }) => failures.length > 0);
  if (options.junit !== undefined) await writeFile(options.junit, junit(results));
  if (options.json) out.json({ cases: results.length, failed: failed.length, results });
  else {
    for (const { file, name, failures } of failed) {
      out.line(`${out.paint('FAIL', 'red')}  ${file}: ${name}`);
      for (const failure of failures) out.line(`      ${failure}`);
    }
    out.line(`${results.length - failed.length} of ${results.length} cases passed`);
  }
  return failed.length > 0 ? CASES_FAILED : 0;
}

/**
 * Result of a test run: its closing line, and the files to retry. Pure; used by closing-reporter.ts
 * and run-tests.ts.
 *
 * In CI a skip fails the run unless its reason starts with `optional:`, because a tier that did not
 * run is not a pass. An uncaught error counts as a failure: the tests beside it may have passed by
 * chance.
 */

export interface FileReport {
  /** Tier, or '' for a configuration without projects. */
  readonly project: string;
  /** Relative to the workspace. */
  readonly file: string;
  readonly passed: number;
  /** Each failed test, and errors of loading the file. */
  readonly failures: readonly { readonly test: string; readonly message: string }[];
  readonly skipped: readonly { readonly test: string; readonly reason: string }[];
}

export interface RunReport {
  readonly files: readonly FileReport[];
  /** Uncaught errors. */
  readonly uncaught: readonly string[];
}

/** The tier without retries: its tests depend only on their inputs. */
const UNIT = 'unit';
/** More failed files have a systematic cause. */
const MAX_SECOND_TRIES = 5;

/**
 * The printed end of a run (closing line last) and its result. @param ci true if a skip needs
 * `optional:`
 */
export function closing({ files, uncaught }: RunReport, ci: boolean): { lines: string[]; failed: boolean } {
  const skipped = files.flatMap((file) => file.skipped.map((skip) => ({ ...skip, file: file.file })));
  const lines = skipped.map(({ file, test, reason }) => `skipped: ${file} > ${test}: ${reason || 'NO REASON GIVEN'}`);
  const required = skipped.filter(({ reason }) => (ci ? !reason.startsWith('optional:') : reason === ''));
  if (ci && required.length > 0) lines.push(`in CI a tier that should run may not be skipped: ${required.length} did`);
  const named = files.flatMap(({ failures, ...where }) =>
    failures.map((failure) => `failed: ${described(where, failure)}`),
  );
  lines.push(...named);
  lines.push(...uncaught.map((error) => `not caught by any test: ${error}`));
  const sum = (of: (file: FileReport) => number) => files.reduce((total, file) => total + of(file), 0);
  const failed = sum(({ failures }) => failures.length) + required.length + uncaught.length;
  lines.push(`${sum(({ passed }) => passed)} passed, ${failed} failed, ${skipped.length} skipped`);
  return { lines, failed: failed > 0 };
}

/**
 * Files to retry alone: only if few failed, all in tiers that start servers or touch the kernel.
 * Otherwise the run fails regardless of a retry.
 */
export function secondTries({ files, uncaught }: RunReport): FileReport[] {
  const failed = files.filter(({ failures }) => failures.length > 0);
  const isHopeless = uncaught.length > 0 || failed.some(({ project }) => project === UNIT);
  return isHopeless || failed.length > MAX_SECOND_TRIES ? [] : failed;
}

const described = (
  { project, file }: Pick<FileReport, 'project' | 'file'>,
  { test, message }: FileReport['failures'][number],
) => `${[project, file, test].filter(Boolean).join(' > ')}: ${message}`;

const isSame = (a: FileReport, b: FileReport) => a.project === b.project && a.file === b.file;

/**
 * The run with the retried files replaced, and a line for each test that failed only the first
 * time. A retry without a report changes nothing.
 */
export function withSecondTry(
  run: RunReport,
  first: FileReport,
  second: RunReport | null,
): RunReport & { flaky: string[] } {
  const again = second?.files.find((file) => isSame(file, first));
  if (!second || !again) return { ...run, flaky: [] };
  const stillFails = new Set(again.failures.map(({ test }) => test));
  const flaky = first.failures
    .filter(({ test }) => !stillFails.has(test))
    .map((failure) => `flaky: ${described(first, failure)}`);
  const files = run.files.map((file) => (isSame(file, first) ? again : file));
  return { files, uncaught: [...run.uncaught, ...second.uncaught], flaky };
}

/**
 * What a test run came to: its closing line, and which of its files deserve a second try. Pure; closing-reporter.ts and run-tests.ts are around it.
 *
 * A skip fails a run in CI unless its reason begins with `optional:`, because a tier that should have run and did not is not a pass. An error
 * that no test caught counts as a failure: the tests beside it may have passed by luck.
 */

export interface FileReport {
  /** Tier, or '' where the configuration has no projects. */
  readonly project: string;
  /** Relative to the workspace. */
  readonly file: string;
  readonly passed: number;
  /** Each failed test, and what kept the file from being loaded. */
  readonly failures: readonly { readonly test: string; readonly message: string }[];
  readonly skipped: readonly { readonly test: string; readonly reason: string }[];
}

export interface RunReport {
  readonly files: readonly FileReport[];
  /** Errors that no test caught. */
  readonly uncaught: readonly string[];
}

/** The tier whose tests may not fail now and then: they depend on nothing but their inputs. */
const UNIT = 'unit';
/** More files than that fail for a reason. */
const MAX_SECOND_TRIES = 3;

/** What is printed at the end, the closing line last, and whether the run failed. @param ci whether a skip needs `optional:` */
export function closing({ files, uncaught }: RunReport, ci: boolean): { lines: string[]; failed: boolean } {
  const skipped = files.flatMap((file) => file.skipped.map((skip) => ({ ...skip, file: file.file })));
  const lines = skipped.map(({ file, test, reason }) => `skipped: ${file} > ${test}: ${reason || 'NO REASON GIVEN'}`);
  const required = skipped.filter(({ reason }) => (ci ? !reason.startsWith('optional:') : reason === ''));
  if (ci && required.length > 0) lines.push(`in CI a tier that should run may not be skipped: ${required.length} did`);
  lines.push(...uncaught.map((error) => `not caught by any test: ${error}`));
  const sum = (of: (file: FileReport) => number) => files.reduce((total, file) => total + of(file), 0);
  const failed = sum(({ failures }) => failures.length) + required.length + uncaught.length;
  lines.push(`${sum(({ passed }) => passed)} passed, ${failed} failed, ${skipped.length} skipped`);
  return { lines, failed: failed > 0 };
}

/**
 * Files that are run once more, alone: few failed, all of tiers that start servers or touch the kernel. Where something else failed too, the run has
 * failed whatever they come to.
 */
export function secondTries({ files, uncaught }: RunReport): FileReport[] {
  const failed = files.filter(({ failures }) => failures.length > 0);
  const isHopeless = uncaught.length > 0 || failed.some(({ project }) => project === UNIT);
  return isHopeless || failed.length > MAX_SECOND_TRIES ? [] : failed;
}

const isSame = (a: FileReport, b: FileReport) => a.project === b.project && a.file === b.file;

/** The run with the second try in place of the first, and a line for each test that failed only then. A try without a report changes nothing. */
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
    .map(({ test, message }) => `flaky: ${[first.project, first.file, test].filter(Boolean).join(' > ')}: ${message}`);
  const files = run.files.map((file) => (isSame(file, first) ? again : file));
  return { files, uncaught: [...run.uncaught, ...second.uncaught], flaky };
}

/** An example of the documentation as a process of Node, unchanged. */
import path from 'node:path';
import { launch, type RunningProcess } from '../support/process.ts';

const DOCS = path.resolve(import.meta.dirname, '../../docs');

/** @param file below docs/ */
export function startExample(
  file: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): RunningProcess {
  return launch(process.execPath, [path.join(DOCS, file), ...args], { env: { ...process.env, ...env } });
}

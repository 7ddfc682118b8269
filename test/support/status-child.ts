/**
 * Runs `collector status` once for each line of stdin, the words of a line being its arguments as JSON, and ends what it prints with a line
 * `@exit <code>`: a test looks again and again while it waits, and a process for each look costs more than what is looked at.
 */
import { createInterface } from 'node:readline';
import { statusCommand } from '../../apps/collector/src/offline/status-command.ts';

for await (const line of createInterface({ input: process.stdin })) {
  let exit: number | string;
  try {
    exit = statusCommand(JSON.parse(line));
  } catch (error) {
    process.stderr.write(`${(error as Error).stack}\n`);
    exit = 'by an exception';
  }
  process.stdout.write(`@exit ${exit}\n`);
}

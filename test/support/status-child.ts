/**
 * Runs `collector status` once for each line of stdin. A line holds the arguments as JSON; the
 * output ends with a line `@exit <code>`. Tests poll the status often, and a process for each poll
 * would cost more than the command.
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

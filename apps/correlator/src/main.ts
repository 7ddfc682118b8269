/** Entry point of the correlator: VIOLATIONS → VERDICTS. */
import { runService } from '@bailiff/service';
import { configSchema } from './config.ts';
import { start } from './correlator.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'correlator',
    argv,
    schema: configSchema,
    description: 'Evaluates correlation rules over sliding windows of violations and publishes verdicts.',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

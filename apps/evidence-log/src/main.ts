/** Entry point of the evidence-log: VIOLATIONS, VERDICTS, RESPONSES, CONFIG_LOG → a log of hashes on a volume. */
import { runService } from '@bailiff/service';
import { configSchema } from './config.ts';
import { start } from './evidence-log.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'evidence-log',
    argv,
    schema: configSchema,
    description: 'hashes the messages of four streams into a log, and signs its heads',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

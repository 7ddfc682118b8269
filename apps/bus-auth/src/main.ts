/** Entry point of bus-auth. */
import { runService } from '@bailiff/service';
import { start } from './bus-auth.ts';
import { configSchema } from './config.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'bus-auth',
    argv,
    schema: configSchema,
    description: 'lets collectors onto the bus by their ServiceAccount token, each to its own node alone',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

/** Entry point of bus-auth. */
import { runService } from '@bailiff/service';
import { start } from './bus-auth.ts';
import { configSchema } from './config.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'bus-auth',
    argv,
    schema: configSchema,
    description: 'authenticates collectors on the bus by their ServiceAccount token, each for its own node only',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

/** Entry point of ipam-sync. */
import { runService } from '@bailiff/service';
import { configSchema } from './config.ts';
import { start } from './start.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'ipam-sync',
    argv,
    schema: configSchema,
    description: 'publishes the identities of all pods, by node, on the bus',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

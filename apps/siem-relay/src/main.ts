/**
 * Entry point of the siem-relay: VIOLATIONS, VERDICTS, RESPONSES → SIEM, and from there to syslog.
 */
import { runService } from '@bailiff/service';
import { configSchema } from './config.ts';
import { start } from './siem-relay.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'siem-relay',
    argv,
    schema: configSchema,
    description: 'converts violations, verdicts and responses to events in SIEM formats',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

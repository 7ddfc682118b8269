/** Entry point of the siem-relay: VIOLATIONS, VERDICTS, RESPONSES → SIEM, and from there to syslog. */
import { runService } from '@bailiff/service';
import { configSchema } from './config.ts';
import { start } from './siem-relay.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'siem-relay',
    argv,
    schema: configSchema,
    description: 'turns violations, verdicts and responses into events that a SIEM reads as they are',
    start,
  });
}

process.exitCode = await run(process.argv.slice(2));

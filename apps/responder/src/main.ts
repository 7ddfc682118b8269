/** Entry point of the responder: VERDICTS → guards → Kubernetes → RESPONSES. */
import { runService } from '@bailiff/service';
import { responderSchema } from './config.ts';
import { startResponder } from './responder.ts';

export function run(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'responder',
    argv,
    schema: responderSchema,
    description:
      'Runs the actions of response policies for verdicts against Kubernetes, subject to guards, and records every response.',
    start: (ctx) => startResponder(ctx),
  });
}

process.exitCode = await run(process.argv.slice(2));

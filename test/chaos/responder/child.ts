// A responder in a separate process that kills itself by SIGKILL at a given step. The kill uses the
// responder's step hook; the responder itself has no code for it.
import { runService } from '@bailiff/service';
import { responderSchema } from '../../../apps/responder/src/config.ts';
import { startResponder } from '../../../apps/responder/src/responder.ts';

// The test holds the other end: when it is gone, however it ended, so is this process.
process.stdin.on('close', () => process.kill(process.pid, 'SIGKILL')).resume();

const [killStep, killAction = ''] = (process.env['KILL_AT'] ?? '').split('/');

process.exitCode = await runService({
  name: 'responder',
  argv: process.argv.slice(2),
  schema: responderSchema,
  start: (ctx) =>
    startResponder(ctx, {
      step: (step, { action }) => {
        if (step === killStep && (killAction === '' || killAction === action)) process.kill(process.pid, 'SIGKILL');
      },
    }),
});

// A responder in a process of its own that can be told to die by SIGKILL at one of its steps. The kill is injected here, by the hook
// that the responder offers; the responder itself knows nothing of it.
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

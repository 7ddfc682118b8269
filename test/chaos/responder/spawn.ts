import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../tools/children.ts';
import { HASTY, type Rig } from '../../cluster/responder/rig.ts';
import { launch, type RunningProcess } from '../../support/process.ts';

/**
 * Starts a responder in a separate process; resolves when it is ready or already dead. `killAt` is
 * `<step>/<action>`.
 */
export async function startVictim(
  rig: Rig,
  killAt = '',
  more: Parameters<Rig['argv']>[0] = {},
): Promise<RunningProcess> {
  const victim = launch(
    process.execPath,
    [...nodeArgs('test/chaos/responder/child.ts'), ...rig.argv({ ...HASTY, ...more })],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, KILL_AT: killAt } },
  );
  // The kill may come before it is ready.
  const { child } = victim;
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await waitFor(() => hasEnded() || victim.lines().some(({ msg }) => msg === 'ready'), {
    what: 'the responder to be ready or dead',
    state: victim.out,
  });
  return victim;
}

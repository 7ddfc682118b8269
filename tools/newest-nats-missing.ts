// Replaces the projects `*-newest` without a newest nats-server: a skip that fails in CI.
import { it } from 'vitest';

it('tests on the newest nats-server', (context) => {
  context.skip('scripts/setup could not fetch the nats-server of the newest suite');
});

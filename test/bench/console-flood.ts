/**
 * Publishes frames as fast as the bus stores them, as a process of its own: what else is published waits
 * behind none of them. Ends with the message `stop`, and sends the number of violations.
 */
import { connectBus, FramePublisher, violationSubject } from '@bailiff/bus';
import { encodeViolationFrame } from '@bailiff/schemas';
import { pause } from '@bailiff/service/retry';
import { framesOf, makeNodes } from './correlator-throughput.ts';

const [natsUrl = '', pods, podsPerNode] = process.argv.slice(2);
const MAX_IN_FLIGHT = 512;

let isOver = false;
process.once('message', () => {
  isOver = true;
});
const credentials = { user: 'admin', password: 'password-of-admin' };
const bus = await connectBus({ servers: natsUrl, name: 'flood', ...credentials });
const publisher = new FramePublisher(bus, { maxInFlight: MAX_IN_FLIGHT });
// The last node has the pod that is looked for.
const nodes = makeNodes(Number(pods), Number(podsPerNode)).slice(0, -1);
let sent = 0;
for (const frame of framesOf(nodes, Number.POSITIVE_INFINITY)) {
  if (isOver) break;
  // Also when there is always room, the message has its turn.
  if (publisher.capacity === 0) await publisher.whenCapacity();
  if (frame.frameSequence % 64 === 0) await pause(0);
  sent += frame.violations.length;
  const msgId = `flood-${sent}`;
  void publisher.publish(violationSubject(frame.nodeName, 'spoof'), encodeViolationFrame(frame), { msgId });
}
await publisher.whenFlushed();
process.send?.(sent, () => process.exit(0));

/**
 * Reference for the correlator's throughput: reads VIOLATIONS from its start with the same reader, decodes
 * every frame and sums its packets. A process with the correlator's identity; prints one JSON line.
 */
import { connectBus, consumeOrdered, lastSequence } from '@bailiff/bus';
import { decodeViolationFrame } from '@bailiff/schemas';

const [natsUrl, passwordFile] = process.argv.slice(2) as [string, string];
const bus = await connectBus({ servers: natsUrl, user: 'correlator', passwordFile, name: 'bare consumer' });
const last = await lastSequence(bus, 'VIOLATIONS');
const end = new AbortController();
let violations = 0;
let packets = 0;
const began = performance.now();
await consumeOrdered(bus, 'VIOLATIONS', {
  start: 'all',
  onMessage: (message) => {
    const frame = decodeViolationFrame(message.data);
    violations += frame.violations.length;
    for (const violation of frame.violations) packets += violation.count + violation.suppressed;
    if (message.sequence >= last) end.abort();
  },
  signal: end.signal,
});
const seconds = (performance.now() - began) / 1000;
process.stdout.write(`${JSON.stringify({ violations, packets, seconds })}\n`);
await bus.close();

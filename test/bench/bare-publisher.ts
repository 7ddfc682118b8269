/**
 * The floor of the collector's throughput: encodes a collector's frames repeatedly and publishes them with
 * acknowledgement, with the same publisher, limits and pace, and does nothing else. Runs in the node's namespace,
 * so that both use the same relay to the bus. Lines on stdin: `go`, `halt`.
 */
import { readFileSync } from 'node:fs';
import {
  cloudEventHeaders,
  connectBus,
  FRAME_BYTES_PER_SECOND,
  FRAMES_PER_SECOND,
  FramePublisher,
  Pace,
  violationSubject,
} from '@bailiff/bus';
import { decodeViolationFrame, encodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';

const [natsUrl, user, passwordFile, framesFile, maxInFlight] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const bus = await connectBus({ servers: natsUrl, user, passwordFile, name: 'bare publisher' });
const publisher = new FramePublisher(bus, { maxInFlight: Number(maxInFlight) });
const frames = splitFrames(readFileSync(framesFile)).map((bytes) => decodeViolationFrame(bytes));
const nodeName = frames[0]?.nodeName as string;
const subject = violationSubject(nodeName, 'spoof');
/** The format of collector-throughput.ts: 32-bit length, then the bytes. */
function splitFrames(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at))
    parts.push(bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at)));
  return parts;
}

const pace = new Pace(FRAMES_PER_SECOND, () => performance.now());
const bytesPace = new Pace(FRAME_BYTES_PER_SECOND, () => performance.now());
const waitMs = () => Math.max(pace.waitMs, bytesPace.waitMs);
let going = false;
let sequence = 0;

async function publish(): Promise<void> {
  while (going) {
    while (going && publisher.capacity > 0 && waitMs() === 0) {
      sequence += 1;
      const id = `bare-${process.pid}-${sequence}`;
      const timeMicros = Date.now() * 1000;
      const frame = frames[sequence % frames.length] as ViolationFrame;
      const payload = encodeViolationFrame({ ...frame, frameSequence: sequence, publishedAt: timeMicros });
      const source = `/nodes/${nodeName}`;
      const headers = cloudEventHeaders({ id, type: 'dev.bailiff.violation-frame.v1', source, timeMicros });
      pace.take();
      bytesPace.take(payload.length);
      void publisher.publish(subject, payload, { msgId: id, headers });
    }
    await publisher.whenCapacity();
    await new Promise((resolve) => setTimeout(resolve, waitMs()));
  }
  await publisher.whenFlushed();
  process.stdout.write(`${JSON.stringify({ published: sequence })}\n`);
}

process.stdin.setEncoding('utf8').on('data', (text: string) => {
  if (text.includes('go')) {
    going = true;
    void publish();
  }
  if (text.includes('halt')) going = false;
});
process.stdin.on('end', () => process.exit(0));
process.stdout.write('{"ready":true}\n');

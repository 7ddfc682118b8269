// Prints the messages of a subject, one per line, until Ctrl-C:
// node docs/tutorial/listen.mjs 'bailiff.v1.replay.try.>'
import { connectAs } from './connect.mjs';

const subject = process.argv[2];
const nats = await connectAs('reader');
process.on('SIGTERM', () => nats.close()).on('SIGINT', () => nats.close());
const messages = nats.subscribe(subject);
await nats.flush();
console.log(`listening on ${subject}`);
for await (const { subject, headers, data } of messages) {
  console.log(headers?.get('Bailiff-Replay-Time') ?? '', subject, `${data.length} bytes`);
}

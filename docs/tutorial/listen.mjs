// Prints what comes on a subject, a line a message, until Ctrl-C: node docs/tutorial/listen.mjs 'bailiff.v1.replay.try.>'
import { readFileSync } from 'node:fs';
import { connect } from '@nats-io/transport-node';

const { NATS_URL, NATS_USER = 'reader', NATS_PASSWORD_FILE } = process.env;
const subject = process.argv[2];
const pass = readFileSync(NATS_PASSWORD_FILE, 'utf8').trim();
const nats = await connect({ servers: NATS_URL, user: NATS_USER, pass, inboxPrefix: `_INBOX_${NATS_USER}` });
process.on('SIGTERM', () => nats.close()).on('SIGINT', () => nats.close());
const messages = nats.subscribe(subject);
await nats.flush();
console.log(`listening on ${subject}`);
for await (const { subject, headers, data } of messages) {
  console.log(headers?.get('Bailiff-Replay-Time') ?? '', subject, `${data.length} bytes`);
}

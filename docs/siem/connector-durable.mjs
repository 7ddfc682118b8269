// A connector that may be away: it reads the durable consumer of its format, and what it did not acknowledge comes again.
import { readFileSync } from 'node:fs';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const { NATS_URL, NATS_USER = 'siem-reader', NATS_PASSWORD_FILE } = process.env;
const pass = readFileSync(NATS_PASSWORD_FILE, 'utf8').trim();
const nats = await connect({ servers: NATS_URL, user: NATS_USER, pass, inboxPrefix: `_INBOX_${NATS_USER}` });
const consumer = await jetstream(nats, { checkAPI: false }).consumers.get('SIEM', 'siem-ocsf');

for await (const message of await consumer.consume()) {
  const event = message.json();
  console.log(event.severity, event.class_name, event.metadata.uid, event.message);
  message.ack(); // after it is stored where it goes; its uid is the same when it comes twice
}

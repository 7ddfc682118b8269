// A whole connector: one subject, one credential, JSON. `npm install @nats-io/transport-node`, or any other client of NATS.
import { readFileSync } from 'node:fs';
import { connect } from '@nats-io/transport-node';

const { NATS_URL, NATS_USER = 'siem-reader', NATS_PASSWORD_FILE } = process.env;
const pass = readFileSync(NATS_PASSWORD_FILE, 'utf8').trim();
const nats = await connect({ servers: NATS_URL, user: NATS_USER, pass });

for await (const message of nats.subscribe('bailiff.v1.siem.ocsf.>')) {
  const event = message.json();
  console.log(event.severity, event.class_name, event.metadata.uid, event.message);
}

// A connector that may be away: it reads the durable consumer of its format. Events that it did not acknowledge are delivered again.
// Connectors are in an account of their own, which reaches JetStream under the API prefix BUS.
import { jetstream } from '@nats-io/jetstream';
import { connectAs } from './connect.mjs';

const nats = await connectAs('siem-reader');
const consumer = await jetstream(nats, { apiPrefix: 'BUS', checkAPI: false }).consumers.get('SIEM', 'siem-ocsf');

for await (const message of await consumer.consume()) {
  const event = message.json();
  console.log(event.severity, event.class_name, event.metadata.uid, event.message);
  message.ack(); // after it is stored where it goes; its uid is the same when it comes twice
}

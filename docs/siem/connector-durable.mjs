// A connector that misses no events while it is down: it reads the durable consumer of its format.
// Unacknowledged events are redelivered. Connectors have their own account, which reaches JetStream
// under the API prefix BUS.
import { jetstream } from '@nats-io/jetstream';
import { connectAs } from './connect.mjs';

const nats = await connectAs('siem-reader');
const consumer = await jetstream(nats, { apiPrefix: 'BUS', checkAPI: false }).consumers.get('SIEM', 'siem-ocsf');

for await (const message of await consumer.consume()) {
  const event = message.json();
  console.log(event.severity, event.class_name, event.metadata.uid, event.message.replaceAll(/\p{C}/gu, '?'));
  message.ack(); // after the SIEM stored it; a redelivered event has the same uid
}

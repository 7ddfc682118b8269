// A complete connector: `npm install @nats-io/transport-node`, or use any other NATS client.
import { connectAs } from './connect.mjs';

const nats = await connectAs('siem-reader');

for await (const message of nats.subscribe('bailiff.v1.siem.ocsf.>')) {
  const event = message.json();
  console.log(event.severity, event.class_name, event.metadata.uid, event.message.replaceAll(/\p{C}/gu, '?'));
}

// A complete connector: `npm install bailiff-connector-<version>.tgz`, or use any NATS client.
import { connect } from '@bailiff/connector';

const bailiff = await connect();

for await (const { data: event } of bailiff.events('ocsf')) {
  console.log(event.severity, event.class_name, event.metadata.uid, event.message.replaceAll(/\p{C}/gu, '?'));
}

// A connector that misses no events while it is down: it reads the durable consumer of its format.
// An event is acknowledged when the function has ended; after an error it comes again, with the same uid.
import { connect } from '@bailiff/connector';

const bailiff = await connect();

await bailiff.consume('ocsf', async ({ data: event }) => {
  // Here the SIEM stores it.
  console.log(event.severity, event.class_name, event.metadata.uid, event.message.replaceAll(/\p{C}/gu, '?'));
});

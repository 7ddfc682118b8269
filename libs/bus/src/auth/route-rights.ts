/**
 * What no message between the servers of a cluster may name as the destination of its trace.
 *
 * nats-server from 2.11 on publishes a trace of a message to the subject in its header
 * `Nats-Trace-Dest`. It checks the rights of a client that sends the header, but not those of a
 * client that hides it: an import rewrites the headers of a request, and the next server then finds
 * one that the first did not. That server has only the rights of the route.
 *
 * A route has one list for two purposes: such destinations, and the subscriptions that servers tell
 * each other. So the list cannot contain a subject that a server subscribes to, such as
 * `bailiff.v1.verdicts.>`. `bailiff.v1.verdicts.*.>` does not match that text, and matches every
 * subject of a verdict. docs/threat-model.md names what stays open.
 */

import { ROOT } from '../topology/subjects.ts';
import { BUCKETS } from '../topology/topology.ts';

/** Verbs about consumers, except MSG.NEXT: each consumer subscribes to its own. */
const CONSUMER_VERBS = ['CREATE', 'DELETE', 'DURABLE', 'INFO', 'LEADER', 'LIST', 'NAMES', 'PAUSE', 'RESET', 'UNPIN'];

/** Subjects of one account or of the system account, for the rights of a route. */
export const NOT_TRACED: readonly string[] = [
  ...['ACCOUNT', 'META', 'SERVER', 'STREAM'].map((what) => `$JS.API.${what}.>`),
  ...CONSUMER_VERBS.map((verb) => `$JS.API.CONSUMER.${verb}.>`),
  '$SYS.REQ.SERVER.*.>',
  // Not SIEM: connectors subscribe to subjects of this form.
  ...['violations', 'verdicts', 'responses', 'deadletters'].map((what) => `${ROOT}.${what}.*.>`),
  ...BUCKETS.map(({ bucket }) => `$KV.${bucket}.*.>`),
  // The nodes and networks of the cluster, which every collector reads.
  '$KV.bailiff_pods._cluster',
];

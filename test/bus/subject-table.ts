/**
 * Every subject class of the bus, the identities that may publish or subscribe there, and a
 * function to try it. Each identity tries each line, so every refusal has a control: an identity
 * for which the same is allowed.
 *
 * The server of a trial has no streams. For actions of JetStream on behalf of an allowed request,
 * see rights.test.ts.
 */
import {
  AUTH_CALLOUT_QUEUE,
  AUTH_CALLOUT_SUBJECT,
  type Bus,
  FIXED_ROLES,
  type Identity,
  inboxPrefixFor,
  NODE_ROLES,
  STATE_QUEUE,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import { errors } from '@nats-io/nats-core';

export const NODES = ['node-a', 'node-b.example'];
const [NODE_A, NODE_B] = NODES as [string, string];
export const NODE_USERS = NODES.flatMap((node) => NODE_ROLES.map((role) => userOf({ role, node })));
export const EVERYBODY = [...FIXED_ROLES, 'bus-auth', ...NODE_USERS];

/** Identities that may, in addition to the admin. */
interface Line {
  subject: string;
  who: string[];
}
const line = (subject: string, ...who: string[]): Line => ({ subject, who: ['admin', ...who] });
const A = `collector-${NODE_A}`;
const B = `collector-${NODE_B}`;
const PUSH_A = `push-${NODE_A}`;
const PUSH_B = `push-${NODE_B}`;

/** Requests of an ordered consumer on a stream, and the identities that may send them. */
const ordered = (stream: string, ...who: string[]): Line[] => [
  line(`$JS.API.CONSUMER.CREATE.${stream}.anyname`, ...who),
  line(`$JS.API.CONSUMER.CREATE.${stream}.anyname.some.filter`, ...who),
  line(`$JS.API.CONSUMER.MSG.NEXT.${stream}.anyname`, ...who),
  line(`$JS.API.CONSUMER.DELETE.${stream}.anyname`, ...who),
];

const PUBLISH: Line[] = [
  // Violations: a collector for its own node.
  line(violationSubject(NODE_A, 'spoof'), A),
  line(violationSubject(NODE_A, 'lsm'), A),
  line(violationSubject(NODE_B, 'spoof'), B),
  line(`bailiff.v1.violations.0.other.spoof`),
  line(`bailiff.v1.violations.99.${NODE_A}.spoof`),
  // Programs of a pod: only the responder may ask for them.
  line('bailiff.v1.capture.node-a', 'responder'),
  line('bailiff.v1.verdicts.high.default.web.abc', 'correlator'),
  line('bailiff.v1.responses.delete.default.web.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.quarantine.default.web.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.cordon._._.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.delete.default.web.abc.more', 'responder'),
  line('bailiff.v1.replay.case-7.violations.0.node-a.spoof', 'cli'),
  line('bailiff.v1.deadletters.violations.foreign-pod.1', 'correlator'),
  line('bailiff.v1.deadletters.verdicts.max-deliveries.1', 'responder'),
  line('bailiff.v1.deadletters.siem.otlp-refused.1', 'siem-relay'),
  line('bailiff.v1.config.spoof.cluster._.default'),
  line('bailiff.v1.push.bailiff_pods.node-a'),
  line('bailiff.v1.push.bailiff_config.spoof.cluster._.default'),
  line('bailiff.v1.read.verdicts'),
  line('bailiff.v1.anything'),
  // Buckets.
  line('$KV.bailiff_nodes.node-a', A),
  line('$KV.bailiff_nodes.node-b_example', B),
  line('$KV.bailiff_pods.node-a', 'ipam-sync'),
  line('$KV.bailiff_pods._cluster', 'ipam-sync'),
  line('$KV.bailiff_quarantine.node-a', 'responder', 'cli'),
  line('$KV.bailiff_config.spoof.cluster._.default', 'ipam-sync', 'cli'),
  line('$KV.bailiff_config.disarm.cluster._.all', 'cli'),
  line('$KV.bailiff_schemas.fp-0000000000000000'),
  // A service reports only its own status.
  line('$KV.bailiff_services.correlator.host-1', 'correlator'),
  line('$KV.bailiff_services.responder.host-1', 'responder'),
  line('$KV.bailiff_services.ipam-sync.host-1', 'ipam-sync'),
  line('$KV.bailiff_services.siem-relay.host-1', 'siem-relay'),
  line('$KV.bailiff_services.bus-auth.host-1', 'bus-auth'),
  line('$KV.bailiff_services.evidence-log.host-1', 'evidence-log'),
  line('$KV.bailiff_services.collector.host-1'),
  line('$JS.API.DIRECT.GET.KV_bailiff_services', 'ipam-sync', 'cli'),
  ...ordered('KV_bailiff_services', 'ipam-sync'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods.node-a',
    'correlator',
    'responder',
    'ipam-sync',
    'cli',
    'siem-relay',
  ),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods.node-b_example',
    'correlator',
    'responder',
    'ipam-sync',
    'cli',
    'siem-relay',
  ),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods._cluster',
    'correlator',
    'responder',
    'ipam-sync',
    'cli',
    'siem-relay',
  ),
  line('$JS.API.DIRECT.GET.KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine.$KV.bailiff_quarantine.node-a', 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine.$KV.bailiff_quarantine.node-b_example', 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine', 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_nodes.$KV.bailiff_nodes.node-a', 'responder', 'ipam-sync', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_nodes.$KV.bailiff_nodes.node-b_example', 'responder', 'ipam-sync', 'cli'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_config.$KV.bailiff_config.spoof.cluster._.default',
    'responder',
    'ipam-sync',
    'cli',
  ),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_config', A, B),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_pods'),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_quarantine'),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_pods.$KV.bailiff_pods.node-a', A),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_pods.$KV.bailiff_pods.node-b_example', B),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_pods.$KV.bailiff_pods._cluster', A, B),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_quarantine.$KV.bailiff_quarantine.node-a', A),
  line('$JS.API.DIRECT.GET.LATEST_bailiff_quarantine.$KV.bailiff_quarantine.node-b_example', B),
  line('$JS.API.DIRECT.GET.KV_bailiff_config', 'responder', 'ipam-sync', 'cli'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_schemas.$KV.bailiff_schemas.fp-0000000000000000',
    'correlator',
    'responder',
    'cli',
    'reader',
    'siem-relay',
  ),
  // Events for SIEMs: one identity writes them, the other reads only them.
  line('bailiff.v1.siem.ocsf.detection-finding.default', 'siem-relay'),
  // Only its positions: junk keys would fill the bucket.
  line('$KV.bailiff_siem.violations', 'siem-relay'),
  line('$KV.bailiff_siem.syslog', 'siem-relay'),
  line('$KV.bailiff_siem.openreports', 'siem-relay'),
  line('$KV.bailiff_siem.webhook-4', 'siem-relay'),
  line('$KV.bailiff_siem.webhook-5'),
  line('$KV.bailiff_siem.alertmanager-3', 'siem-relay'),
  line('$KV.bailiff_siem.alertmanager-4'),
  line('$KV.bailiff_siem.junk'),
  line('$JS.API.DIRECT.GET.KV_bailiff_siem.$KV.bailiff_siem.violations', 'siem-relay'),
  ...ordered('KV_bailiff_siem'),
  line('$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', 'siem-relay'),
  line('BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', 'siem-reader'),
  line('$JS.API.CONSUMER.INFO.SIEM.siem-ocsf', 'siem-relay'),
  line('BUS.CONSUMER.INFO.SIEM.siem-ocsf', 'siem-reader'),
  line('$JS.ACK.SIEM.siem-ocsf.1.1.1.1.0', 'siem-reader'),
  line('$JS.ACK.SIEM.other.1.1.1.1.0'),
  line('$JS.API.DIRECT.GET.SIEM', 'siem-relay'),
  line('$JS.API.STREAM.INFO.SIEM', 'siem-relay'),
  line('BUS.STREAM.INFO.SIEM', 'cli', 'console'),
  line('$JS.API.STREAM.INFO.KV_bailiff_siem'),
  line('BUS.STREAM.INFO.KV_bailiff_siem', 'cli', 'console'),
  line('$JS.API.STREAM.PURGE.SIEM'),
  ...ordered('SIEM', 'siem-relay'),
  // Streams.
  ...ordered('VIOLATIONS', 'correlator', 'siem-relay'),
  ...ordered('VERDICTS', 'responder', 'siem-relay'),
  ...ordered('RESPONSES', 'responder', 'siem-relay'),
  ...ordered('CONFIG_LOG', 'correlator', 'responder'),
  ...ordered('DEAD_LETTERS', 'correlator'),
  ...ordered('KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync'),
  ...ordered('KV_bailiff_quarantine', 'responder'),
  ...ordered('KV_bailiff_config', 'responder', 'ipam-sync'),
  ...ordered('KV_bailiff_nodes', 'ipam-sync'),
  ...ordered('KV_bailiff_schemas'),
  line('$JS.API.DIRECT.GET.VIOLATIONS', 'correlator', 'cli', 'reader', 'siem-relay'),
  line('BUS.DIRECT.GET.VIOLATIONS', 'reader'),
  line('$JS.API.DIRECT.GET.VERDICTS', ...['correlator', 'responder', 'cli', 'reader', 'siem-relay']),
  line('$JS.API.DIRECT.GET.RESPONSES', 'responder', 'cli', 'reader', 'siem-relay'),
  line('$JS.API.DIRECT.GET.CONFIG_LOG', 'correlator', 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.DEAD_LETTERS', 'correlator', 'cli'),
  line('$JS.API.STREAM.INFO.VIOLATIONS', 'correlator', 'responder', 'siem-relay'),
  line('BUS.STREAM.INFO.VIOLATIONS', 'cli', 'console', 'evidence-log'),
  line('BUS.STREAM.MSG.GET.VIOLATIONS', 'console', 'evidence-log'),
  line('BUS.STREAM.MSG.GET.VERDICTS', 'console', 'evidence-log'),
  line('BUS.STREAM.MSG.GET.CONFIG_LOG', 'console', 'evidence-log'),
  line('BUS.STREAM.MSG.GET.DEAD_LETTERS', 'console'),
  line('BUS.STREAM.MSG.GET.KV_bailiff_quarantine', 'console'),
  line('BUS.STREAM.MSG.GET.KV_bailiff_schemas', 'console'),
  line('BUS.STREAM.MSG.GET.KV_bailiff_siem'),
  line('BUS.STREAM.MSG.GET.SIEM'),
  line('BUS.STREAM.MSG.DELETE.VIOLATIONS'),
  line('$JS.API.STREAM.INFO.CONFIG_LOG', 'correlator', 'responder'),
  line('BUS.STREAM.INFO.CONFIG_LOG', 'cli', 'console', 'evidence-log'),
  line('$JS.API.STREAM.INFO.KV_bailiff_config', 'responder', 'ipam-sync'),
  line('BUS.STREAM.INFO.KV_bailiff_config', 'cli', 'console'),
  line('BUS.STREAM.INFO.LATEST_bailiff_config', 'cli', 'console'),
  line('BUS.STREAM.INFO.LATEST_bailiff_pods', 'cli', 'console'),
  line('$JS.API.STREAM.INFO.LATEST_bailiff_config'),
  line('$JS.API.STREAM.INFO.KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync'),
  line('BUS.STREAM.INFO.KV_bailiff_pods', 'cli', 'console'),
  // Other requests with the same effect: only the admin.
  line('$JS.API.CONSUMER.CREATE.VERDICTS'),
  line('$JS.API.CONSUMER.DURABLE.CREATE.VERDICTS.one'),
  line('$JS.API.CONSUMER.NAMES.VERDICTS'),
  line('$JS.API.DIRECT.GET.CONFIG_LOG.bailiff.v1.config.spoof.cluster._.default', 'ipam-sync'),
  line('$JS.API.CONSUMER.LIST.VIOLATIONS'),
  line('$JS.API.CONSUMER.PAUSE.VERDICTS.one'),
  line('$JS.API.CONSUMER.INFO.VERDICTS.one'),
  line('$JS.ACK.VERDICTS.one.1.1.1.1.0'),
  line('$JS.API.INFO'),
  ...['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'MSG.DELETE', 'MSG.GET', 'SNAPSHOT', 'RESTORE', 'LEADER.STEPDOWN'].map(
    (verb) => line(`$JS.API.STREAM.${verb}.VIOLATIONS`),
  ),
  line('$JS.API.STREAM.LIST'),
  line('$JS.API.STREAM.NAMES'),
  line('$JS.ACK.VIOLATIONS.anyname.1.1.1.1.0'),
  // Subjects that the server trusts.
  line('$SYS.REQ.SERVER.PING'),
  line('$SYS.REQ.SERVER.PING.CONNZ'),
  line('$SYS.REQ.ACCOUNT.SIEM.CONNZ'),
  line('$SYS.REQ.ACCOUNT.NODES.CONNZ', 'bus-auth'),
  line('$SYS.REQ.ACCOUNT.NODE_PUSH.CONNZ', 'bus-auth'),
  line('$SYS.REQ.SERVER.NAAA.KICK', 'bus-auth'),
  line('$SYS.REQ.SERVER.NAAA.RELOAD'),
  line('bailiff.v1.auth.flooding', 'bus-auth'),
  line('bailiff.v1.auth.admitted', 'bus-auth'),
  line(AUTH_CALLOUT_SUBJECT),
  line('$SYS.REQ.USER.INFO'),
  line('$SYS._INBOX.forged.answer'),
  line('_INBOX_responder.forged.answer'),
  line('_INBOX_bus-auth.mine'),
  line(`${inboxPrefixFor({ role: 'push', node: NODE_A })}.mine`),
  line('BUS.anything'),
  line(`${inboxPrefixFor({ role: 'collector', node: NODE_B })}.forged.answer`),
];

const inboxes = (): Line[] => {
  const identities: Identity[] = [
    ...FIXED_ROLES.filter((role) => role !== 'admin').map((role) => ({ role })),
    ...NODES.map((node) => ({ role: 'collector' as const, node })),
  ];
  return identities.map((identity) => ({ subject: `${inboxPrefixFor(identity)}.>`, who: [userOf(identity)] }));
};
const SUBSCRIBE: Line[] = [
  ...inboxes(),
  { subject: '_INBOX_admin.>', who: ['admin'] },
  line('bailiff.v1.push.bailiff_pods.node-a', PUSH_A),
  line('bailiff.v1.push.bailiff_pods.node-b_example', PUSH_B),
  line('bailiff.v1.push.bailiff_pods._cluster', PUSH_A, PUSH_B),
  line('bailiff.v1.push.bailiff_quarantine.node-a', PUSH_A),
  line('bailiff.v1.push.bailiff_quarantine.node-b_example', PUSH_B),
  line('bailiff.v1.push.bailiff_config.>', PUSH_A, PUSH_B),
  line('bailiff.v1.capture.node-a', PUSH_A),
  line('bailiff.v1.capture.*'),
  line('bailiff.v1.push.bailiff_config.spoof.>', PUSH_A, PUSH_B),
  line('bailiff.v1.push.bailiff_pods.*'),
  line('bailiff.v1.push.>'),
  line('bailiff.v1.violations.>'),
  line(violationSubject(NODE_A, 'spoof')),
  line('bailiff.v1.verdicts.>'),
  line('bailiff.v1.replay.>', 'reader'),
  line('bailiff.v1.siem.>', 'siem-reader'),
  line('bailiff.v1.siem.ocsf.*.default', 'siem-reader'),
  line('bailiff.v1.state.siem-ocsf'),
  line('bailiff.v1.read.verdicts'),
  line(`bailiff.v1.read.verdicts ${STATE_QUEUE}`, 'siem-relay'),
  line(`bailiff.v1.state.siem-ocsf ${STATE_QUEUE}`, 'siem-relay'),
  line('bailiff.v1.>'),
  { subject: `${AUTH_CALLOUT_SUBJECT} ${AUTH_CALLOUT_QUEUE}`, who: ['bus-auth'] },
  { subject: '_INBOX_bus-auth.>', who: ['bus-auth'] },
  line('bailiff.v1.auth.flooding', 'bus-auth'),
  line('bailiff.v1.auth.admitted', 'bus-auth'),
  { subject: '$SYS.ACCOUNT.NODES.DISCONNECT', who: ['bus-auth'] },
  { subject: '$SYS.ACCOUNT.NODE_PUSH.DISCONNECT', who: ['bus-auth'] },
  { subject: '$SYS.SERVER.*.CLIENT.AUTH.ERR', who: ['bus-auth'] },
];
/** Subjects for no identity at all. */
const NOBODY = [
  // An identity that responds has no inbox, except bus-auth: a response to it reaches only what bus-auth may publish.
  `${inboxPrefixFor({ role: 'push', node: NODE_A })}.>`,
  AUTH_CALLOUT_SUBJECT,
  `${AUTH_CALLOUT_SUBJECT} another-group`,
  '$SYS.REQ.>',
  '$SYS.ACCOUNT.SIEM.DISCONNECT',
  '$SYS.ACCOUNT.*.DISCONNECT',
  '>',
  '*.>',
  '_INBOX.>',
  '_INBOX*',
  '$KV.>',
  '$KV.bailiff_pods.>',
  '$JS.>',
  '$SYS.>',
  '*',
];

/**
 * Tries a publish or a subscription (`subject group`) and returns true if the server allows it. The
 * flush returns after a refusal.
 */
export async function tryIt(bus: Bus, what: 'publish' | 'subscribe', subject: string): Promise<boolean> {
  const [name = '', queue] = subject.split(' ');
  let refused = false;
  const listener = (status: { type: string; error?: Error }) => {
    const cause = status.error?.cause;
    if (cause instanceof errors.PermissionViolationError && cause.subject === name) refused = true;
  };
  bus.statusListeners.add(listener);
  if (what === 'publish') bus.nc.publish(name, '{}');
  else bus.nc.subscribe(name, { callback: () => undefined, ...(queue ? { queue } : {}) });
  await bus.nc.flush();
  // The client reports errors through an iterator, one turn after it reads them.
  await new Promise((resolve) => setImmediate(resolve));
  bus.statusListeners.delete(listener);
  return !refused;
}

/**
 * Lets every identity try every line. @returns the lines with an unexpected result, and the number
 * of attempts
 */
export async function tryAll(buses: ReadonlyMap<string, Bus>): Promise<{ wrong: string[]; tried: number }> {
  const wrong: string[] = [];
  let tried = 0;
  const check = async (what: 'publish' | 'subscribe', { subject, who }: Line) => {
    const may: string[] = [];
    for (const [user, bus] of buses) if (await tryIt(bus, what, subject)) may.push(user);
    tried += buses.size;
    const shall = [...new Set(who)].filter((user) => buses.has(user));
    const [is, should] = [may.sort().join(', '), shall.sort().join(', ')];
    if (is !== should) wrong.push(`${what} ${subject}: may [${is}], shall [${should}]`);
  };
  for (const one of PUBLISH) await check('publish', one);
  for (const one of SUBSCRIBE) await check('subscribe', one);
  for (const subject of NOBODY) await check('subscribe', { subject, who: [] });
  return { wrong, tried };
}

/**
 * Lines of PUBLISH and SUBSCRIBE that no identity may use. A test on them would also pass if its
 * attempts never reached the server, so there must be none.
 */
export const UNCLAIMED = [...PUBLISH, ...SUBSCRIBE].filter(({ who }) => who.length === 0);
/** Lines in the table. */
export const LINES = PUBLISH.length + SUBSCRIBE.length + NOBODY.length;

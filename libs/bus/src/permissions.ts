/**
 * Who may do what on the bus: allow-lists of subjects for each identity, as nats-server's user permissions.
 *
 * Place in the path: server-conf.ts writes them into nats.conf; test/bus tries every one of them. Invariants: an identity publishes
 * only where its work needs it, a collector only under its own node, and nobody subscribes to another's inbox. A consumer's name is a
 * single token and a random one cannot be allow-listed, so who reads a stream may name any consumer of it; but all have random names,
 * and nobody may list names. What the server does not check is the subject that a request names for its answer: planted.ts.
 */
import { captureSubject, encodeToken, ROOT, violationSubject } from './subjects.ts';
import { SIEM_FORMATS, siemConsumer } from './topology.ts';

export type Identity =
  | { role: 'collector'; node: string }
  | { role: FixedRole }
  /** Answers the server's question who a collector is; has an account of its own (server-conf.ts). */
  | { role: 'bus-auth' };

/** Identities that are one user each with a password in the server's configuration. */
export const FIXED_ROLES = [
  'admin',
  'correlator',
  'responder',
  'ipam-sync',
  'cli',
  'reader',
  'siem-relay',
  'siem-reader',
] as const;
export type FixedRole = (typeof FIXED_ROLES)[number];

export interface Permissions {
  publish: { allow: string[] };
  /** An entry may name a queue group after a blank, and is then allowed in that group alone. */
  subscribe: { allow: string[] };
  /** One answer to each message that was received, for so long. */
  allowResponsesMs?: number;
}

/** Where the server asks who a client is, and the group in which replicas of bus-auth share the work. */
export const AUTH_CALLOUT_SUBJECT = '$SYS.REQ.USER.AUTH';
export const AUTH_CALLOUT_QUEUE = 'bailiff-bus-auth';
/** Above the server's own wait for an answer (`AUTH_TIMEOUT_S`). */
const AUTH_ANSWER_MS = 10_000;

/** How long a collector may take to answer what it was asked; above every asker's own wait. */
const CAPTURE_ANSWER_MS = 10_000;

/** Name of the bus user of an identity: the role, and for a collector `collector-<node>`. */
export function userOf(identity: Identity): string {
  return identity.role === 'collector' ? `collector-${identity.node}` : identity.role;
}

/** Private inbox prefix of an identity: `_INBOX_<role>`, and for a collector `_INBOX_collector_<node token>`. */
export function inboxPrefixFor(identity: Identity): string {
  return identity.role === 'collector' ? `_INBOX_collector_${encodeToken(identity.node)}` : `_INBOX_${identity.role}`;
}

/** The same from a user name. */
export function inboxPrefixOf(user: string): string {
  const node = /^collector-(.+)$/.exec(user)?.[1];
  return node === undefined ? `_INBOX_${user}` : inboxPrefixFor({ role: 'collector', node });
}

const kv = (bucket: string, key: string) => `$KV.${bucket}.${key}`;
/** Newest value of a key, without a consumer. */
const kvGet = (bucket: string, key: string) => `$JS.API.DIRECT.GET.KV_${bucket}.${kv(bucket, key)}`;
/** Any message of a stream by sequence, and the next one under a filter. */
const direct = (stream: string) => `$JS.API.DIRECT.GET.${stream}`;
const info = (stream: string) => `$JS.API.STREAM.INFO.${stream}`;

/** What an ordered consumer on a stream needs. */
function ordered(stream: string): string[] {
  return [
    `$JS.API.CONSUMER.CREATE.${stream}.*`,
    `$JS.API.CONSUMER.CREATE.${stream}.*.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.*`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
    direct(stream),
    info(stream),
  ];
}

/** Reading a bucket: any key at once, or all of them by an ordered consumer. */
const readBucket = (bucket: string) => [kvGet(bucket, '>'), ...ordered(`KV_${bucket}`)];
const schemas = kvGet('bailiff_schemas', '*');

function collector(node: string): Permissions {
  const token = encodeToken(node);
  const push = (bucket: string, key: string) => `${ROOT}.push.${bucket}.${key}`;
  return {
    publish: {
      allow: [
        violationSubject(node, 'spoof'),
        violationSubject(node, 'lsm'),
        kv('bailiff_nodes', token),
        kvGet('bailiff_nodes', token),
        kvGet('bailiff_pods', token),
        kvGet('bailiff_pods', '_cluster'),
        kvGet('bailiff_quarantine', token),
        // The configuration is for every node and holds no secret; its keys are listed and read without a consumer.
        direct('KV_bailiff_config'),
        info('KV_bailiff_config'),
        kvGet('bailiff_config', '>'),
      ],
    },
    subscribe: {
      allow: [
        `${inboxPrefixFor({ role: 'collector', node })}.>`,
        push('bailiff_pods', token),
        push('bailiff_pods', '_cluster'),
        push('bailiff_quarantine', token),
        push('bailiff_config', '>'),
        captureSubject(node),
      ],
    },
    // To a question that was put to it, and nowhere else: no collector may write to another's inbox of its own accord.
    allowResponsesMs: CAPTURE_ANSWER_MS,
  };
}

/** A service tells of itself, and of no other. */
const tells = (role: string) => kv('bailiff_services', `${role}.*`);

/** What each cluster-wide role publishes; all of them subscribe to their own inbox, and only siem-reader and reader to more. */
const ROLES: Record<Exclude<FixedRole, 'admin'>, { allow: string[] }> = {
  correlator: {
    allow: [
      `${ROOT}.verdicts.>`,
      `${ROOT}.deadletters.violations.>`,
      ...ordered('VIOLATIONS'),
      ...ordered('CONFIG_LOG'),
      // What was refused before, and the newest verdict: from where a start goes on.
      ...ordered('DEAD_LETTERS'),
      ...readBucket('bailiff_pods'),
      info('VERDICTS'),
      direct('VERDICTS'),
      info('RESPONSES'),
      tells('correlator'),
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      schemas,
    ],
  },
  responder: {
    allow: [
      `${ROOT}.responses.>`,
      // Nobody else may ask a node what runs in a pod.
      `${ROOT}.capture.*`,
      `${ROOT}.deadletters.verdicts.>`,
      `${ROOT}.deadletters.responses.>`,
      kv('bailiff_quarantine', '*'),
      ...readBucket('bailiff_quarantine'),
      ...ordered('VERDICTS'),
      ...ordered('RESPONSES'),
      ...ordered('CONFIG_LOG'),
      ...readBucket('bailiff_config'),
      ...readBucket('bailiff_pods'),
      `${direct('RESPONSES')}.${ROOT}.responses.>`,
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      info('VIOLATIONS'),
      tells('responder'),
      schemas,
    ],
  },
  'ipam-sync': {
    allow: [
      kv('bailiff_pods', '*'),
      // What is written as custom resources. Never a disarming: that is a person's.
      ...['spoof', 'runtime', 'correlation', 'response'].map((kind) => kv('bailiff_config', `${kind}.>`)),
      ...['bailiff_pods', 'bailiff_config', 'bailiff_nodes', 'bailiff_services'].flatMap(readBucket),
      // Where in the log a value stands: services tell how far they have read.
      `${direct('CONFIG_LOG')}.${ROOT}.config.>`,
      tells('ipam-sync'),
    ],
  },
  cli: {
    allow: [
      kv('bailiff_config', '>'),
      kv('bailiff_quarantine', '*'),
      // A person's yes or no to an action that waits for one, and the release of a quarantine: any action, a record each.
      `${ROOT}.responses.*.*.*.*`,
      // Copies of what was; no stream takes them.
      `${ROOT}.replay.>`,
      ...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS'].flatMap(ordered),
      ...['bailiff_config', 'bailiff_pods', 'bailiff_quarantine', 'bailiff_nodes', 'bailiff_services'].flatMap(
        readBucket,
      ),
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      `${direct('RESPONSES')}.${ROOT}.responses.>`,
      // doctor asks whether every stream and bucket is there.
      info('KV_bailiff_schemas'),
      info('SIEM'),
      info('KV_bailiff_siem'),
      schemas,
    ],
  },
  reader: {
    allow: [...['VIOLATIONS', 'VERDICTS', 'RESPONSES'].flatMap(ordered), schemas],
  },
  'siem-relay': {
    allow: [
      `${ROOT}.siem.>`,
      kv('bailiff_siem', '*'),
      kvGet('bailiff_siem', '*'),
      tells('siem-relay'),
      ...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'SIEM'].flatMap(ordered),
      schemas,
    ],
  },
  // A connector of somebody else's: it reads events, live or by the durable consumers that are there, and makes nothing.
  'siem-reader': {
    allow: SIEM_FORMATS.map(siemConsumer).flatMap((consumer) => [
      `$JS.API.CONSUMER.INFO.SIEM.${consumer}`,
      `$JS.API.CONSUMER.MSG.NEXT.SIEM.${consumer}`,
      `$JS.ACK.SIEM.${consumer}.>`,
    ]),
  },
};

/** Permissions of an identity, as nats-server takes them. The admin makes streams and registers schemas: it may do all. */
export function permissionsFor(identity: Identity): Permissions {
  if (identity.role === 'collector') return collector(identity.node);
  const inbox = `${inboxPrefixFor(identity)}.>`;
  if (identity.role === 'bus-auth') {
    return {
      publish: { allow: [inbox] },
      subscribe: { allow: [inbox, `${AUTH_CALLOUT_SUBJECT} ${AUTH_CALLOUT_QUEUE}`] },
      allowResponsesMs: AUTH_ANSWER_MS,
    };
  }
  if (identity.role === 'admin') {
    return { publish: { allow: ['>'] }, subscribe: { allow: [inbox, `${ROOT}.>`, '$JS.EVENT.>'] } };
  }
  const listens: Partial<Record<Identity['role'], string>> = { 'siem-reader': 'siem', reader: 'replay' };
  const own = listens[identity.role];
  const subscribe = own === undefined ? [inbox] : [inbox, `${ROOT}.${own}.>`];
  return { publish: { allow: [...new Set(ROLES[identity.role].allow)] }, subscribe: { allow: subscribe } };
}

/**
 * Permissions of each identity on the bus: allow-lists of subjects for nats-server.
 *
 * server-conf.ts writes them into nats.conf, bus-auth grants them to collectors, and accounts.ts
 * derives the imports of each account from them. An identity publishes only where its work needs
 * it, a collector only under its own node. A node sends nothing that passes the server's queue of
 * API requests, which all clients share: only direct gets, of streams that no identity writes. No identity subscribes to the inbox of
 * another. The server checks the subject of a publish but not its reply subject; accounts.ts confines that.
 */
import {
  apiPrefixOf,
  type FixedRole,
  type Identity,
  IMPORTED_API,
  inboxPrefixFor,
  type NodeRole,
  userOf,
} from '../topology/identities.ts';
import { SIEM_POSITIONS } from '../topology/siem-positions.ts';
import {
  captureSubject,
  consumerStateSubject,
  encodeToken,
  pushSubject,
  READ_STREAMS,
  ROOT,
  readSubject,
  STATE_QUEUE,
  violationSubject,
} from '../topology/subjects.ts';
import { LATEST_STREAMS, latestStream, SIEM_FORMATS, siemConsumer } from '../topology/topology.ts';

export interface Permissions {
  /** An empty list allows only responses. */
  publish: { allow: string[] };
  /** An entry may name a queue group after a space; it is then allowed in that group only. */
  subscribe: { allow: string[] };
  /** Allows one response to each received message, for this long. */
  allowResponsesMs?: number;
}

/** Subject of auth callout requests, and the queue group of bus-auth replicas. */
export const AUTH_CALLOUT_SUBJECT = '$SYS.REQ.USER.AUTH';
export const AUTH_CALLOUT_QUEUE = 'bailiff-bus-auth';
/** Above the server's own timeout (`AUTH_TIMEOUT_S`). */
const AUTH_RESPONSE_MS = 10_000;
/** Accounts of nodes, whose connections bus-auth watches (node-connections.ts). */
export const WATCHED_ACCOUNTS = ['NODES', 'NODE_PUSH'] as const;
/** Request to all servers for the connections of an account. */
export const connectionsSubject = (account: string): string => `$SYS.REQ.ACCOUNT.${account}.CONNZ`;
/** Event of a server: a connection of the account has ended. */
export const endedSubject = (account: string): string => `$SYS.ACCOUNT.${account}.DISCONNECT`;
/**
 * Event of a server: it has refused a login. It checks the users of its configuration itself, without bus-auth,
 * also on a connection of a node that logs in again.
 */
export const REFUSED_LOGIN_SUBJECT = '$SYS.SERVER.*.CLIENT.AUTH.ERR';
/** Request to a server to end one of its connections: any one, of every account. */
export const kickSubject = (serverId: string): string => `$SYS.REQ.SERVER.${serverId}.KICK`;
/** Between replicas of bus-auth: a user that floods the bus. */
export const FLOODING_SUBJECT = `${ROOT}.auth.flooding`;
/** Between replicas of bus-auth: who logged in, on which connection. */
export const ADMITTED_SUBJECT = `${ROOT}.auth.admitted`;
/** What bus-auth publishes to its replicas. */
export const REPLICA_SUBJECTS: readonly string[] = [FLOODING_SUBJECT, ADMITTED_SUBJECT];
/** What bus-auth requests of the servers' own account. */
export const WATCHED_SUBJECTS: readonly string[] = [...WATCHED_ACCOUNTS.map(connectionsSubject), kickSubject('*')];
/** What bus-auth receives of the servers' own account. */
export const EVENT_SUBJECTS: readonly string[] = [...WATCHED_ACCOUNTS.map(endedSubject), REFUSED_LOGIN_SUBJECT];

/**
 * How long a collector may take to respond to a capture request; above the timeout of every
 * requester.
 */
const CAPTURE_RESPONSE_MS = 10_000;

const STATE_RESPONSE_MS = 10_000;

const kv = (bucket: string, key: string) => `$KV.${bucket}.${key}`;
/** Newest value of a key. */
const kvGet = (bucket: string, key: string) => `$JS.API.DIRECT.GET.KV_${bucket}.${kv(bucket, key)}`;
/** The same in the copy that nodes read. */
const copyGet = (bucket: string, key: string) => `${direct(latestStream(bucket))}.${kv(bucket, key)}`;
/** Any message of a stream by sequence, and the next one under a filter. */
const direct = (stream: string) => `$JS.API.DIRECT.GET.${stream}`;
const info = (stream: string) => `$JS.API.STREAM.INFO.${stream}`;
const importedInfo = (stream: string) => `${IMPORTED_API}.STREAM.INFO.${stream}`;

/**
 * Reading a stream by an ordered consumer. Only in the core account: the creator of a consumer
 * chooses where it delivers.
 */
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
/** Reading a bucket: single keys, or all keys by an ordered consumer. */
const orderedBucket = (bucket: string) => [kvGet(bucket, '>'), ...ordered(`KV_${bucket}`)];

/** Reading a stream by direct gets (direct-reader.ts). */
const read = (stream: string) => [direct(stream), importedInfo(stream)];
const readBucket = (bucket: string) => [kvGet(bucket, '>'), ...read(`KV_${bucket}`)];
/** Reading a stream by the API, one message a request (direct.ts). */
const readByApi = (stream: string) => [`${IMPORTED_API}.STREAM.MSG.GET.${stream}`, importedInfo(stream)];
const schemas = kvGet('bailiff_schemas', '*');

const NODE_PERMISSIONS: Record<NodeRole, (node: string) => Permissions> = {
  collector(node) {
    const token = encodeToken(node);
    return {
      publish: {
        allow: [
          violationSubject(node, 'spoof'),
          violationSubject(node, 'lsm'),
          kv('bailiff_nodes', token),
          // Only copies: while the server serves direct gets of a stream, writes to it wait.
          copyGet('bailiff_pods', token),
          copyGet('bailiff_pods', '_cluster'),
          copyGet('bailiff_quarantine', token),
          // Every node reads the configuration; it holds no secrets.
          direct(latestStream('bailiff_config')),
        ],
      },
      subscribe: { allow: [`${inboxPrefixFor({ role: 'collector', node })}.>`] },
    };
  },
  push(node) {
    const token = encodeToken(node);
    return {
      // No inbox either: a request to its own inbox would allow a response on any subject.
      publish: { allow: [] },
      subscribe: {
        allow: [
          pushSubject('bailiff_pods', token),
          pushSubject('bailiff_pods', '_cluster'),
          pushSubject('bailiff_quarantine', token),
          pushSubject('bailiff_config', '>'),
          captureSubject(node),
        ],
      },
      allowResponsesMs: CAPTURE_RESPONSE_MS,
    };
  },
};

/** What the commands of people read, and the console of a cluster. */
const ALL_STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS'];
const ALL_BUCKETS = ['bailiff_config', 'bailiff_pods', 'bailiff_quarantine', 'bailiff_nodes', 'bailiff_services'];
/** doctor and status check that every stream and bucket exists. */
const REST = ['KV_bailiff_schemas', 'SIEM', 'KV_bailiff_siem', ...LATEST_STREAMS].map(importedInfo);

/** A service writes only its own status. */
export const ownStatus = (role: string) => kv('bailiff_services', `${role}.*`);

/**
 * Publish permissions of the cluster-wide roles. All subscribe to their own inbox; only siem-reader
 * and reader subscribe to more.
 */
const ROLES: Record<Exclude<FixedRole, 'admin'>, { allow: string[] }> = {
  correlator: {
    allow: [
      `${ROOT}.verdicts.>`,
      `${ROOT}.deadletters.violations.>`,
      ...ordered('VIOLATIONS'),
      ...ordered('CONFIG_LOG'),
      // Earlier refusals and the newest verdict, from which a start continues.
      ...ordered('DEAD_LETTERS'),
      ...orderedBucket('bailiff_pods'),
      info('VERDICTS'),
      direct('VERDICTS'),
      info('RESPONSES'),
      ownStatus('correlator'),
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      schemas,
    ],
  },
  responder: {
    allow: [
      `${ROOT}.responses.>`,
      // Only the responder may request a capture from a node.
      `${ROOT}.capture.*`,
      `${ROOT}.deadletters.verdicts.>`,
      `${ROOT}.deadletters.responses.>`,
      kv('bailiff_quarantine', '*'),
      ...orderedBucket('bailiff_quarantine'),
      // Which quarantined pods of a node are gone.
      kvGet('bailiff_nodes', '*'),
      ...ordered('VERDICTS'),
      ...ordered('RESPONSES'),
      ...ordered('CONFIG_LOG'),
      ...orderedBucket('bailiff_config'),
      ...orderedBucket('bailiff_pods'),
      `${direct('RESPONSES')}.${ROOT}.responses.>`,
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      info('VIOLATIONS'),
      ownStatus('responder'),
      schemas,
    ],
  },
  'ipam-sync': {
    allow: [
      kv('bailiff_pods', '*'),
      // What custom resources configure. Disarming is reserved to operators.
      ...['spoof', 'runtime', 'correlation', 'response'].map((kind) => kv('bailiff_config', `${kind}.>`)),
      ...['bailiff_pods', 'bailiff_config', 'bailiff_nodes', 'bailiff_services'].flatMap(orderedBucket),
      // Sequence of a value in the log: services report how far they have read.
      `${direct('CONFIG_LOG')}.${ROOT}.config.>`,
      ownStatus('ipam-sync'),
    ],
  },
  cli: {
    allow: [
      kv('bailiff_config', '>'),
      kv('bailiff_quarantine', '*'),
      // Approvals and refusals of waiting actions, and releases from quarantine: one record each,
      // for any action.
      `${ROOT}.responses.*.*.*.*`,
      // Replayed copies; no stream captures them.
      `${ROOT}.replay.>`,
      ...ALL_STREAMS.flatMap(read),
      ...ALL_BUCKETS.flatMap(readBucket),
      ...REST,
      schemas,
    ],
  },
  // It shows to each visitor what Kubernetes lets that visitor see, so it reads everything.
  console: {
    allow: [...ALL_STREAMS, ...[...ALL_BUCKETS, 'bailiff_schemas'].map((bucket) => `KV_${bucket}`)]
      .flatMap(readByApi)
      .concat(REST),
  },
  // It hashes what the streams have. An identity that could forge messages could log them too.
  'evidence-log': {
    allow: [...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG'].flatMap(readByApi), ownStatus('evidence-log')],
  },
  reader: {
    // Direct gets only: other requests about a stream reach the system account (accounts.ts).
    // siem-relay responds to those of whole streams. The second form is for clients with a single prefix for all
    // JetStream requests.
    allow: [...READ_STREAMS.flatMap((name) => [direct(name), `${IMPORTED_API}.DIRECT.GET.${name}`]), schemas],
  },
  'siem-relay': {
    allow: [
      `${ROOT}.siem.>`,
      // The identity of the cluster, and which pods are gone.
      kvGet('bailiff_pods', '*'),
      // What the receiver of an output refuses.
      `${ROOT}.deadletters.siem.>`,
      ...SIEM_POSITIONS.flatMap((key) => [kv('bailiff_siem', key), kvGet('bailiff_siem', key)]),
      ownStatus('siem-relay'),
      ...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'SIEM'].flatMap(ordered),
      // How far connectors have come.
      ...SIEM_FORMATS.map((format) => `$JS.API.CONSUMER.INFO.SIEM.${siemConsumer(format)}`),
      schemas,
    ],
  },
  // A third-party connector. It reads events, live or by the existing durable consumers, and
  // creates nothing.
  'siem-reader': {
    allow: SIEM_FORMATS.map(siemConsumer).flatMap((consumer) => [
      `${IMPORTED_API}.CONSUMER.INFO.SIEM.${consumer}`,
      `${IMPORTED_API}.CONSUMER.MSG.NEXT.SIEM.${consumer}`,
      `$JS.ACK.SIEM.${consumer}.>`,
    ]),
  },
};

/**
 * Permissions of an identity for nats-server. The admin creates streams and registers schemas, so
 * it may do everything.
 */
export function permissionsFor(identity: Identity): Permissions {
  if ('node' in identity) return NODE_PERMISSIONS[identity.role](identity.node);
  const inbox = `${inboxPrefixFor(identity)}.>`;
  if (identity.role === 'bus-auth') {
    return {
      publish: { allow: [...WATCHED_SUBJECTS, ...REPLICA_SUBJECTS, ownStatus('bus-auth')] },
      subscribe: {
        allow: [`${AUTH_CALLOUT_SUBJECT} ${AUTH_CALLOUT_QUEUE}`, inbox, ...REPLICA_SUBJECTS, ...EVENT_SUBJECTS],
      },
      allowResponsesMs: AUTH_RESPONSE_MS,
    };
  }
  if (identity.role === 'admin') {
    return { publish: { allow: ['>'] }, subscribe: { allow: [inbox, `${ROOT}.>`, '$JS.EVENT.>'] } };
  }
  if (identity.role === 'siem-relay') {
    // It responds to connectors that request the state of their consumer, and to readers.
    const served = [...SIEM_FORMATS.map(siemConsumer).map(consumerStateSubject), ...READ_STREAMS.map(readSubject)];
    return {
      publish: { allow: [...new Set(ROLES['siem-relay'].allow)] },
      subscribe: { allow: [inbox, ...served.map((subject) => `${subject} ${STATE_QUEUE}`)] },
      allowResponsesMs: STATE_RESPONSE_MS,
    };
  }
  const listens: Partial<Record<Identity['role'], string>> = { 'siem-reader': 'siem', reader: 'replay' };
  const own = listens[identity.role];
  const subscribe = own === undefined ? [inbox] : [inbox, `${ROOT}.${own}.>`];
  return { publish: { allow: [...new Set(ROLES[identity.role].allow)] }, subscribe: { allow: subscribe } };
}

/**
 * Permissions if all identities share the core account: the identity creates consumers and uses the
 * JetStream API under its own name. For servers from before the accounts, until `bailiff
 * credentials rotate --finish`.
 */
export function oneAccountPermissionsFor(identity: Identity): Permissions {
  const { publish, ...rest } = permissionsFor(identity);
  // A node creates no consumers, and its direct gets have the same names in each account.
  if ('node' in identity) return { publish, ...rest };
  if (apiPrefixOf(userOf(identity)) !== IMPORTED_API) return { publish, ...rest };
  const allow = publish.allow.flatMap((subject) => {
    const stream = /^\$JS\.API\.DIRECT\.GET\.([^.]+)$/.exec(subject)?.[1];
    return stream === undefined ? subject.replace(`${IMPORTED_API}.`, '$JS.API.') : ordered(stream);
  });
  return { publish: { allow: [...new Set(allow)] }, ...rest };
}

/**
 * Publish rule for the server, where an empty allow-list would mean no limit. Responses are exempt
 * from a deny rule.
 */
export const publishRule = ({ publish }: Permissions): { allow: string[] } | { deny: string[] } =>
  publish.allow.length > 0 ? { allow: publish.allow } : { deny: ['>'] };

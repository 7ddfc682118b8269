/**
 * Who may do what on the bus: allow-lists of subjects for each identity, as nats-server's user permissions.
 *
 * Data path: server-conf.ts writes them into nats.conf, apps/bus-auth grants them to collectors, accounts.ts derives from them what
 * each account imports. Invariants: an identity publishes only where its work needs it; a collector only under its own node; no
 * identity subscribes to the inbox of another. The server checks the subject of a publish and not its reply subject: JetStream then
 * publishes the response there with its own rights. Accounts confine that (accounts.ts).
 */
import { captureSubject, encodeToken, pushSubject, ROOT, violationSubject } from './subjects.ts';
import { SIEM_FORMATS, siemConsumer } from './topology.ts';

export type Identity =
  /** Publishes violations and reads snapshots of its node. */
  | { role: 'collector'; node: string }
  /** Second connection of a collector: receives pushes and capture requests, and publishes nothing but responses to these. */
  | { role: 'push'; node: string }
  | { role: FixedRole }
  /** Answers the server's auth callout requests. */
  | { role: 'bus-auth' };

export type NodeRole = 'collector' | 'push';
/** Identities of which each node has one. */
export const NODE_ROLES: readonly NodeRole[] = ['collector', 'push'];

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
  /** Empty: nothing but responses. */
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

/** User name of an identity on the bus: the role, or `collector-<node>` and `push-<node>`. */
export function userOf(identity: Identity): string {
  return 'node' in identity ? `${identity.role}-${identity.node}` : identity.role;
}

/** The role and node in a user name; null when the user is not one of a node. */
export function nodeUserOf(user: string): { role: NodeRole; node: string } | null {
  const [, role, node] = /^(collector|push)-(.+)$/.exec(user) ?? [];
  return role === undefined || node === undefined ? null : { role: role as NodeRole, node };
}

/** Private inbox prefix of an identity: `_INBOX_<role>`, of a node's identity `_INBOX_<role>_<node token>`. */
export function inboxPrefixFor(identity: Identity): string {
  return 'node' in identity ? `_INBOX_${identity.role}_${encodeToken(identity.node)}` : `_INBOX_${identity.role}`;
}

/** The same from a user name. */
export function inboxPrefixOf(user: string): string {
  const identity = nodeUserOf(user);
  return identity ? inboxPrefixFor(identity) : `_INBOX_${user}`;
}

/**
 * Prefix of the JetStream API for a client outside the core account. Its own account answers under `$JS.API` that it has no JetStream,
 * so these requests are imported under another name. Direct gets keep `$JS.API`: the server leaves them to the streams.
 */
export const IMPORTED_API = 'BUS';
/** Roles that are in the core account, where the streams are. */
const CORE_ROLES: readonly string[] = ['admin', 'correlator', 'responder', 'ipam-sync', 'siem-relay'];
/** Prefix of the JetStream API for a user. */
export const apiPrefixOf = (user: string): string => (CORE_ROLES.includes(user) ? '$JS.API' : IMPORTED_API);

const kv = (bucket: string, key: string) => `$KV.${bucket}.${key}`;
/** Newest value of a key. */
const kvGet = (bucket: string, key: string) => `$JS.API.DIRECT.GET.KV_${bucket}.${kv(bucket, key)}`;
/** Any message of a stream by sequence, and the next one under a filter. */
const direct = (stream: string) => `$JS.API.DIRECT.GET.${stream}`;
const info = (stream: string) => `$JS.API.STREAM.INFO.${stream}`;
const importedInfo = (stream: string) => `${IMPORTED_API}.STREAM.INFO.${stream}`;

/** Reading a stream by an ordered consumer. Only in the core account: who creates a consumer chooses where it delivers. */
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
/** Reading a bucket: one key, or all of them by an ordered consumer. */
const orderedBucket = (bucket: string) => [kvGet(bucket, '>'), ...ordered(`KV_${bucket}`)];

/** Reading a stream by direct gets (read-direct.ts). */
const read = (stream: string) => [direct(stream), importedInfo(stream)];
const readBucket = (bucket: string) => [kvGet(bucket, '>'), ...read(`KV_${bucket}`)];
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
          kvGet('bailiff_nodes', token),
          kvGet('bailiff_pods', token),
          kvGet('bailiff_pods', '_cluster'),
          kvGet('bailiff_quarantine', token),
          // The configuration is for every node and holds no secret.
          ...readBucket('bailiff_config'),
        ],
      },
      subscribe: { allow: [`${inboxPrefixFor({ role: 'collector', node })}.>`] },
    };
  },
  push(node) {
    const token = encodeToken(node);
    return {
      // No inbox either: a request to itself would give it the right to respond on any subject.
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
      allowResponsesMs: CAPTURE_ANSWER_MS,
    };
  },
};

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
      ...orderedBucket('bailiff_pods'),
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
      ...orderedBucket('bailiff_quarantine'),
      ...ordered('VERDICTS'),
      ...ordered('RESPONSES'),
      ...ordered('CONFIG_LOG'),
      ...orderedBucket('bailiff_config'),
      ...orderedBucket('bailiff_pods'),
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
      ...['bailiff_pods', 'bailiff_config', 'bailiff_nodes', 'bailiff_services'].flatMap(orderedBucket),
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
      ...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS'].flatMap(read),
      ...['bailiff_config', 'bailiff_pods', 'bailiff_quarantine', 'bailiff_nodes', 'bailiff_services'].flatMap(
        readBucket,
      ),
      `${direct('VERDICTS')}.${ROOT}.verdicts.>`,
      `${direct('RESPONSES')}.${ROOT}.responses.>`,
      // doctor asks whether every stream and bucket is there.
      ...['KV_bailiff_schemas', 'SIEM', 'KV_bailiff_siem'].map(importedInfo),
      schemas,
    ],
  },
  reader: {
    // The second form of a direct get is for programs whose NATS client has one prefix for all of JetStream.
    allow: [
      ...['VIOLATIONS', 'VERDICTS', 'RESPONSES'].flatMap((name) => [
        ...read(name),
        `${IMPORTED_API}.DIRECT.GET.${name}`,
      ]),
      schemas,
    ],
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
      `${IMPORTED_API}.CONSUMER.INFO.SIEM.${consumer}`,
      `${IMPORTED_API}.CONSUMER.MSG.NEXT.SIEM.${consumer}`,
      `$JS.ACK.SIEM.${consumer}.>`,
    ]),
  },
};

/** Permissions of an identity, as nats-server takes them. The admin makes streams and registers schemas: it may do all. */
export function permissionsFor(identity: Identity): Permissions {
  if ('node' in identity) return NODE_PERMISSIONS[identity.role](identity.node);
  const inbox = `${inboxPrefixFor(identity)}.>`;
  if (identity.role === 'bus-auth') {
    return {
      publish: { allow: [] },
      subscribe: { allow: [`${AUTH_CALLOUT_SUBJECT} ${AUTH_CALLOUT_QUEUE}`] },
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

/**
 * Rights of an identity where all share the core account: it creates consumers, and uses the JetStream API under its own name. For servers
 * that were set up before there were accounts, until `bailiff credentials rotate --finish`.
 */
export function oneAccountPermissionsFor(identity: Identity): Permissions {
  const { publish, ...rest } = permissionsFor(identity);
  if (apiPrefixOf(userOf(identity)) !== IMPORTED_API) return { publish, ...rest };
  const allow = publish.allow.flatMap((subject) => {
    const stream = /^\$JS\.API\.DIRECT\.GET\.([^.]+)$/.exec(subject)?.[1];
    return stream === undefined ? subject.replace(`${IMPORTED_API}.`, '$JS.API.') : ordered(stream);
  });
  return { publish: { allow: [...new Set(allow)] }, ...rest };
}

/** The limit of publishes as the server takes it: an empty list would be no limit. Responses pass a denial. */
export const publishRule = ({ publish }: Permissions): { allow: string[] } | { deny: string[] } =>
  publish.allow.length > 0 ? { allow: publish.allow } : { deny: ['>'] };

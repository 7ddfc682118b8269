/**
 * Everything that JetStream may do on behalf of an identity: each request that it may make, and
 * each that it may not, with each reply subject, deliver subject and header, and the resulting
 * changes on the bus.
 *
 * A change is expected on a subject where the identity may publish anyway. Anything else is
 * unexpected: a message in a stream or for another identity's subscription, a deleted message, a
 * changed stream or consumer.
 */
import { type Bus, CORE, type Identity, type NatsUser, permissionsFor, streamConfigs } from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { type Msg, headers as newHeaders } from '@nats-io/nats-core';
import { matches } from '../../tools/reference/subjects.ts';

/** The nodes of the attacker and of the victim. */
export const NODES = ['node-a', 'node-b'] as const;
const STREAMS = streamConfigs().map(({ name }) => name);

/** One subject of the victim in each stream that takes subjects. */
const VICTIMS = [
  'bailiff.v1.violations.7.node-b.spoof',
  'bailiff.v1.verdicts.high.shop.web-0.5f1d3c7a',
  'bailiff.v1.responses.delete.shop.web-0.5f1d3c7a',
  'bailiff.v1.deadletters.violations.foreign-pod.1',
  'bailiff.v1.siem.ocsf.detection-finding.shop',
  '$KV.bailiff_pods.node-b',
  '$KV.bailiff_pods._cluster',
  '$KV.bailiff_quarantine.node-b',
  '$KV.bailiff_config.spoof.cluster._.default',
  '$KV.bailiff_schemas.fp-0000000000000000',
  '$KV.bailiff_nodes.node-b',
  '$KV.bailiff_services.correlator.host-1',
  '$KV.bailiff_siem.violations',
];
/** Subjects of other identities' subscriptions. */
const LISTENERS = [
  'bailiff.v1.push.bailiff_pods.node-b',
  'bailiff.v1.push.bailiff_pods._cluster',
  'bailiff.v1.push.bailiff_quarantine.node-b',
  'bailiff.v1.push.bailiff_config.spoof.cluster._.default',
  'bailiff.v1.capture.node-b',
  'bailiff.v1.siem.cef.detection-finding.shop',
];
const ACTIONS = [
  '$JS.API.STREAM.PURGE.VERDICTS',
  '$JS.API.STREAM.DELETE.RESPONSES',
  '$JS.API.STREAM.MSG.DELETE.VIOLATIONS',
  '$JS.API.CONSUMER.DELETE.SIEM.siem-ocsf',
  '$JS.API.CONSUMER.CREATE.VIOLATIONS.planted',
  '$JS.ACK.SIEM.siem-ocsf.1.1.1.1.0',
  'BUS.STREAM.INFO.KV_bailiff_config',
  '_R_.guess',
];
const REPLIES = [...VICTIMS, ...LISTENERS, ...ACTIONS];

/** The value that a push of the victim's pods would carry. */
const FORGED = {
  'Nats-Stream': 'KV_bailiff_pods',
  'Nats-Subject': '$KV.bailiff_pods.node-b',
  'Nats-Sequence': '99999',
  'Nats-Time-Stamp': '2026-01-01T00:00:00Z',
};

/**
 * Headers that a server acts on, now or in a later version, and headers by which readers identify a
 * message.
 */
const HEADERS: Record<string, string>[] = [
  { 'Nats-Rollup': 'all' },
  { 'Nats-Rollup': 'sub' },
  { 'Nats-TTL': '1s' },
  {
    'Nats-Schedule': '@at 2026-01-01T00:00:00Z',
    'Nats-Schedule-Target': 'bailiff.v1.verdicts.high.shop.web-0.5f1d3c7a',
  },
  {
    'Nats-Schedule': '@every 1s',
    'Nats-Schedule-Target': '$KV.bailiff_config.spoof.cluster._.default',
    'Nats-Schedule-TTL': '5m',
  },
  { 'Nats-Expected-Stream': 'VERDICTS' },
  { 'Nats-Expected-Last-Sequence': '0' },
  {
    'Nats-Expected-Last-Subject-Sequence': '1',
    'Nats-Expected-Last-Subject-Sequence-Subject': '$KV.bailiff_nodes.node-b',
  },
  { 'Nats-Marker-Reason': 'Purge' },
  { 'KV-Operation': 'PURGE' },
  { 'Nats-Incr': '+1' },
  { 'Nats-Batch-Id': 'one', 'Nats-Batch-Sequence': '1', 'Nats-Batch-Commit': '1' },
  FORGED,
  { 'Nats-Msg-Id': 'guessed' },
];

/** Every verb of JetStream's API, of a stream and of a consumer. */
const STREAM_VERBS = [
  ...['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'INFO', 'MSG.GET', 'MSG.DELETE', 'SNAPSHOT', 'RESTORE'],
  ...['LEADER.STEPDOWN', 'PEER.REMOVE', 'PEER.EVACUATE', 'MOVE', 'CANCEL_MOVE'],
];
const CONSUMER_VERBS = ['INFO', 'DELETE', 'PAUSE', 'UNPIN', 'RESET', 'LEADER.STEPDOWN', 'MSG.NEXT', 'DURABLE.CREATE'];
const ACCOUNT_VERBS = [
  'INFO',
  'STREAM.LIST',
  'STREAM.NAMES',
  'META.LEADER.STEPDOWN',
  'SERVER.REMOVE',
  'ACCOUNT.PURGE.X',
];

const apiSubjects = (prefix: string): string[] => [
  ...ACCOUNT_VERBS.map((verb) => `${prefix}.${verb}`),
  ...STREAMS.flatMap((stream) => [
    ...STREAM_VERBS.map((verb) => `${prefix}.STREAM.${verb}.${stream}`),
    ...['NAMES', 'LIST', 'CREATE'].map((verb) => `${prefix}.CONSUMER.${verb}.${stream}`),
    `${prefix}.CONSUMER.CREATE.${stream}.planted`,
    `${prefix}.CONSUMER.CREATE.${stream}.planted.>`,
    ...CONSUMER_VERBS.map((verb) => `${prefix}.CONSUMER.${verb}.${stream}.siem-ocsf`),
    `${prefix}.DIRECT.GET.${stream}`,
  ]),
];

/** A subject of an allow-list with its wildcards filled in. */
export const concrete = (subject: string) =>
  subject.replace(/\.>$/, '.spoof.cluster._.default').replaceAll(/(?<=\.)\*(?=\.|$)/g, 'node-b');

/** Bodies that the API accepts. A consumer delivers to each reply subject. */
function bodiesFor(subject: string): string[] {
  if (subject.includes('.DIRECT.GET.') || subject.includes('.MSG.GET.')) {
    return [
      '',
      '{"seq":1}',
      '{"last_by_subj":">"}',
      '{"seq":1,"batch":10}',
      '{"multi_last":[">"],"batch":10}',
      '{"seq":999999}',
    ];
  }
  if (subject.includes('.MSG.NEXT.')) return ['{"batch":1,"no_wait":true}', '{"batch":1,"expires":1000000}', ''];
  if (subject.includes('.CONSUMER.CREATE.')) {
    const [, , , , stream] = subject.split('.');
    return ['', ...REPLIES].map((deliver_subject) =>
      JSON.stringify({ stream_name: stream, config: { name: 'planted', ack_policy: 'none', deliver_subject } }),
    );
  }
  return [subject.includes('.API.') || subject.startsWith('BUS.') ? '{}' : 'attack:'];
}

/**
 * Content of the bus: each message of each stream as text, and the configuration of streams and
 * consumers.
 */
export type Content = Map<string, string>;

export async function contentOf(admin: Bus): Promise<Content> {
  const content: Content = new Map();
  for (const stream of STREAMS) {
    const info = await admin.jsm.streams.info(stream).catch(() => null);
    if (!info) continue;
    const { config, state } = info;
    content.set(`stream ${stream}`, JSON.stringify(config));
    for await (const { config: consumer } of admin.jsm.consumers.list(stream)) {
      content.set(`consumer ${stream} ${consumer.name}`, JSON.stringify(consumer));
    }
    for (let sequence = state.first_seq; sequence <= state.last_seq; sequence += 1) {
      const message = await admin.jsm.streams.getMessage(stream, { seq: sequence }).catch(() => null);
      if (!message) continue;
      const head = message.header ? [...message.header.keys()].map((key) => [key, message.header.values(key)]) : [];
      const text = JSON.stringify({ head, status: message.header?.code ?? 0, data: message.string() });
      content.set(`message ${stream} ${sequence} ${message.subject}`, text);
    }
  }
  return content;
}

/** Changes that the identity was not allowed to make. */
function unexpected(before: Content, after: Content, identity: Identity): string[] {
  const own = ownSubjects(identity);
  const found: string[] = [];
  for (const [key, text] of before) {
    const [what, , , subject = ''] = key.split(' ');
    // A bucket keeps the newest value of a key, and the identity may replace it where it may write.
    if (after.get(key) !== text && !(what === 'message' && own(subject))) found.push(`gone or changed: ${key}`);
  }
  for (const [key, text] of after) {
    const [what, , , subject = ''] = key.split(' ');
    if (before.has(key) || (what === 'message' && own(subject))) continue;
    found.push(`new: ${key} ${text.slice(0, 200)}`);
  }
  return found;
}

/** Whether an identity may publish on a subject itself. */
function ownSubjects(identity: Identity): (subject: string) => boolean {
  const { allow } = permissionsFor(identity).publish;
  // CONFIG_LOG copies each value of the bucket.
  return (subject) => {
    const written = subject.replace(/^bailiff\.v1\.config\./, '$KV.bailiff_config.');
    return allow.some((pattern) => matches(pattern, written));
  };
}

/** Messages that the copies of buckets then have. */
const COPIES = { CONFIG_LOG: 1, LATEST_bailiff_config: 1, LATEST_bailiff_pods: 2, LATEST_bailiff_quarantine: 1 };

/** Stores a message under each victim's subject, as the admin; resolves when the copies in other streams are there too. */
export async function seed(admin: Bus): Promise<void> {
  for (const subject of [...VICTIMS, '$KV.bailiff_nodes.node-a', 'bailiff.v1.siem.ecs.detection-finding.shop']) {
    await admin.js.publish(subject, `true content of ${subject}`);
  }
  for (const [copy, messages] of Object.entries(COPIES))
    await waitFor(async () => (await admin.jsm.streams.info(copy)).state.messages === messages, { what: copy });
}

/**
 * Messages that reach subscriptions of other identities, except pushes of values that the identity
 * may write itself.
 */
async function listen(nats: Pick<TestNats, 'connect'>, identity: Identity): Promise<Set<string>> {
  const received = new Set<string>();
  const own = ownSubjects(identity);
  // Connectors of one SIEM share a credential. A delivery to their live subjects affects no other
  // identity.
  const isLive = (subject: string) => identity.role !== 'siem-reader' || !subject.includes('.siem.');
  const isPush = ({ subject }: Msg) => own(subject.replace('bailiff.v1.push.', '$KV.'));
  for (const [user, subjects] of [
    ['push-node-b', LISTENERS.filter((subject) => !subject.includes('.siem.'))],
    ['siem-reader', ['bailiff.v1.siem.>']],
  ] as const) {
    const bus = await nats.connect(user);
    for (const subject of subjects.filter(isLive)) {
      bus.nc.subscribe(subject, {
        callback: (_, message) => {
          if (!isPush(message))
            received.add(`${user} received on ${message.subject}: ${message.string().slice(0, 200)}`);
        },
      });
    }
    await bus.nc.flush();
  }
  return received;
}

export interface Outcome {
  attempts: number;
  unexpected: string[];
}

/** Lets an identity try everything on its connection. */
export async function tryEverything(
  nats: Pick<TestNats, 'connect'>,
  attacker: Bus,
  identity: Identity,
): Promise<Outcome> {
  const admin = await nats.connect('admin');
  const before = await contentOf(admin);
  const received = await listen(nats, identity);
  let attempts = 0;
  const publish = (subject: string, body: string, reply: string, fields: Record<string, string> = {}) => {
    const headers = newHeaders();
    for (const [name, value] of Object.entries(fields)) headers.append(name, value);
    attempts += 1;
    attacker.nc.publish(subject, body, { reply, ...(Object.keys(fields).length > 0 ? { headers } : {}) });
  };
  // An identity that may respond sends itself requests with reply subjects on which it may not
  // publish.
  attacker.nc.subscribe(`${attacker.inboxPrefix}.>`, {
    callback: (error, message) => {
      if (error) return;
      const headers = newHeaders();
      for (const [name, value] of Object.entries(FORGED)) headers.append(name, value);
      message.respond('attack:', { headers });
    },
  });
  for (const reply of REPLIES) publish(`${attacker.inboxPrefix}.self`, 'attack:', reply);
  await attacker.nc.flush();
  const allowed = permissionsFor(identity).publish.allow.map(concrete);
  for (const subject of allowed) {
    for (const body of bodiesFor(subject)) for (const reply of REPLIES) publish(subject, body, reply);
    for (const fields of HEADERS)
      for (const reply of REPLIES) publish(subject, bodiesFor(subject)[0] ?? '', reply, fields);
    for (const dest of REPLIES) publish(subject, 'attack:', attacker.inboxPrefix, { 'Nats-Trace-Dest': dest });
    await attacker.nc.flush();
  }
  for (const subject of [...apiSubjects('$JS.API'), ...apiSubjects('BUS')]) {
    for (const body of bodiesFor(subject)) publish(subject, body, REPLIES[attempts % REPLIES.length] as string);
    await attacker.nc.flush();
  }
  for (const subject of REPLIES) publish(subject, 'attack:', attacker.inboxPrefix);
  await attacker.nc.flush();
  const after = await settled(admin);
  return { attempts, unexpected: [...unexpected(before, after, identity), ...received] };
}

/** The content after a moment without new messages. */
export async function settled(admin: Bus): Promise<Content> {
  const counts = async () => {
    const all = await Promise.all(STREAMS.map((stream) => admin.jsm.streams.info(stream).catch(() => null)));
    return all.map((info) => `${info?.config.name} ${info?.state.last_seq} ${info?.state.messages}`).join();
  };
  let last = '';
  await waitFor(
    async () => {
      const now = await counts();
      const same = now === last;
      last = now;
      return same;
    },
    { what: 'the streams to settle', intervalMs: 400, state: () => last },
  );
  return contentOf(admin);
}

/** Every identity outside the core account that logs in by a password. */
export const OUTSIDE: Identity[] = [
  { role: 'collector', node: 'node-a' },
  { role: 'push', node: 'node-a' },
  { role: 'cli' },
  { role: 'console' },
  { role: 'evidence-log' },
  { role: 'reader' },
  { role: 'siem-reader' },
];

/** Users with the same rights in one account, where JetStream needs no import. */
export function inOneAccount(users: readonly NatsUser[]): NatsUser[] {
  const direct = (subject: string) => subject.replace(/^BUS\./, '$JS.API.');
  return users.map((user) => {
    const publish = { allow: user.permissions.publish.allow.map(direct) };
    return { ...user, account: CORE, permissions: { ...user.permissions, publish } };
  });
}

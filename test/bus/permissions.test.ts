/**
 * Every identity tries everything. The table says who may; each line is tried by all, so that every refusal has somebody beside it
 * for whom the same is allowed. The server of the table has no streams: what is allowed reaches nobody, and does no harm.
 */
import {
  apiRequest,
  type Bus,
  consumeOrdered,
  FramePublisher,
  type Identity,
  inboxPrefixFor,
  openBucket,
  SnapshotReader,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { errors } from '@nats-io/nats-core';
import { expect, test } from 'vitest';
import { startBus, text, underWay } from './support.ts';

const NODES = ['node-a', 'node-b.example'];
const [NODE_A, NODE_B] = NODES as [string, string];
const COLLECTORS = NODES.map((node) => `collector-${node}`);
const ROLES = ['admin', 'correlator', 'responder', 'ipam-sync', 'cli', 'reader', 'siem-relay', 'siem-reader'];
const EVERYBODY = [...ROLES, ...COLLECTORS];

/** Who may, beside the admin. */
interface Line {
  subject: string;
  who: string[];
}
const line = (subject: string, ...who: string[]): Line => ({ subject, who: ['admin', ...who] });
const A = `collector-${NODE_A}`;
const B = `collector-${NODE_B}`;

/** What an ordered consumer on a stream needs, and who may. */
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
  line('bailiff.v1.verdicts.high.default.web.abc', 'correlator'),
  line('bailiff.v1.responses.delete.default.web.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.quarantine.default.web.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.cordon._._.abc', 'responder', 'cli'),
  line('bailiff.v1.responses.delete.default.web.abc.more', 'responder'),
  line('bailiff.v1.replay.case-7.violations.0.node-a.spoof', 'cli'),
  line('bailiff.v1.deadletters.violations.foreign-pod.1', 'correlator'),
  line('bailiff.v1.deadletters.verdicts.max-deliveries.1', 'responder'),
  line('bailiff.v1.config.spoof.cluster._.default'),
  line('bailiff.v1.push.bailiff_pods.node-a'),
  line('bailiff.v1.push.bailiff_config.spoof.cluster._.default'),
  line('bailiff.v1.anything'),
  // Buckets.
  line('$KV.bailiff_nodes.node-a', A),
  line('$KV.bailiff_nodes.node-b_example', B),
  line('$KV.bailiff_pods.node-a', 'ipam-sync'),
  line('$KV.bailiff_pods._cluster', 'ipam-sync'),
  line('$KV.bailiff_quarantine.node-a', 'responder', 'cli'),
  line('$KV.bailiff_config.spoof.cluster._.default', 'cli'),
  line('$KV.bailiff_schemas.fp-0000000000000000'),
  line('$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods.node-a', A, 'correlator', 'responder', 'ipam-sync', 'cli'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods.node-b_example',
    B,
    'correlator',
    'responder',
    'ipam-sync',
    'cli',
  ),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_pods.$KV.bailiff_pods._cluster',
    A,
    B,
    'correlator',
    'responder',
    'ipam-sync',
    'cli',
  ),
  line('$JS.API.DIRECT.GET.KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine.$KV.bailiff_quarantine.node-a', A, 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine.$KV.bailiff_quarantine.node-b_example', B, 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_quarantine', 'responder', 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_nodes.$KV.bailiff_nodes.node-a', A, 'cli'),
  line('$JS.API.DIRECT.GET.KV_bailiff_nodes.$KV.bailiff_nodes.node-b_example', B, 'cli'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_config.$KV.bailiff_config.spoof.cluster._.default',
    A,
    B,
    'responder',
    'ipam-sync',
    'cli',
  ),
  line('$JS.API.DIRECT.GET.KV_bailiff_config', A, B, 'responder', 'ipam-sync', 'cli'),
  line(
    '$JS.API.DIRECT.GET.KV_bailiff_schemas.$KV.bailiff_schemas.fp-0000000000000000',
    'correlator',
    'responder',
    'cli',
    'reader',
    'siem-relay',
  ),
  // Events for SIEMs: one writes them, the other reads them and nothing else.
  line('bailiff.v1.siem.ocsf.detection-finding.default', 'siem-relay'),
  line('$KV.bailiff_siem.violations', 'siem-relay'),
  line('$JS.API.DIRECT.GET.KV_bailiff_siem.$KV.bailiff_siem.violations', 'siem-relay'),
  ...ordered('KV_bailiff_siem'),
  line('$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', 'siem-relay', 'siem-reader'),
  line('$JS.API.CONSUMER.INFO.SIEM.siem-ocsf', 'siem-reader'),
  line('$JS.ACK.SIEM.siem-ocsf.1.1.1.1.0', 'siem-reader'),
  line('$JS.ACK.SIEM.other.1.1.1.1.0'),
  line('$JS.API.DIRECT.GET.SIEM', 'siem-relay'),
  line('$JS.API.STREAM.INFO.SIEM', 'siem-relay', 'cli'),
  line('$JS.API.STREAM.INFO.KV_bailiff_siem', 'cli'),
  line('$JS.API.STREAM.PURGE.SIEM'),
  ...ordered('SIEM', 'siem-relay'),
  // Streams.
  ...ordered('VIOLATIONS', 'correlator', 'cli', 'reader', 'siem-relay'),
  ...ordered('VERDICTS', 'responder', 'cli', 'reader', 'siem-relay'),
  ...ordered('RESPONSES', 'responder', 'cli', 'reader', 'siem-relay'),
  ...ordered('CONFIG_LOG', 'correlator', 'responder', 'cli'),
  ...ordered('DEAD_LETTERS', 'correlator', 'cli'),
  ...ordered('KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync', 'cli'),
  ...ordered('KV_bailiff_quarantine', 'responder', 'cli'),
  ...ordered('KV_bailiff_config', 'responder', 'ipam-sync', 'cli'),
  ...ordered('KV_bailiff_nodes', 'cli'),
  ...ordered('KV_bailiff_schemas'),
  line('$JS.API.DIRECT.GET.VIOLATIONS', 'correlator', 'cli', 'reader', 'siem-relay'),
  line('$JS.API.DIRECT.GET.VERDICTS', 'correlator', 'responder', 'cli', 'reader', 'siem-relay'),
  line('$JS.API.DIRECT.GET.RESPONSES', 'responder', 'cli', 'reader', 'siem-relay'),
  line('$JS.API.DIRECT.GET.DEAD_LETTERS', 'correlator', 'cli'),
  line('$JS.API.STREAM.INFO.VIOLATIONS', 'correlator', 'responder', 'cli', 'reader', 'siem-relay'),
  line('$JS.API.STREAM.INFO.CONFIG_LOG', 'correlator', 'responder', 'cli'),
  line('$JS.API.STREAM.INFO.KV_bailiff_config', A, B, 'responder', 'ipam-sync', 'cli'),
  line('$JS.API.STREAM.INFO.KV_bailiff_pods', 'correlator', 'responder', 'ipam-sync', 'cli'),
  // Other ways to the same ends: only the admin.
  line('$JS.API.CONSUMER.CREATE.VERDICTS'),
  line('$JS.API.CONSUMER.DURABLE.CREATE.VERDICTS.one'),
  line('$JS.API.CONSUMER.NAMES.VERDICTS'),
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
  // What the server would believe.
  line('$SYS.REQ.SERVER.PING'),
  line('_INBOX_responder.forged.answer'),
  line(`${inboxPrefixFor({ role: 'collector', node: NODE_B })}.forged.answer`),
];

const inboxes = (): Line[] => {
  const identities: Identity[] = [
    ...ROLES.filter((role) => role !== 'admin').map((role) => ({ role }) as Identity),
    ...NODES.map((node) => ({ role: 'collector' as const, node })),
  ];
  return identities.map((identity) => ({ subject: `${inboxPrefixFor(identity)}.>`, who: [userOf(identity)] }));
};
const SUBSCRIBE: Line[] = [
  ...inboxes(),
  { subject: '_INBOX_admin.>', who: ['admin'] },
  line('bailiff.v1.push.bailiff_pods.node-a', A),
  line('bailiff.v1.push.bailiff_pods.node-b_example', B),
  line('bailiff.v1.push.bailiff_pods._cluster', A, B),
  line('bailiff.v1.push.bailiff_quarantine.node-a', A),
  line('bailiff.v1.push.bailiff_quarantine.node-b_example', B),
  line('bailiff.v1.push.bailiff_config.>', A, B),
  line('bailiff.v1.push.bailiff_config.spoof.>', A, B),
  line('bailiff.v1.push.bailiff_pods.*'),
  line('bailiff.v1.push.>'),
  line('bailiff.v1.violations.>'),
  line(violationSubject(NODE_A, 'spoof')),
  line('bailiff.v1.verdicts.>'),
  line('bailiff.v1.replay.>', 'reader'),
  line('bailiff.v1.siem.>', 'siem-reader'),
  line('bailiff.v1.siem.ocsf.*.default', 'siem-reader'),
  line('bailiff.v1.>'),
];
/** Nobody at all, the admin neither. */
const NOBODY = ['>', '*.>', '_INBOX.>', '_INBOX*', '$KV.>', '$KV.bailiff_pods.>', '$JS.>', '$SYS.>', '*'];

/** Tries a publish or a subscription and answers whether the server let it be. The flush comes back after the refusal. */
async function tryIt(bus: Bus, what: 'publish' | 'subscribe', subject: string): Promise<boolean> {
  let refused = false;
  const listener = (status: { type: string; error?: Error }) => {
    const cause = status.error?.cause;
    if (cause instanceof errors.PermissionViolationError && cause.subject === subject) refused = true;
  };
  bus.statusListeners.add(listener);
  if (what === 'publish') bus.nc.publish(subject, '{}');
  else bus.nc.subscribe(subject, { callback: () => undefined });
  await bus.nc.flush();
  // The client tells of errors through an iterator, a turn later than it reads them.
  await new Promise((resolve) => setImmediate(resolve));
  bus.statusListeners.delete(listener);
  return !refused;
}

test('permissions - every identity against every subject', async () => {
  await using nats = await startNats({ users: testUsers(NODES) });
  const buses = new Map(await Promise.all(EVERYBODY.map(async (user) => [user, await nats.connect(user)] as const)));
  const wrong: string[] = [];
  let tried = 0;
  const check = async (what: 'publish' | 'subscribe', { subject, who }: Line) => {
    const may: string[] = [];
    for (const [user, bus] of buses) if (await tryIt(bus, what, subject)) may.push(user);
    tried += buses.size;
    const [is, shall] = [may.sort().join(', '), [...new Set(who)].sort().join(', ')];
    if (is !== shall) wrong.push(`${what} ${subject}: may [${is}], shall [${shall}]`);
  };
  for (const one of PUBLISH) await check('publish', one);
  for (const one of SUBSCRIBE) await check('subscribe', one);
  for (const subject of NOBODY) await check('subscribe', { subject, who: [] });
  expect(wrong).toEqual([]);
  expect(tried).toBe((PUBLISH.length + SUBSCRIBE.length + NOBODY.length) * EVERYBODY.length);
  for (const { subject, who } of [...PUBLISH, ...SUBSCRIBE]) expect(who.length, subject).toBeGreaterThan(0);
}, 120_000);

test('permissions - a stolen node credential: it speaks for its own node and reads its own keys, and no more', async () => {
  await using nats = await startBus();
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  await pods.put('node-a', 'of a');
  await pods.put('node-b', 'of b');
  const thief = await nats.connect('collector-node-a', { timeoutMs: 1_000 });
  const mine = openBucket(thief, 'bailiff_pods');
  expect((await mine.get('node-a'))?.value.toString()).toBe('of a');
  await expect(mine.get('node-b')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.put('node-a', 'forged')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.next(1)).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await expect(mine.keys()).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  const config = openBucket(thief, 'bailiff_config');
  await expect(config.put('spoof.cluster._.default', '{}')).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  expect(await config.get('spoof.cluster._.default')).toBeNull();
  const publish = (node: string) =>
    apiRequest(thief, violationSubject(node, 'spoof'), Buffer.from('x')).then(
      () => 'stored',
      (error: { code: string }) => error.code,
    );
  expect([await publish('node-a'), await publish('node-b')]).toEqual(['stored', 'BUS_PERMISSION']);
  const reading = underWay(
    consumeOrdered(thief, 'VIOLATIONS', {
      start: 'all',
      onMessage: () => undefined,
      signal: AbortSignal.timeout(5_000),
    }),
  );
  await expect(reading).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
});

test('permissions - two names of nodes that differ by a dot and a dash are two nodes', async () => {
  await using nats = await startNats({ users: testUsers(['node.a', 'node-a']) });
  const dotted = await nats.connect('collector-node.a');
  expect(await tryIt(dotted, 'publish', violationSubject('node.a', 'spoof'))).toBe(true);
  expect(await tryIt(dotted, 'publish', violationSubject('node-a', 'spoof'))).toBe(false);
});

test('permissions - a message that is delivered to a push subject by a consumer of somebody else is no push', async () => {
  await using nats = await startBus();
  const entries: string[] = [];
  const victim = await nats.connect('collector-node-b');
  const snapshots = new SnapshotReader(victim, 'bailiff_pods', 'node-b', {
    onSnapshot: (entry) => entries.push(text(entry)),
    rereadMs: 3_600_000,
  });
  let landed = 0;
  victim.nc.subscribe('bailiff.v1.push.bailiff_pods.node-b', {
    callback: () => {
      landed += 1;
    },
  });
  await waitFor(() => snapshots.confirmedAtMs > 0);
  // Two stolen identities together: one may store what it likes under its node, the other may make consumers.
  const reader = await nats.connect('reader');
  const targets = ['bailiff.v1.push.bailiff_pods.node-b', '$KV.bailiff_pods.node-b', '$JS.API.STREAM.DELETE.RESPONSES'];
  for (const [index, deliver_subject] of targets.entries()) {
    const config = {
      name: `evil${index}`,
      deliver_subject,
      ack_policy: 'none',
      deliver_policy: 'all',
      replay_policy: 'instant',
    };
    await apiRequest(reader, `$JS.API.CONSUMER.CREATE.VIOLATIONS.evil${index}`, { stream_name: 'VIOLATIONS', config });
  }
  const thief = new FramePublisher(await nats.connect('collector-node-a'));
  const headers = { 'Nats-Subject': '$KV.bailiff_pods.node-b', 'Nats-Sequence': '99999' };
  await thief.publish(violationSubject('node-a', 'spoof'), Buffer.from('forged'), { msgId: 'x', headers });
  await waitFor(() => landed === 1, { what: 'the forged message to arrive' });
  await waitFor(() => snapshots.refused === 1, { what: 'its refusal' });
  const pods = openBucket(await nats.connect('ipam-sync'), 'bailiff_pods');
  expect(await pods.get('node-b')).toBeNull();
  await pods.put('node-b', 'true');
  await waitFor(() => entries.length === 1, { what: 'the true push', state: () => entries });
  expect(entries).toEqual(['true']);
  const admin = await nats.connect('admin');
  expect((await admin.jsm.streams.info('RESPONSES')).config.name).toBe('RESPONSES');
  snapshots.close();
});

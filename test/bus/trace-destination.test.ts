// Headers that one server of a cluster does not find and the next one does: an import rewrites the
// headers of a request, and removes a line that hid `Nats-Trace-Dest`. The next server publishes a
// trace of the message to that subject with the rights of the route (libs/bus/src/auth/server-conf.ts).
// Servers before 2.11 trace nothing.
import { type Bus, ensureTopology, type Identity, permissionsFor, userOf } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { startThree } from '../support/bus.ts';
import { RawNats } from '../support/raw-nats.ts';
import { type Content, concrete, OUTSIDE, seed, settled } from './rights.ts';

const USERS = testUsers(['node-a', 'node-b']);
/** The rights of routes in the configuration. */
const ROUTE_RIGHTS = /permissions \{\n\s+import: \{[^}]*\}\n\s*\}/g;
/** Subjects that no trace may reach. */
const PROTECTED = [
  'bailiff.v1.violations.7.node-b.spoof',
  'bailiff.v1.verdicts.high.shop.web-0.planted',
  'bailiff.v1.responses.delete.shop.web-0.planted',
  'bailiff.v1.deadletters.violations.foreign-pod.9',
  '$KV.bailiff_config.spoof.cluster._.default',
  '$KV.bailiff_services.correlator.host-1',
  '$KV.bailiff_pods._cluster',
  '$JS.API.ACCOUNT.PURGE.BAILIFF',
  '$JS.API.META.LEADER.STEPDOWN',
  '$JS.API.STREAM.PURGE.VERDICTS',
  '$JS.API.STREAM.LEADER.STEPDOWN.VERDICTS',
  '$JS.API.CONSUMER.CREATE.SIEM',
  '$JS.API.CONSUMER.DELETE.SIEM.siem-ocsf',
  '$SYS.REQ.SERVER.PING.RELOAD',
];
/** Reachable, as docs/threat-model.md says: the marker of a delivered trace. */
const OPEN = '$KV.bailiff_quarantine.traced';

const traced = (destination: string) =>
  `NATS/1.0\r\nJ\r\nNats-Request-Info: z\r\nNats-Trace-Dest: trace disabled\r\nNats-Trace-Dest: ${destination}\r\n\r\n`;

/** Sends each request that an identity may make to two servers of the cluster, with each destination. */
async function sendAll(servers: readonly TestNats[], identity: Identity, destinations: readonly string[]) {
  const user = userOf(identity);
  const subjects = permissionsFor(identity).publish.allow.map(concrete);
  const { password = '' } = USERS.find((one) => one.user === user) ?? {};
  for (const { port } of servers) {
    await using raw = await RawNats.connect({ port, user, password });
    for (const subject of subjects) {
      for (const to of destinations) {
        raw.publish({ subject, header: traced(to), body: '{}', reply: `_INBOX_${user}.raw` });
      }
    }
    await raw.flush();
  }
  return servers.length * subjects.length * destinations.length;
}

/** Subjects with a message that is a trace. */
const tracesIn = (content: Content): string[] => {
  const found = [...content].filter(([, text]) => text.includes('Nats-Trace-Dest') && text.includes('\\"events\\"'));
  return [...new Set(found.map(([key]) => key.split(' ')[3] as string))].sort();
};
const topologyIn = (content: Content): string[] =>
  [...content.keys()].filter((key) => !key.startsWith('message ')).sort();

/** Servers before 2.11 trace nothing. */
const traces = ({ nc }: Bus): boolean => Number(/^2\.(\d+)/.exec(nc.info?.version ?? '')?.[1]) >= 11;

test('trace destination - a client outside the core reaches no API and none of these subjects', async () => {
  await using servers = await startThree({ users: USERS });
  const { first, second, admin } = servers;
  await seed(admin);
  const before = await settled(admin);
  for (const identity of OUTSIDE) {
    const sent = await sendAll([first, second], identity, [...PROTECTED, OPEN]);
    const after = await settled(admin);
    expect(
      tracesIn(after).filter((subject) => PROTECTED.includes(subject)),
      `${userOf(identity)}: ${sent} sent`,
    ).toEqual([]);
    expect(topologyIn(after)).toEqual(topologyIn(before));
  }
  // The attempts worked: this subject is open.
  expect(tracesIn(await settled(admin)).includes(OPEN)).toBe(traces(admin));
}, 120_000);

test('trace destination - control: without the rights of routes they are reached, and JetStream can be ended', async () => {
  await using servers = await startThree({ users: USERS, without: ROUTE_RIGHTS });
  const { first, second, admin } = servers;
  if (!traces(admin)) return;
  await seed(admin);
  await sendAll([first, second], { role: 'collector', node: 'node-a' }, PROTECTED);
  const stored = PROTECTED.filter((subject) => !/^\$(JS|SYS)/.test(subject)).sort();
  const reached = tracesIn(await settled(admin)).filter((subject) => stored.includes(subject));
  expect(reached).toEqual(stored);
  // Why only operators may request the state of a stream: the request reaches the system account.
  await sendAll([first, second], { role: 'cli' }, ['$JS.API.ACCOUNT.PURGE.BAILIFF']);
  const streams = async () => (await settled(admin)).size;
  await waitFor(async () => (await streams()) === 0, { what: 'all streams to be deleted', state: streams });
}, 120_000);

test('trace destination - a single server publishes none of these traces', async () => {
  await using nats = await startNats({ users: USERS });
  const admin = await nats.connect('admin');
  await ensureTopology(admin);
  await seed(admin);
  for (const identity of OUTSIDE) await sendAll([nats], identity, [...PROTECTED, OPEN]);
  expect(tracesIn(await settled(admin))).toEqual([]);
});

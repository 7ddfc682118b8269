/** What processes share on their machine and on NATS and Valkey: memory groups, limits of servers. */
import { KERNEL_MAPS, OPEN, type Share } from './share.ts';

const ACCOUNTS = 'libs/bus/src/auth/accounts.ts';
const SERVER = 'libs/bus/src/topology/server-limits.ts';
const PACE = 'libs/bus/src/connection/node-pace.ts';
const SHARES = 'apps/bus-auth/src/connection-shares.ts';

export const IN_NATS: readonly Share[] = [
  {
    what: 'connections',
    file: 'libs/bus/src/auth/server-conf.ts',
    limits: [
      '`max_connections`, 65,536, and `tls.timeout`, 2 s, the defaults of nats-server',
      `${SERVER}#AUTH_TIMEOUT_S`,
    ],
    filledBy: 'everyone who reaches port 4222',
    share: `${OPEN}none by source, which nats-server cannot limit: one pod can hold 64,512 (16 kB each) by repeating each within AUTH_TIMEOUT_S, and two all. A connection that does not complete its TLS handshake takes 37 kB for 2 s. \`networkPolicies.natsClients\` of the chart names who reaches the port, where network policies are enforced`,
    whenFull: 'further clients retry; collectors keep enforcing and counting',
    counter: 'NATS `/varz`',
    tests: ['test/cluster/bus-auth-attack.test.ts', 'test/bus/partial-handshakes.test.ts'],
  },
  {
    what: 'subscriptions and message size of a connection',
    file: ACCOUNTS,
    limits: [
      `${SERVER}#MAX_PAYLOAD_BYTES`,
      '`maxSubscriptions`, 100 outside the core account',
      '`MAX_SUBSCRIPTIONS`, 8 of `reader` and `siem-reader`',
      `${SERVER}#MAX_SUBSCRIPTION_TOKENS`,
    ],
    filledBy: 'clients with a credential',
    share:
      'each connection outside the core account; the tokens of a subscription are limited for every client. `cli` has 32 connections, `reader` 8, `siem-reader` and `console` 4 each; a user of a node those of the next row',
    whenFull: 'the subscription is refused; a larger message ends the connection',
    counter: 'NATS `/varz`',
    tests: ['test/bus/message-limits.test.ts', 'test/bus/server-memory.test.ts', 'test/cluster/bus-auth.test.ts'],
  },
  {
    what: 'connections of a node',
    file: SHARES,
    limits: [
      'MAX_CONNECTIONS_PER_USER',
      'apps/bus-auth/src/connection-guard.ts#MAX_RESETS_PER_MINUTE',
      'apps/bus-auth/src/connection-guard.ts#MAX_ENDS_PER_MINUTE',
      `${PACE}#NODE_MESSAGES_PER_SECOND`,
      `${PACE}#NODE_SENT_BYTES_PER_SECOND`,
      `${PACE}#NODE_BYTES_PER_SECOND`,
      `${PACE}#FRAMES_PER_SECOND`,
      `${PACE}#FRAME_BYTES_PER_SECOND`,
      `${PACE}#READS_PER_SECOND`,
      'libs/bus/src/auth/node-connections.ts#MAX_UNREAD_BYTES',
    ],
    filledBy: 'node credentials, by connections, and by requests without pause',
    share:
      'each of the two users of a node, by who logged in, on all servers. bus-auth reads the lists of the servers four times a second, with more than 1,250 connections less often. Collectors pace their frames and reads, so that they stay below',
    whenFull:
      'bus-auth ends the oldest connection of the address that has most; beyond the rates, after a second login on a connection or malformed data, or if one was closed with more than MAX_UNREAD_BYTES unread, all of the user. After too many messages or bytes of its own, a second login, malformed data or MAX_RESETS_PER_MINUTE, its logins then get no response for a minute; after MAX_ENDS_PER_MINUTE for other reasons, one in ten seconds does',
    counter: '`bailiff_bus_auth_connections_ended_total`, `bailiff_bus_auth_connections_watched`',
    tests: [
      'test/cluster/bus-auth-connections.test.ts',
      'test/cluster/bus-auth-second-login.test.ts',
      'test/bus/node-connections.test.ts',
    ],
  },
  {
    what: 'time of a publisher whose messages are delivered to a connection',
    file: ACCOUNTS,
    limits: ['4 connections of `siem-reader` and `console`, 8 of `reader`, 4 of each user of a node'],
    filledBy: 'clients that subscribe without pause: each delivery waits for the lock of their connection',
    share: `${OPEN}none but the number of connections. Measured on two busy cores: 16 connections of \`siem-reader\` let siem-relay store one event a second, 8 some ten, 4 from 40 to 260; by pulls instead of live events, 16 none and 4 some 3,500. Of \`reader\`, 16 had the same effect through the responses of siem-relay, and 8 left some hundred a second. Requests about streams took up to 5 s beside 8 of \`console\`, 0.3 s beside 4. Violations and verdicts took no longer than beside any other load: at most 0.8 s with those of a node that names its own inbox`,
    whenFull: 'the publisher waits; nothing is lost',
    counter: '`bailiff_siem_relay_lag_seconds`',
    tests: ['test/bus/subscription-churn.test.ts', 'test/bus/server-memory.test.ts'],
  },
  {
    what: 'data that a connection does not read',
    file: SERVER,
    limits: ['MAX_PENDING_BYTES', 'WRITE_DEADLINE_S'],
    filledBy: 'clients with a credential, by requests for large messages',
    share:
      'each connection. Until the write deadline the server serves also one that does not read. The sum is beyond the memory of the container for some tens of connections: 1.5 GiB for all of the users with passwords outside the core',
    whenFull: 'the server closes the connection',
    counter: 'NATS `/varz`: `slow_consumers`',
    tests: ['test/bus/server-memory.test.ts'],
  },
  {
    what: 'requests that wait for a response',
    file: ACCOUNTS,
    limits: ['RESPONSE_MS'],
    filledBy: 'clients with a credential outside the core account; a request takes up to 8 kB',
    share: `${OPEN}none: a pull of a SIEM connector takes 2 kB for 35 to 70 s, also if it was answered at once, and nats-server limits no rate. 16 connections sent 20,000 a second on two busy cores: 0.4 GiB after 20 s, and more than the 2 GiB of the container on a faster machine`,
    whenFull: 'never: they expire',
    counter: 'NATS `/accountz`',
    tests: ['test/bus/server-memory.test.ts'],
  },
  {
    what: 'requests to the API of JetStream',
    file: 'libs/bus/src/auth/permissions.ts',
    limits: ['10,000, the default of nats-server'],
    filledBy:
      'every client that may ask for the state of a stream (`STREAM.INFO`) or consumer (`CONSUMER.INFO`), or for a message (`STREAM.MSG.GET`): `cli`, `console`, `evidence-log` and the core. Connectors ask siem-relay, which sends one request at a time for each consumer',
    share: `none. Running collectors, correlators, responders and siem-relays do not depend on the queue, so verdicts and responses go on. ${OPEN}some thousand requests a second of one such client hold up what does: starts, new consumers, replays, commands, and the mirror of custom resources. Requests for a message under a filter that matches none cost most: in VERDICTS with 60,000 verdicts on two busy cores, eight connections of the console (it has four) left five stores a second, each after up to 4 s, and other requests waited for more than a minute behind them`,
    whenFull: 'the server drops all requests that wait, of all clients',
    counter: 'log of the server: `queue limit reached`',
    tests: ['test/bus/api-queue.test.ts', 'test/bus/service-reads.test.ts', 'test/cluster/api-flood.test.ts'],
  },
  {
    what: 'direct gets',
    file: 'libs/bus/src/auth/permissions.ts',
    limits: [],
    filledBy:
      'nodes, in the copies `LATEST_<bucket>`; `cli` and the core, in all streams. Readers ask siem-relay, one message a request, so their requests under filters that match none slow a stream down without blocking it: a verdict was stored within 0.9 s, half of them within 30 ms, beside 200,000 others on two busy cores; `console` and `evidence-log` have none',
    share: `none. While the server serves them, writes to the stream wait: it sends all responses first, and from 2.11 on compares each filter of a request with each subject. So nodes read copies that no identity writes: beside a flood of four connections, a write of a bucket took 15 to 20 ms. ${OPEN}reads by other nodes wait meanwhile, for minutes beside requests with 250,000 filters; pushes arrive, and nodes enforce what they have. Responses that wait are kept in memory, without a limit: with two connections that send faster than the server responds, 15 to 60 MB more each second, and 1.5 GiB after 15 s of a node that reads none of its lists of 100 kB. bus-auth ends such a node. [Several stolen nodes](../threat-model.md#several-stolen-nodes) at once add up, and one credential of \`cli\` has no such share, 1.6 GiB after ten seconds: above the memory of the container (2 GiB, \`GOMEMLIMIT\` 1,800 MiB; the request of 256 MiB is that of ordinary operation) the server is restarted`,
    whenFull: 'never: reads by other nodes wait',
    counter: '',
    tests: [
      'test/bus/node-reads.test.ts',
      'test/bus/read-responder.test.ts',
      'test/cluster/bus-auth-connections.test.ts',
    ],
  },
  {
    what: 'closed connections that the monitoring port lists',
    file: SERVER,
    limits: ['MAX_CLOSED_CLIENTS'],
    filledBy: 'everyone who reaches port 4222, by logins that fail; a name has up to 4 kB',
    share:
      'none. bus-auth also gets an event of each connection of a node that ends, so it misses no flood in short connections',
    whenFull: 'the oldest is forgotten',
    counter: '',
    tests: ['test/bus/server-memory.test.ts', 'test/bus/node-connections.test.ts'],
  },
  {
    what: 'message ids that the server remembers',
    file: 'libs/bus/src/topology/topology.ts',
    limits: ['SHORT_DUPLICATE_WINDOW_MS', 'COPIED_DUPLICATE_WINDOW_MS', 'DUPLICATE_WINDOW_MS'],
    filledBy: 'publishers; ids have up to 64 kB',
    share:
      'none. SIEM, which only the core writes, remembers them for the longest time, buckets with copies for the second, all others for the shortest. **Open:** `cli` can write such buckets: it took 1.9 GiB within 5 s on a disk in memory; on one that takes 56 MB/s it is a third of that',
    whenFull: 'never: they expire',
    counter: 'NATS `/jsz`',
    tests: ['test/bus/message-limits.test.ts'],
  },
  {
    what: 'consumers',
    file: 'libs/bus/src/auth/permissions.ts',
    limits: [`${SERVER}#DEFAULT_MAX_MEMORY_BYTES`],
    filledBy: 'identities of the core account: correlator, responder, ipam-sync, siem-relay. No other one creates any',
    share: 'none between them',
    whenFull: 'a further consumer is refused',
    counter: 'NATS `/jsz`',
    tests: ['test/bus/permissions.test.ts', 'test/bus/rights.test.ts'],
  },
  {
    what: 'disk',
    file: SERVER,
    limits: ['DEFAULT_MAX_FILE_BYTES'],
    filledBy: 'streams and buckets, each up to its limit, which is reserved at its creation',
    share: 'each stream: see above',
    whenFull: 'a stream is refused at its creation, never a message for want of the room of another stream',
    counter: 'status names a stream that does not write',
    tests: ['test/bus/topology.test.ts', 'test/cluster/bus-disk-full.test.ts'],
  },
  {
    what: 'writes: each is synced to the disk before its ack',
    file: 'libs/bus/src/auth/server-conf.ts',
    limits: ['the disk'],
    filledBy: 'node credentials and services',
    share: `${OPEN}none, and nats-server has no limit for a publisher: while one node credential publishes without pause, acks of the others take 3 s instead of 1 ms, and up to 20 s on a disk that syncs 150 times a second. From 2.11 on, a publish may have a condition about the last message under a filter (\`Nats-Expected-Last-Subject-Sequence-Subject\`), which the server compares with every subject of the stream before the next message: in VIOLATIONS with 4,000 subjects (2,000 nodes), each takes up to 0.3 ms of a processor. bus-auth ends a node above 500 messages a second. Measured on two cores with a load of 22: of three such nodes just below, the longest ack took 3 s, the median 4 ms; of five, more than 8 s and 85 ms. With fewer nodes in the cluster it is proportionally less. 2.10 ignores the filter`,
    whenFull: 'frames wait in the kernel counters of their nodes; nothing is lost',
    counter: '`bailiff_collector_frame_ack_seconds`',
    tests: ['test/cluster/correlator-flood.test.ts'],
  },
  {
    what: 'protocol lines that are no messages: PING, PONG, SUB, UNSUB',
    file: 'apps/bus-auth/src/connection-shares.ts',
    limits: ['MAX_CONNECTIONS_PER_USER'],
    filledBy:
      'clients with a credential; the list of connections does not count these lines, so bus-auth does not see them',
    share: `${OPEN}none but the number of connections. Measured with four connections of each node on two cores with a load of 20: beside one node that subscribes or sends PING without pause, acks of others took 0.6 s at most, median 0.1 s; beside five, 0.7 s for subscriptions and 3.9 s, median 1.3 s, for PING`,
    whenFull: 'acks come later; nothing is lost',
    counter: '`bailiff_collector_frame_ack_seconds`',
    tests: [],
  },
  {
    what: 'log of a server',
    file: 'libs/bus/src/auth/server-conf.ts',
    limits: ['the kubelet rotates it'],
    filledBy:
      'clients with a credential: each refused publish or subscription is a line of up to 4 kB. Refused subscriptions are no messages, so bus-auth does not see them',
    share: `${OPEN}none, and nats-server (2.10 to 2.15) has no setting for it: it limits the size of a log file, not of its standard output, and repeated errors of routes, not of clients; its list of connections does not count what it refused. One connection wrote 39 MB a second, and 60 MB cost a second of a processor. Acks of other nodes then took 0.7 s at most, beside three such nodes 1.1 s. The kubelet looks every ten seconds and keeps five files, so a flood removes older lines and takes up to 2 GB of the node's disk`,
    whenFull: 'the oldest lines are removed',
    counter: '',
    tests: [],
  },
];

/** Containers by their path in the values of the chart, complete by test. */
export const MEMORY_OF: Readonly<Record<string, Pick<Share, 'filledBy' | 'share' | 'whenFull' | 'tests'>>> = {
  collector: {
    filledBy: `interfaces, records and frames in flight of the node; ${KERNEL_MAPS}`,
    share: 'as the rows above, and those of the kernel maps',
    whenFull: 'it is restarted; the kernel continues to enforce and count',
    tests: ['test/chaos/collector-kill.test.ts'],
  },
  'collector.podEnds': {
    filledBy: 'guarded interfaces',
    share: 'fixed tables',
    whenFull: 'never',
    tests: ['test/kernel/guard-bypass.test.ts'],
  },
  correlator: {
    filledBy: 'violating pods within the longest timespan ([sizing](../operations.md#sizing))',
    share:
      'as the rows above: a node near all its limits takes 60 MB with seven rules, so only six such nodes together exceed the limit',
    whenFull: 'it is restarted and reads its timespan again; a replica is affected too',
    tests: ['test/cluster/correlator-kill.test.ts'],
  },
  responder: {
    filledBy: 'open verdicts and records',
    share: 'as the rows above',
    whenFull: 'it is restarted and reads the streams again',
    tests: ['test/cluster/responder-bounds.test.ts'],
  },
  ipamSync: {
    filledBy: 'objects of tenants',
    share: 'as the rows above',
    whenFull: 'it is restarted; collectors keep the last lists',
    tests: ['test/cluster/ipam-sync-scale.test.ts'],
  },
  console: {
    filledBy: 'visitors with different rights: a state of the page Now for each, and readings at a time',
    share: 'as in the rows of the console',
    whenFull: 'the container restarts; pages connect again by themselves',
    tests: ['test/cluster/console-visitors.test.ts'],
  },
  evidenceLog: {
    filledBy: 'messages since the last head',
    share: 'none: 65,536 messages, then a head is signed',
    whenFull: 'it is restarted and continues after its newest head',
    tests: ['test/cluster/evidence-log.test.ts'],
  },
  siemRelay: {
    filledBy: 'messages in work',
    share: 'as the rows above',
    whenFull: 'it is restarted and continues at its position',
    tests: ['test/cluster/siem-relay-kill.test.ts'],
  },
  busAuth: {
    filledBy: 'logins',
    share: 'as the rows above',
    whenFull: 'it is restarted; sessions continue',
    tests: ['test/cluster/bus-auth-operation.test.ts'],
  },
  busSetup: {
    filledBy: 'the Job itself: it creates the streams once',
    share: 'none: no pod, tenant or node uses it',
    whenFull: 'the Job starts again',
    tests: ['test/cluster/before-set-up.test.ts'],
  },
  nats: {
    filledBy: 'connections, subscriptions, message ids, and subjects of VERDICTS, RESPONSES and DEAD_LETTERS',
    share: 'as the rows above',
    whenFull: 'the server is restarted; clients connect again and lose nothing that was acknowledged',
    tests: ['test/bus/message-limits.test.ts', 'test/bus/reconnect.test.ts'],
  },
  redis: {
    filledBy: 'jobs of the responder, up to `maxmemory`: half of the limit',
    share: 'as the queues of jobs',
    whenFull: 'Valkey refuses jobs, and evicts none; scans add them again',
    tests: ['test/cluster/valkey.test.ts'],
  },
};

/** Streams, buckets and consumers: one row for each, complete by test. Their limits stand in streams.md. */
import { LATEST_STREAMS, latestStream } from '@bailiff/bus';
import { OPEN, type Share } from './share.ts';

type Row = Pick<Share, 'filledBy' | 'share' | 'counter' | 'tests'>;

const SKIPPED = '`bailiff_correlator_over_share_messages_total`; status names the node';

/** By name of the stream. `whenFull` is that of its configuration. */
export const STREAMS: Readonly<Record<string, Row>> = {
  VIOLATIONS: {
    filledBy: 'every node credential, under the subjects of its node',
    share: `${OPEN}none in the stream: one node credential can replace all 4 GiB within half a minute to a minute and a half (157 MB/s in memory, 56 MB/s on a synced disk). Readers have shares per node, verdicts keep their evidence, and SIEM has shares of its own. Of the smallest messages 65 million fit, which one credential sends in five hours below the rates of bus-auth; a correlator that starts then reads them first, a million in 3 s of a processor. nats-server limits the messages of a subject, not their bytes: 1,024 of the largest size for each of its two subjects would hold a node to half of the stream, and one pod with four frames a second could then displace the violations of its neighbours on the node within five minutes`,
    counter: SKIPPED,
    tests: ['test/cluster/correlator-flood.test.ts', 'test/bus/message-limits.test.ts'],
  },
  VERDICTS: {
    filledBy: 'the correlator, for violations of pods',
    share:
      'a namespace, or a node for verdicts about itself: a quarter of the verdicts per minute. None in the stream: a tenant that fills it shortens the history of all, and stops no verdict',
    counter: '`bailiff_correlator_verdicts_suppressed_total`, `bailiff_responder_stream_trimmed`; status',
    tests: ['test/cluster/streams-full.test.ts', 'libs/correlation/src/engine/verdict-cap.test.ts'],
  },
  RESPONSES: {
    filledBy: 'the responder, for verdicts; operators, one record per approval or release',
    share: `as VERDICTS, times the tasks of a verdict. Records that are still needed are stored again. ${OPEN}131,000 records of an operator's credential with names of 4 kB took 1.8 GiB of a server's memory, and 1.2 GiB after a restart`,
    counter: '`bailiff_responder_stream_trimmed`, `bailiff_responder_records_lost_total`; status',
    tests: ['test/cluster/streams-full.test.ts', 'test/cluster/responder-disk-full.test.ts'],
  },
  CONFIG_LOG: {
    filledBy: 'a copy of `bailiff_config`',
    share: 'each key: its newest revisions. The stream has room for all that the bucket can hold',
    counter: '',
    tests: ['test/bus/config-full.test.ts'],
  },
  ...Object.fromEntries(
    LATEST_STREAMS.map((stream) => [
      stream,
      {
        filledBy: `a copy of \`${stream.slice('LATEST_'.length)}\`, for nodes`,
        share: `each key: its newest revision. The stream has room for all that the bucket can hold${stream === latestStream('bailiff_pods') ? ', for lists as ipam-sync writes them' : ''}. **Open:** direct gets of one node credential delay those of others while they last; pushes arrive`,
        counter: '',
        tests: ['test/bus/bucket-reader.test.ts', 'test/bus/node-reads.test.ts', 'test/bus/config-full.test.ts'],
      },
    ]),
  ),
  DEAD_LETTERS: {
    filledBy: 'the correlator, for refused messages of a node; the responder, for unreadable verdicts and records',
    share:
      'a node: at most a quarter of the letters in a day (LETTERS_AT_ONCE), and of their bytes; beyond its bytes, letters hold 64 bytes of their frame. Letters of the responder have no share: only services and operators cause them. A replay refuses what letters that are gone may have refused',
    counter: '`bailiff_correlator_dead_letters_total`, `bailiff_correlator_dead_letters_cut_total`',
    tests: [
      'test/cluster/correlator-dead-letters.test.ts',
      'libs/correlation/src/engine/node-quotas.test.ts',
      'test/bus/dead-letters.test.ts',
    ],
  },
  SIEM: {
    filledBy: 'the siem-relay, for violations of nodes',
    share: 'a node: tokens of its own, fewer while readers are behind; a pod: half of what its node has left',
    counter: '`bailiff_siem_relay_omitted_events_total`, and one event a node',
    tests: ['test/cluster/siem-relay-share.test.ts', 'apps/siem-relay/src/node-shares.test.ts'],
  },
};

/** By name of the bucket. A full bucket refuses new values. */
export const BUCKETS_OF: Readonly<Record<string, Row>> = {
  bailiff_pods: {
    filledBy: 'ipam-sync, one key per node that exists',
    share: 'a node: one value. In it, namespaces are listed in turn, and the largest pods are cut first',
    counter: '`bailiff_ipam_sync_omitted_pods`, `bailiff_ipam_sync_cut_pods`, `bailiff_ipam_sync_snapshots_oversized`',
    tests: ['test/cluster/ipam-sync-tenant.test.ts', 'apps/ipam-sync/src/snapshots/plan.test.ts'],
  },
  bailiff_quarantine: {
    filledBy: 'the responder and operators, one key per node',
    share:
      'a node: one value. In it, a namespace gets a place only while more are free than it has. A credential of an operator can fill it: nodes without a list then get none, until it is made again',
    counter: '`bailiff_responder_retries_total`; status names a full bucket',
    tests: ['test/cluster/responder-quarantine-full.test.ts', 'test/bus/config-full.test.ts'],
  },
  bailiff_config: {
    filledBy: 'operators, and ipam-sync for custom resources',
    share: `a key: its newest revisions. A credential of ipam-sync can fill it; break-glass works without the bus. ${OPEN}a server keeps the subject of each key in memory, also for the two copies, and has no limit for its length: 66,000 keys of 4 kB, stored within 40 s, took 1.9 GiB with \`GOMEMLIMIT\` 1,800 MiB (2.15.1), and 2.2 GiB without it after a restart (2.10.27)`,
    counter: '`bailiff_ipam_sync_mirror_refused`',
    tests: ['test/bus/config-full.test.ts'],
  },
  bailiff_schemas: {
    filledBy: '`admin`',
    share: 'none: no pod, tenant or node writes it',
    counter: '',
    tests: ['test/bus/permissions.test.ts'],
  },
  bailiff_nodes: {
    filledBy: 'every node credential, the key of its node',
    share: 'a node: one value of the largest size',
    counter: 'status names a full bucket',
    tests: ['test/bus/permissions.test.ts'],
  },
  bailiff_services: {
    filledBy: 'services, under the name of their role. Keys expire',
    share: `${OPEN}none between services: 127 keys of the largest size, or 1,024 keys, from one of their credentials fill it. The others then show no new status for up to an hour; nothing else depends on it, and each of these credentials can do [more harm](../threat-model.md)`,
    counter: '',
    tests: ['test/bus/service-status.test.ts'],
  },
  bailiff_siem: {
    filledBy: 'the siem-relay: one key per source and output',
    share: 'none: no pod, tenant or node writes it. It accepts no other keys',
    counter: '`bailiff_siem_relay_errors_total`',
    tests: ['test/bus/siem-positions.test.ts', 'test/cluster/siem-relay.test.ts'],
  },
};

const CONSUMER: Row = {
  filledBy: 'the connectors of this format: unacknowledged events',
  share: 'each format has a consumer. Connectors with one credential share it',
  counter: '`bailiff_siem_relay_readers_behind`, `bailiff_siem_relay_pending_messages`',
  tests: ['test/cluster/siem-relay-connector.test.ts'],
};
export const CONSUMERS: Readonly<Record<string, Row>> = {
  'siem-ocsf': CONSUMER,
  'siem-ecs': CONSUMER,
  'siem-cef': CONSUMER,
};

/** All rows by section, and the files of collections that are not shared. */

import { IN_IPAM_SYNC } from './ipam-sync.ts';
import { IN_THE_CORRELATOR, IN_THE_EVIDENCE_LOG } from './judging.ts';
import { IN_NATS } from './machine.ts';
import { ON_A_NODE } from './node.ts';
import { IN_KUBERNETES, IN_THE_RESPONDER } from './responding.ts';
import { IN_BUS_AUTH, IN_EVERY_SERVICE, IN_THE_CLI } from './services.ts';
import type { Share } from './share.ts';
import { IN_SIEM_RELAY } from './siem-relay.ts';
import { IN_STATUS } from './status.ts';

export const SECTIONS: Readonly<Record<string, readonly Share[]>> = {
  'On a node': ON_A_NODE,
  Correlator: IN_THE_CORRELATOR,
  Responder: IN_THE_RESPONDER,
  'Kubernetes objects': IN_KUBERNETES,
  'ipam-sync': IN_IPAM_SYNC,
  'siem-relay': IN_SIEM_RELAY,
  'bus-auth': IN_BUS_AUTH,
  'evidence-log': IN_THE_EVIDENCE_LOG,
  'Every service': IN_EVERY_SERVICE,
  'Commands of a person': [...IN_THE_CLI, ...IN_STATUS],
  NATS: IN_NATS,
};

/**
 * Files with a collection that is no shared part, with what bounds it. shares.test.ts finds every
 * file with a collection that lives as long as an object or a module.
 */
export const NOT_SHARED: Readonly<Record<string, string>> = {
  'libs/bus/src/auth/node-connections.ts': 'the accounts of nodes: two',
  'libs/policy/src/signing/versioned-config.ts': 'its bounds are those of its users',
  'libs/connector/src/index.ts': 'calls of one connector',
  'libs/evidence/src/keep/keeper.ts': 'four streams',
  'libs/evidence/src/format/sensitive.ts': 'of one message and its schema',
  'libs/evidence/src/verify/judge.ts': 'of one file; a bound of its own',
  'libs/evidence/src/verify/report.ts': 'of one file; a bound of its own',
  'libs/evidence/src/verify/verify.ts': 'of one file; a bound of its own',
  'libs/insight/src/decoder.ts': 'of one read; a bound of its own',
  'libs/insight/src/read/node-frames.ts': 'of one read; a bound of its own',
  'libs/insight/src/read/tally.ts': 'of one read; a bound of its own',
  'libs/insight/src/read/timeline.ts': 'of one read; a bound of its own',
  'libs/insight/src/rows/timeline-items.ts': 'of one read; a bound of its own',
  'apps/console/src/live/live.ts': 'open pages, of which server.ts bounds the number; streams',
  'apps/collector/src/publishing/counter-ledger.ts': 'cells of one interface',
  'apps/collector/src/identity/identity.ts': 'pods of one list',
  'apps/collector/src/packets/subjects/stall-detector.ts': 'MAX_STALLS pauses of the process',
  'apps/collector/src/packets/subjects/orphans.ts': 'guarded interfaces',
  'apps/collector/src/packets/kernel/node-maps.ts': 'one list of networks, as in the kernel map',
  'apps/collector/src/publishing/bus-link.ts': 'parts of the process',
  'apps/collector/src/publishing/flusher.ts': 'sources of one pass',
  'apps/collector/src/operations/counting/accounts.ts': 'accounts on disk',
  'apps/collector/src/operations/enforcement.ts': 'subjects of the pod list',
  'apps/collector/src/operations/kernel/subject-latency.ts': 'sets of one change',
  'apps/collector/src/operations/kernel/enforcer.ts': 'subjects in the kernel maps',
  'apps/collector/src/operations/kernel/sets.ts': 'sets in the kernel maps',
  'apps/collector/src/operations/subjects/policy-status.ts': 'policies, and refused subjects of the pod list',
  'apps/collector/src/operations/engine.ts': 'hooks, and documents of the cache',
  'apps/collector/src/status/ended-pods.ts': 'pods of the pod list',
  'apps/collector/src/status/recent-counts.ts': 'losses by name and guarded interfaces, a dozen readings',
  'apps/ipam-sync/src/mirror/informers.ts': 'kinds of resources',
  'apps/ipam-sync/src/snapshots/cluster-state.ts': 'records of pods, as in pod-memory.ts; nodes',
  'apps/ipam-sync/src/snapshots/fit.ts': 'pods of one list',
  'apps/ipam-sync/src/snapshots/omissions.ts': 'nodes of the plan',
  'apps/responder/src/rights.ts': 'rights of the role',
  'apps/responder/src/scheduling/fair-turns.ts': 'tenants with due tasks',
  'apps/responder/src/scheduling/scheduler.ts': 'verdicts with a refused removal, until the next scan',
  'apps/responder/src/streams/responses.ts': 'records that this process has sent, until the stream delivers them',
  'apps/siem-relay/src/siem-relay.ts': 'sources',
  'apps/siem-relay/src/outputs/runner.ts': 'MAX_AHEAD and MAX_HELD sequences of one output, whose events have a row',
  'apps/siem-relay/src/outputs/shared-lookup.ts': 'names of the outputs',
  'libs/bpf/src/spoof/place-watch.ts': 'guarded interfaces',
  'libs/bus/src/auth/seeds.ts': 'MAX_ISSUERS keys of files',
  'libs/bus/src/backup/stream-snapshot.ts':
    'SNAPSHOT_CHUNK_BYTES each, as many as the server sends without an ack (8 MiB)',
  'libs/bus/src/streams/durable.ts': 'maxMessages of one connector, which is a process of its own',
  'libs/bus/src/connection/connect.ts': 'listeners of the process',
  'libs/bus/src/connection/jetstream-health.ts': 'streams and buckets',
  'libs/correlation/src/engine/engine.ts': 'identities of counters',
  'libs/correlation/src/shares/node-tokens.ts': 'nodes that used some within the time of a refill',
  'libs/correlation/src/replay/sim-collector.ts': 'counters of one scenario',
  'libs/correlation/src/sigma/detection.ts': 'of one file of a person',
  'libs/correlation/src/sigma/from-sigma.ts': 'of one file of a person',
  'libs/correlation/src/windows/count-windows.ts': 'values of one window',
  'libs/correlation/src/windows/step-times.ts': 'MAX_STEPS of one window',
  'libs/correlation/src/windows/typed-row-pool.ts': 'rows of windows and counters',
  'libs/runtime/src/compile/addresses.ts': 'rules of one policy set',
  'libs/runtime/src/compile/hash.ts': 'names of one policy set',
  'libs/runtime/src/compile/paths.ts': 'rules of one policy set',
  'libs/runtime/src/compile/sources.ts': 'programs of one policy set',
  'apps/collector/src/packets/kernel/reconciler.ts': 'guarded interfaces, which have a row',
  'apps/collector/src/packets/kernel/taken.ts': 'one pass: links and addresses of the node, which have rows',
  'libs/runtime/src/policies/policy-index.ts': 'policies of the collector, at most MAX_POLICIES',
  'libs/response/src/records/overdue.ts': 'actions of one reading, as in recent-actions.ts',
  'libs/response/src/status/failed-responses.ts': 'actions',
  'libs/response/src/status/removed-pods.ts': 'a command; MAX_REMOVED of the records that it reads',
  'libs/response/src/status/refused-responses.ts': 'a command, of as many verdicts as it reads',
  'libs/service/src/fair-counts.ts': 'owners of the entries that a row counts with it',
  'libs/service/src/health.ts': 'checks of the process',
  'libs/kube/src/lines.ts': 'one line of the API server',
};

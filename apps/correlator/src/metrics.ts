/** Metrics of the correlator. Most values are read from their owners at each scrape. */
import { FAST_BUCKETS, MetricFamily } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Values read at each scrape, as they are before the first frame. */
export const NO_READINGS = {
  frames: 0,
  unreadable: 0,
  overShare: 0,
  skipped: { messages: 0, nodes: 0 },
  waits: 0,
  pending: 0,
  lagSeconds: 0,
  stalledSeconds: 0,
  streamMicros: 0,
  counted: { violations: 0, duplicates: 0, packets: 0, refused: 0, countersRefused: 0, shifted: 0 },
  size: { nodes: 0, counters: 0, windows: 0, pending: 0, windowsRefused: 0, capped: 0, vectorsRefused: 0 },
  rules: 0,
  ruleProblems: 0,
  configRevision: 0,
  listedPods: 0,
  snapshotsRefused: 0,
  verdictsWaiting: 0,
  lettersWaiting: 0,
  lettersDropped: 0,
  lettersCut: 0,
  replayed: 0,
  streamsRecreated: 0,
};
export type Readings = typeof NO_READINGS;

export type Metrics = ReturnType<typeof makeMetrics>;

/** @param read called once per scrape */
export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_correlator_', read);
  addReadings(family);
  return countersOf(family);
}

/** Declares what is read at each scrape. */
function addReadings(family: MetricFamily<Readings>): void {
  family.gauge('pending_frames', 'Frames on the bus that are not read yet', (r) => r.pending);
  family.gauge(
    'lag_seconds',
    'Age of the frame in work while it waits or more frames follow; otherwise 0',
    (r) => r.lagSeconds,
  );
  family.gauge(
    'stalled_seconds',
    'Time without progress while the bus has unprocessed frames',
    (r) => r.stalledSeconds,
  );
  family.gauge('stream_time_seconds', 'Bus time of the newest frame', (r) => r.streamMicros / 1e6);
  family.gauge('counters', 'Counters in memory', (r) => r.size.counters);
  family.gauge('windows', 'Windows in memory', (r) => r.size.windows);
  family.gauge('nodes', 'Nodes in memory', (r) => r.size.nodes);
  family.gauge('parked_violations', 'Pending violations: their pod is not listed yet', (r) => r.size.pending);
  family.gauge('verdicts_waiting', 'Verdicts not yet on the bus', (r) => r.verdictsWaiting);
  family.gauge('dead_letters_waiting', 'Dead letters not yet on the bus', (r) => r.lettersWaiting);
  family.gauge('rules', 'Rules in force', (r) => r.rules);
  family.gauge(
    'rule_problems',
    'Rules whose newest revision is refused; the last valid one is in force',
    (r) => r.ruleProblems,
  );
  family.gauge('config_revision', 'Sequence in CONFIG_LOG of the newest change of a rule', (r) => r.configRevision);
  family.gauge('listed_pods', 'Pods in the lists of all nodes', (r) => r.listedPods);
  family.total('frames_total', 'Frames processed', (r) => r.frames);
  family.total(
    'unreadable_total',
    'Messages that could not be decoded or processed; they become dead letters',
    (r) => r.unreadable,
  );
  family.total(
    'over_share_messages_total',
    'Messages beyond the share of their node, which are not decoded',
    (r) => r.overShare,
  );
  family.total(
    'skipped_messages_total',
    'Messages that were skipped or refused: unreadable, beyond the share of their node, about foreign pods',
    (r) => r.skipped.messages,
  );
  family.gauge(
    'skipped_nodes',
    'Nodes with such messages in the last ten minutes; `bailiff status` names them',
    (r) => r.skipped.nodes,
  );
  family.total(
    'waits_total',
    'Frames that waited for an input stream, a schema or room in the verdict queue',
    (r) => r.waits,
  );
  family.total('violations_total', 'Violations processed', (r) => r.counted.violations);
  family.total('duplicate_violations_total', 'Violations that were seen before', (r) => r.counted.duplicates);
  family.total('packets_total', 'Packets counted', (r) => r.counted.packets);
  family.total(
    'claims_refused_total',
    'Refused frames and violations, such as reports on pods of other nodes',
    (r) => r.counted.refused,
  );
  family.total(
    'event_times_refused_total',
    'Violations counted at bus time instead of node time',
    (r) => r.counted.shifted,
  );
  family.total(
    'counters_refused_total',
    'Violations whose counter exceeds the limit of its node',
    (r) => r.counted.countersRefused,
  );
  family.total(
    'windows_refused_total',
    'Violations without a window because the rule or the node reached its limit',
    (r) => r.size.windowsRefused,
  );
  family.total(
    'vectors_refused_total',
    'Violations whose vector exceeds the limit; evidence names it "(other)"',
    (r) => r.size.vectorsRefused,
  );
  family.total('verdicts_suppressed_total', 'Verdicts above the limit per minute', (r) => r.size.capped);
  family.total('verdicts_replayed_total', 'Verdicts of the warm-up, which are not published', (r) => r.replayed);
  family.total(
    'streams_remade_total',
    'Streams that were deleted and created again, and are read from their beginning',
    (r) => r.streamsRecreated,
  );
  family.total('snapshots_refused_total', 'Pod snapshots that were refused', (r) => r.snapshotsRefused);
  family.total(
    'dead_letters_dropped_total',
    'Dead letters dropped: queue full, rejected by the bus, or beyond the share of their node',
    (r) => r.lettersDropped,
  );
  family.total(
    'dead_letters_cut_total',
    'Dead letters with only the beginning of their frame: beyond the share of a node',
    (r) => r.lettersCut,
  );
}

/** Declares the counters and histograms, which the parts write. */
function countersOf(family: MetricFamily<Readings>) {
  return {
    verdicts: family.counter(
      'verdicts_total',
      'Verdicts by outcome: stored (after a start also those that were stored within five minutes before), exists (another replica was first), expired (older than all of VERDICTS, which was full), failed',
      ['outcome', 'level', 'rule'],
    ),
    deadLetters: family.counter('dead_letters_total', 'Dead letters written', ['reason']),
    busErrors: family.counter('bus_errors_total', 'Failed requests to the bus, retried or not', ['part']),
    frameToVerdict: family.histogram(
      'frame_to_verdict_seconds',
      'From storing the frame that reaches a threshold to storing its verdict',
      FAST_BUCKETS,
    ),
    ruleRead: family.histogram(
      'rule_read_seconds',
      'From storing a rule change on the bus to reading it; it applies to frames stored 1 s later',
      FAST_BUCKETS,
    ),
  };
}

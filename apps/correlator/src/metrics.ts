/** What the correlator counts. Most values are read where they are kept, when they are scraped. */
import { FAST_BUCKETS, MetricFamily, oncePerScrape } from '@bailiff/service';
import type { Counter, Histogram, Registry } from 'prom-client';

/** Read at each scrape. */
export interface Readings {
  frames: number;
  unreadable: number;
  waits: number;
  pending: number;
  lagSeconds: number;
  stalledSeconds: number;
  streamMicros: number;
  counted: {
    violations: number;
    duplicates: number;
    packets: number;
    refused: number;
    countersRefused: number;
    shifted: number;
  };
  size: {
    nodes: number;
    counters: number;
    windows: number;
    pending: number;
    windowsRefused: number;
    capped: number;
    vectorsRefused: number;
  };
  rules: number;
  ruleProblems: number;
  configRevision: number;
  listedPods: number;
  snapshotsRefused: number;
  verdictsWaiting: number;
  lettersWaiting: number;
  lettersDropped: number;
  replayed: number;
  streamsRecreated: number;
}

/** Before there is a stream to read. */
export const NO_READINGS: Readings = {
  frames: 0,
  unreadable: 0,
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
  replayed: 0,
  streamsRecreated: 0,
};

export interface Metrics {
  verdicts: Counter<'outcome' | 'level' | 'rule'>;
  deadLetters: Counter<'reason'>;
  busErrors: Counter<'part'>;
  frameToVerdict: Histogram;
  ruleRead: Histogram;
}

export function makeMetrics(registry: Registry, read: () => Readings): Metrics {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_correlator_');
  const gauge = (name: string, help: string, value: (from: Readings) => number) =>
    family.gauge(name, help, () => value(readings()));
  const total = (name: string, help: string, value: (from: Readings) => number) =>
    family.total(name, help, () => value(readings()));
  gauge('pending_frames', 'Frames on the bus that are not read yet', (r) => r.pending);
  gauge(
    'lag_seconds',
    'Age of the frame in work, while it waits or the bus has more; otherwise 0',
    (r) => r.lagSeconds,
  );
  gauge(
    'stalled_seconds',
    'Time for which the bus has held frames after the last one judged, and none was judged',
    (r) => r.stalledSeconds,
  );
  gauge('stream_time_seconds', 'Time of the newest frame, as the bus stored it', (r) => r.streamMicros / 1e6);
  gauge('counters', 'Counters remembered', (r) => r.size.counters);
  gauge('windows', 'Windows remembered', (r) => r.size.windows);
  gauge('nodes', 'Nodes whose frames are remembered', (r) => r.size.nodes);
  gauge('parked_violations', 'Violations that wait for their pod to be listed', (r) => r.size.pending);
  gauge('verdicts_waiting', 'Verdicts not yet on the bus', (r) => r.verdictsWaiting);
  gauge('dead_letters_waiting', 'Dead letters not yet on the bus', (r) => r.lettersWaiting);
  gauge('rules', 'Rules in force', (r) => r.rules);
  gauge(
    'rule_problems',
    'Rules whose newest revision is refused; the last good one is in force',
    (r) => r.ruleProblems,
  );
  gauge('config_revision', 'Sequence in CONFIG_LOG of the newest change of a rule', (r) => r.configRevision);
  gauge('listed_pods', 'Pods in the lists of all nodes', (r) => r.listedPods);
  total('frames_total', 'Frames folded', (r) => r.frames);
  total('unreadable_total', 'Messages that could not be read or judged and are dead letters', (r) => r.unreadable);
  total('waits_total', 'Frames that waited for a log, a schema or room', (r) => r.waits);
  total('violations_total', 'Violations judged', (r) => r.counted.violations);
  total('duplicate_violations_total', 'Violations that were seen before', (r) => r.counted.duplicates);
  total('packets_total', 'Packets counted', (r) => r.counted.packets);
  total('claims_refused_total', 'Claims of nodes about what is not shown to be their own', (r) => r.counted.refused);
  total(
    'event_times_refused_total',
    'Violations counted at the time of the bus, not of the node',
    (r) => r.counted.shifted,
  );
  total('counters_refused_total', 'Violations whose counter found no room', (r) => r.counted.countersRefused);
  total('windows_refused_total', 'Violations that found no room for a window', (r) => r.size.windowsRefused);
  total(
    'vectors_refused_total',
    'Violations whose vector found no room: evidence names them "(other)"',
    (r) => r.size.vectorsRefused,
  );
  total('verdicts_suppressed_total', 'Verdicts held back by the cap per minute', (r) => r.size.capped);
  total('verdicts_replayed_total', 'Verdicts of a replay from before the point of publishing', (r) => r.replayed);
  total(
    'streams_remade_total',
    'Streams that were made anew and are read from their beginning',
    (r) => r.streamsRecreated,
  );
  total('snapshots_refused_total', 'Lists of pods that could not be read', (r) => r.snapshotsRefused);
  total('dead_letters_dropped_total', 'Dead letters that found no room or were refused', (r) => r.lettersDropped);
  return {
    verdicts: family.counter(
      'verdicts_total',
      'Verdicts by what became of them: stored, exists (another replica was first), failed',
      ['outcome', 'level', 'rule'],
    ),
    deadLetters: family.counter('dead_letters_total', 'Dead letters written', ['reason']),
    busErrors: family.counter('bus_errors_total', 'Failures towards the bus that were tried again or given up', [
      'part',
    ]),
    frameToVerdict: family.histogram(
      'frame_to_verdict_seconds',
      'From the frame that crosses a threshold being stored to its verdict being stored',
      FAST_BUCKETS,
    ),
    ruleRead: family.histogram(
      'rule_read_seconds',
      'From a change of a rule being stored on the bus to it being read; it judges frames stored 1 s after it',
      FAST_BUCKETS,
    ),
  };
}

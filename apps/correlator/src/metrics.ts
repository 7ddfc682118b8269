/** What the correlator counts. Most values are read where they are kept, when they are scraped. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Read at each scrape. */
export interface Readings {
  frames: number;
  unreadable: number;
  waits: number;
  pending: number;
  lagSeconds: number;
  streamMicros: number;
  counted: {
    violations: number;
    duplicates: number;
    packets: number;
    refused: number;
    epochsRefused: number;
    shifted: number;
  };
  size: {
    nodes: number;
    epochs: number;
    windows: number;
    parked: number;
    windowsRefused: number;
    capped: number;
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
  remade: number;
}

export interface Metrics {
  verdicts: Counter<'outcome' | 'level' | 'rule'>;
  deadLetters: Counter<'reason'>;
  busErrors: Counter<'part'>;
  frameToVerdict: Histogram;
}

export function makeMetrics(registry: Registry, read: () => Readings): Metrics {
  const registers = [registry];
  const gauge = (name: string, help: string, value: (readings: Readings) => number) =>
    new Gauge({
      name: `bailiff_correlator_${name}`,
      help,
      registers,
      collect() {
        this.set(value(read()));
      },
    });
  gauge('frames_total', 'Frames folded', (r) => r.frames);
  gauge('unreadable_total', 'Messages that could not be read or judged and are dead letters', (r) => r.unreadable);
  gauge('waits_total', 'Frames that waited for a log, a schema or room', (r) => r.waits);
  gauge('pending_frames', 'Frames on the bus that are not read yet', (r) => r.pending);
  gauge(
    'lag_seconds',
    'Age of the frame in work, while it waits or the bus has more; otherwise 0',
    (r) => r.lagSeconds,
  );
  gauge('stream_time_seconds', 'Time of the newest frame, as the bus stored it', (r) => r.streamMicros / 1e6);
  gauge('violations_total', 'Violations judged', (r) => r.counted.violations);
  gauge('duplicate_violations_total', 'Violations that were seen before', (r) => r.counted.duplicates);
  gauge('packets_total', 'Packets counted', (r) => r.counted.packets);
  gauge('claims_refused_total', 'Claims of nodes about what is not shown to be their own', (r) => r.counted.refused);
  gauge(
    'event_times_refused_total',
    'Violations counted at the time of the bus, not of the node',
    (r) => r.counted.shifted,
  );
  gauge('counters', 'Counters remembered', (r) => r.size.epochs);
  gauge('counters_refused_total', 'Violations whose counter found no room', (r) => r.counted.epochsRefused);
  gauge('windows', 'Windows remembered', (r) => r.size.windows);
  gauge('windows_refused_total', 'Violations that found no room for a window', (r) => r.size.windowsRefused);
  gauge('nodes', 'Nodes whose frames are remembered', (r) => r.size.nodes);
  gauge('parked_violations', 'Violations that wait for their pod to be listed', (r) => r.size.parked);
  gauge('verdicts_suppressed_total', 'Verdicts held back by the cap per minute', (r) => r.size.capped);
  gauge('verdicts_replayed_total', 'Verdicts of a replay from before the point of publishing', (r) => r.replayed);
  gauge('streams_remade_total', 'Streams that were made anew and are read from their beginning', (r) => r.remade);
  gauge('verdicts_waiting', 'Verdicts not yet on the bus', (r) => r.verdictsWaiting);
  gauge('rules', 'Rules in force', (r) => r.rules);
  gauge(
    'rule_problems',
    'Rules whose newest revision is refused; the last good one is in force',
    (r) => r.ruleProblems,
  );
  gauge('config_revision', 'Sequence in CONFIG_LOG of the newest change of a rule', (r) => r.configRevision);
  gauge('listed_pods', 'Pods in the lists of all nodes', (r) => r.listedPods);
  gauge('snapshots_refused_total', 'Lists of pods that could not be read', (r) => r.snapshotsRefused);
  gauge('dead_letters_waiting', 'Dead letters not yet on the bus', (r) => r.lettersWaiting);
  gauge('dead_letters_dropped_total', 'Dead letters that found no room or were refused', (r) => r.lettersDropped);
  return {
    verdicts: new Counter({
      name: 'bailiff_correlator_verdicts_total',
      help: 'Verdicts by what became of them: stored, exists (another replica was first), failed',
      labelNames: ['outcome', 'level', 'rule'],
      registers,
    }),
    deadLetters: new Counter({
      name: 'bailiff_correlator_dead_letters_total',
      help: 'Dead letters written',
      labelNames: ['reason'],
      registers,
    }),
    busErrors: new Counter({
      name: 'bailiff_correlator_bus_errors_total',
      help: 'Failures towards the bus that were tried again or given up',
      labelNames: ['part'],
      registers,
    }),
    frameToVerdict: new Histogram({
      name: 'bailiff_correlator_frame_to_verdict_seconds',
      help: 'From the frame that crosses a threshold being stored to its verdict being stored',
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    }),
  };
}

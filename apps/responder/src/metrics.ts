/** Metrics of the responder. Latencies are seconds, as Prometheus counts. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const LATENCY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export type Metrics = ReturnType<typeof responderMetrics>;

/** Makes them in a registry. Gauges are read by `state` when asked. */
export function responderMetrics(registry: Registry, state: () => ResponderState) {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (from: ResponderState) => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(state()));
      },
    });
  gauge('bailiff_responder_outstanding_verdicts', 'Verdicts with a task that has not ended', (s) => s.outstanding);
  gauge(
    'bailiff_responder_unanswered_verdicts',
    'Verdicts with a task that has been due for half a minute and has no record',
    (s) => s.unanswered,
  );
  gauge('bailiff_responder_redis_up', '1 while Redis answers, otherwise 0', (s) => s.redisUp);
  gauge('bailiff_responder_undos_overdue', 'Effects that should have ended and have not', (s) => s.undosOverdue);
  gauge('bailiff_responder_tasks_remembered', 'Tasks in the fold of RESPONSES', (s) => s.tasks);
  gauge(
    'bailiff_responder_policies_refused',
    'Policies whose newest version is not in force',
    (s) => s.refusedPolicies,
  );
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers });
  const latency = (name: string, help: string) =>
    new Histogram({ name, help, labelNames: ['action'], buckets: LATENCY_BUCKETS, registers });
  return {
    verdicts: counter('bailiff_responder_verdicts_total', 'Verdicts read', ['matched']),
    unreadable: counter('bailiff_responder_unreadable_total', 'Messages that could not be read', ['stream']),
    responses: counter('bailiff_responder_responses_total', 'Records written', ['action', 'phase', 'reason']),
    retries: counter('bailiff_responder_retries_total', 'Tries put off after a failure', ['action', 'reason']),
    waits: counter('bailiff_responder_waits_total', 'Tasks put off by a guard', ['action', 'reason']),
    reservationConflicts: counter(
      'bailiff_responder_reservation_conflicts_total',
      'Reservations judged again because another record came first',
      [],
    ),
    orphanJobs: counter('bailiff_responder_orphan_jobs_total', 'Jobs whose verdict or policy is no more', []),
    scheduleFailures: counter('bailiff_responder_schedule_failures_total', 'Jobs that Redis did not take in time', []),
    jobFailures: counter('bailiff_responder_job_failures_total', 'Jobs that ended with an unexpected error', []),
    undoFailures: counter('bailiff_responder_undo_failures_total', 'Failed tries to end an effect', [
      'action',
      'reason',
    ]),
    redisLost: counter('bailiff_responder_redis_lost_total', 'Times that Redis went away', []),
    streamsRemade: counter('bailiff_responder_streams_remade_total', 'Streams that were made anew', ['stream']),
    quarantinesPutAgain: counter(
      'bailiff_responder_quarantines_put_again_total',
      'Pods put in quarantine again because the bucket was made anew',
      [],
    ),
    scans: counter('bailiff_responder_scans_total', 'Rounds of putting outstanding tasks back in the queue', []),
    callAfterTrigger: latency(
      'bailiff_responder_call_after_trigger_seconds',
      'From the event that crossed the threshold to the request to the API server',
    ),
    callAfterVerdict: latency(
      'bailiff_responder_call_after_verdict_seconds',
      'From the verdict on the bus to the request to the API server',
    ),
  };
}

export interface ResponderState {
  outstanding: number;
  unanswered: number;
  redisUp: number;
  undosOverdue: number;
  tasks: number;
  refusedPolicies: number;
}

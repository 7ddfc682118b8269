/** Metrics of the responder. Latencies are seconds, as Prometheus counts. */
import { ACTIONS } from '@bailiff/policy';
import { FAST_BUCKETS, MetricFamily, oncePerScrape, SLOW_BUCKETS, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Read at each scrape. */
export interface Readings {
  outstanding: number;
  unanswered: number;
  stalledSeconds: number;
  redisUp: number;
  undosOverdue: number;
  tasks: number;
  refusedPolicies: number;
  /** In force, by scope. */
  disarms: Values;
  kube: { requests: number; errors: Values };
}

/** Before anything was read. */
export const NO_READINGS: Readings = {
  outstanding: 0,
  unanswered: 0,
  stalledSeconds: 0,
  redisUp: 0,
  undosOverdue: 0,
  tasks: 0,
  refusedPolicies: 0,
  disarms: {},
  kube: { requests: 0, errors: {} },
};

export type Metrics = ReturnType<typeof makeMetrics>;

export function makeMetrics(registry: Registry, read: () => Readings) {
  const readings = oncePerScrape(read);
  const family = new MetricFamily(registry, 'bailiff_responder_');
  const gauge = (name: string, help: string, value: (from: Readings) => number) =>
    family.gauge(name, help, () => value(readings()));
  gauge('outstanding_verdicts', 'Verdicts with a task that has not ended', (r) => r.outstanding);
  gauge(
    'unanswered_verdicts',
    'Verdicts with a task that was due, begun or approved half a minute ago and has not ended',
    (r) => r.unanswered,
  );
  gauge(
    'stalled_seconds',
    'Time for which the bus has held verdicts after the last one read, and none was read',
    (r) => r.stalledSeconds,
  );
  gauge('redis_up', '1 while Redis answers, otherwise 0', (r) => r.redisUp);
  gauge('undos_overdue', 'Effects that should have ended and have not', (r) => r.undosOverdue);
  gauge('tasks_remembered', 'Tasks in the fold of RESPONSES', (r) => r.tasks);
  gauge('policies_refused', 'Policies whose newest version is not in force', (r) => r.refusedPolicies);
  family.gaugeBy('disarms', 'Disarmings in force, by scope', 'scope', () => readings().disarms);
  family.total('kube_requests_total', 'Requests to the API server', () => readings().kube.requests);
  family.totalBy(
    'kube_errors_total',
    'Requests that the API server did not answer as asked',
    'code',
    () => readings().kube.errors,
  );
  const actions = ACTIONS.map((action) => ({ action }));
  return {
    verdicts: family.counter('verdicts_total', 'Verdicts read', ['matched'], [{ matched: 'yes' }, { matched: 'no' }]),
    unreadable: family.counter(
      'unreadable_total',
      'Messages that could not be read',
      ['stream'],
      [{ stream: 'VERDICTS' }, { stream: 'RESPONSES' }],
    ),
    responses: family.counter('responses_total', 'Records written', ['action', 'phase', 'reason']),
    retries: family.counter('retries_total', 'Tries put off after a failure', ['action', 'reason']),
    waits: family.counter('waits_total', 'Tasks put off by a guard', ['action', 'reason']),
    reservationConflicts: family.counter(
      'reservation_conflicts_total',
      'Reservations judged again because another record came first',
    ),
    orphanJobs: family.counter('orphan_jobs_total', 'Jobs whose verdict or policy is no more'),
    scheduleFailures: family.counter('schedule_failures_total', 'Jobs that Redis did not take in time'),
    jobFailures: family.counter('job_failures_total', 'Jobs that ended with an unexpected error'),
    undoFailures: family.counter('undo_failures_total', 'Failed tries to end an effect', ['action', 'reason']),
    redisLost: family.counter('redis_lost_total', 'Times that Redis went away'),
    streamsRemade: family.counter('streams_remade_total', 'Streams that were made anew', ['stream']),
    quarantinesPutAgain: family.counter(
      'quarantines_put_again_total',
      'Pods put in quarantine again because the bucket was made anew',
    ),
    scans: family.counter('scans_total', 'Rounds of putting outstanding tasks back in the queue'),
    callAfterTrigger: family.histogram(
      'call_after_trigger_seconds',
      'From the event that crossed the threshold to the request to the API server',
      SLOW_BUCKETS,
      ['action'],
      actions,
    ),
    callAfterVerdict: family.histogram(
      'call_after_verdict_seconds',
      'From the verdict on the bus to the request to the API server',
      SLOW_BUCKETS,
      ['action'],
      actions,
    ),
    policyRead: family.histogram(
      'policy_read_seconds',
      'From a change of a policy, or a disarming, being stored on the bus to it being in force here',
      FAST_BUCKETS,
    ),
  };
}

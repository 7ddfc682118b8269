/** Metrics of the responder. Latencies are in seconds, as usual in Prometheus. */
import { RESPONSE_ACTIONS } from '@bailiff/policy';
import { FAST_BUCKETS, MetricFamily, SLOW_BUCKETS, type Values } from '@bailiff/service';
import type { Registry } from 'prom-client';

/** Values read at each scrape, as they are before the streams are read. */
export const NO_READINGS = {
  outstanding: 0,
  deferred: 0,
  unanswered: 0,
  stalledSeconds: 0,
  redisUp: 0,
  undosOverdue: 0,
  tasks: 0,
  /** 1 for a stream that deletes messages before their age limit. */
  trimmed: {} as Values,
  labelsForgotten: 0,
  refusedPolicies: 0,
  /** Disarmings in force, by scope. */
  disarms: {} as Values,
  kube: { requests: 0, errors: {} as Values },
};
export type Readings = typeof NO_READINGS;

export type Metrics = ReturnType<typeof makeMetrics>;

/** @param read called once per scrape */
export function makeMetrics(registry: Registry, read: () => Readings) {
  const family = new MetricFamily(registry, 'bailiff_responder_', read);
  addReadings(family);
  return countersOf(family);
}

/** Declares what is read at each scrape. */
function addReadings(family: MetricFamily<Readings>): void {
  family.gauge('outstanding_verdicts', 'Verdicts with an open task', (r) => r.outstanding);
  family.gauge(
    'deferred_verdicts',
    'Verdicts that wait for a place: their namespace has as many verdicts with an open task as places are free',
    (r) => r.deferred,
  );
  family.gauge(
    'unanswered_verdicts',
    'Verdicts with an overdue task: due, started or approved more than 30 s ago and not ended',
    (r) => r.unanswered,
  );
  family.gauge('stalled_seconds', 'Time without progress while the bus has unread verdicts', (r) => r.stalledSeconds);
  family.gauge('redis_up', '1 if Redis is reachable, otherwise 0', (r) => r.redisUp);
  family.gauge('undos_overdue', 'Effects that have expired but are not undone', (r) => r.undosOverdue);
  family.gauge('tasks_remembered', 'Tasks in the ledger of RESPONSES', (r) => r.tasks);
  family.gaugeBy(
    'stream_trimmed',
    '1 if the stream is full and deletes messages before their age limit',
    'stream',
    (r) => r.trimmed,
  );
  family.total(
    'labels_forgotten_total',
    'Labels with an end beyond the limit, which stay on their pods',
    (r) => r.labelsForgotten,
  );
  family.gauge('policies_refused', 'Policies whose newest version was refused', (r) => r.refusedPolicies);
  family.gaugeBy('disarms', 'Disarmings in force, by scope', 'scope', (r) => r.disarms);
  family.total('kube_requests_total', 'Requests to the API server', (r) => r.kube.requests);
  family.totalBy('kube_errors_total', 'Failed requests to the API server, by error code', 'code', (r) => r.kube.errors);
}

/** Declares the counters and histograms, which the parts write. */
function countersOf(family: MetricFamily<Readings>) {
  const actions = RESPONSE_ACTIONS.map((action) => ({ action }));
  return {
    verdicts: family.counter(
      'verdicts_total',
      'Verdicts read; expired: older than the records of RESPONSES, which was full, so they are not acted on',
      ['matched'],
      [{ matched: 'yes' }, { matched: 'no' }, { matched: 'expired' }],
    ),
    tasksExpired: family.counter('tasks_expired_total', 'Tasks whose verdict was deleted before they were due'),
    recordsRenewed: family.counter(
      'records_renewed_total',
      'Records that are still needed and were stored again before RESPONSES deleted them',
    ),
    recordsLost: family.counter(
      'records_lost_total',
      'Records that are still needed and were deleted; only the running responders know them',
    ),
    unreadable: family.counter(
      'unreadable_total',
      'Messages that could not be decoded; they become dead letters',
      ['stream'],
      [{ stream: 'VERDICTS' }, { stream: 'RESPONSES' }],
    ),
    responses: family.counter('responses_total', 'Records written', ['action', 'phase', 'reason']),
    retries: family.counter('retries_total', 'Retries after a failure', ['action', 'reason']),
    waits: family.counter('waits_total', 'Tasks delayed by a guard', ['action', 'reason']),
    reservationConflicts: family.counter(
      'reservation_conflicts_total',
      'Reservations repeated because another record was stored first',
    ),
    orphanJobs: family.counter('orphan_jobs_total', 'Jobs whose verdict or policy no longer exists'),
    scheduleFailures: family.counter('schedule_failures_total', 'Jobs that Redis did not accept in time'),
    jobFailures: family.counter('job_failures_total', 'Jobs that ended with an unexpected error'),
    undoFailures: family.counter('undo_failures_total', 'Failed attempts to undo an effect', ['action', 'reason']),
    redisLost: family.counter('redis_lost_total', 'Times that the connection to Redis was lost'),
    streamsRecreated: family.counter('streams_remade_total', 'Streams that were deleted and created again', ['stream']),
    quarantinesRestored: family.counter(
      'quarantines_put_again_total',
      'Quarantines restored after the bucket was recreated',
    ),
    scans: family.counter('scans_total', 'Scans that add open tasks to the queues'),
    callAfterTrigger: family.histogram(
      'call_after_trigger_seconds',
      'From the event that reached the threshold to the request to the API server',
      SLOW_BUCKETS,
      ['action'],
      actions,
    ),
    callAfterVerdict: family.histogram(
      'call_after_verdict_seconds',
      'From storing the verdict to the request to the API server',
      SLOW_BUCKETS,
      ['action'],
      actions,
    ),
    policyRead: family.histogram(
      'policy_read_seconds',
      'From storing a policy change or a disarming on the bus to its effect in this process',
      FAST_BUCKETS,
    ),
  };
}

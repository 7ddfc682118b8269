/**
 * Metrics of a running lab, as Prometheus sees them. promtool checks every scrape. A Prometheus of
 * the distribution evaluates the alert rules and every query of the dashboard, while a pod is
 * attacked, deleted and replaced.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { type Lab, startLab } from '@bailiff/lab';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appMetrics, processMetrics } from '../../tools/app-metrics.ts';
import { ALERTS_FILE, ALERTS_TEST_FILE, askedBy, readPanels, readRules, resolved } from '../../tools/promql.ts';
import { bailiff, uniqueId } from '../e2e/support.ts';
import { LabPrometheus } from '../support/lab-prometheus.ts';

const NODE = 'node-0.lab.internal';
/** Child of the lab, by app. */
const CHILDREN: Readonly<Record<string, string>> = {
  collector: `collector-${NODE}`,
  correlator: 'correlator',
  responder: 'responder',
  'ipam-sync': 'ipam-sync',
  'siem-relay': 'siem-relay',
  'bus-auth': 'bus-auth',
};
let lab: Lab;
let prometheus: LabPrometheus;
const scrape = (app: string) => prometheus.scrape(app);

beforeAll(async () => {
  lab = await startLab({ id: uniqueId('m'), nodes: 1, podsPerNode: 3, siem: true, enforce: true, busAuth: true });
  prometheus = new LabPrometheus(lab, CHILDREN);
  await prometheus.start();
  await waitFor(async () => (await prometheus.valueOf('count(up == 1)')) === Object.keys(CHILDREN).length, {
    what: 'all targets',
    state: () => prometheus.query('up'),
  });
}, 240_000);
afterAll(async () => {
  await prometheus?.close();
  await lab?.stop();
});

describe('rules', () => {
  it.each([
    ['check', ['check', 'rules', ALERTS_FILE]],
    ['unit tests: firing and not firing', ['test', 'rules', ALERTS_TEST_FILE]],
  ])('promtool - %s', (_name, args) => {
    expect(execFileSync('promtool', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })).toContain(
      'SUCCESS',
    );
  });
});

describe('a healthy lab', () => {
  it('alerts - none is near firing', async () => {
    await waitFor(async () => (await prometheus.query('bailiff_ready')).length > 10, {
      what: 'every app to be scraped',
    });
    // Whether this machine's kernel runs BPF-LSM programs does not matter here.
    await waitFor(async () => (await prometheus.alerts()).every((name) => name === 'BailiffRuntimeUnavailable'), {
      what: 'no alert pending',
      state: () => prometheus.query('ALERTS'),
    });
  });
});

describe('an app that hangs', () => {
  // No other app can report it, and its own metrics end: the alert detects their absence.
  it.each(['correlator', 'responder', 'ipam-sync'])(
    '%s - an alert on its absence, which ends when it continues',
    async (app) => {
      const gone = async () => (await prometheus.query(`ALERTS{alertname="BailiffAppGone",app="${app}"}`)).length > 0;
      expect(await gone()).toBe(false);
      const { pid } = lab.child(CHILDREN[app] as string);
      process.kill(pid as number, 'SIGSTOP');
      try {
        await waitFor(gone, { what: 'BailiffAppGone', state: () => prometheus.query('ALERTS') });
      } finally {
        process.kill(pid as number, 'SIGCONT');
      }
      await waitFor(async () => !(await gone()), { what: 'the alert to end', state: () => prometheus.query('ALERTS') });
    },
  );
});

describe('a pod that is attacked, deleted and replaced', () => {
  beforeAll(async () => {
    // An increase needs a value before it: the series must have been scraped at 0.
    const before = 'count(bailiff_correlator_verdicts_total{outcome="stored"} == 0)';
    await waitFor(async () => (await prometheus.valueOf(before)) > 0, { what: before });
    const attacker = lab.pods()[0]!;
    await bailiff('lab', 'attack', attacker.name, '--lab', lab.id, '--count', '30', '--json');
    await bailiff('disarm', '--all', '--for', '5m', '--reason', 'to see the alert', '--yes', '--lab', lab.id);
    await waitFor(() => lab.pods().length === 3 && lab.pods().every(({ uid }) => uid !== attacker.uid), {
      what: 'a replacement',
      timeoutMs: 30_000,
    });
  });

  it.each([
    ['first violation → bus', 'bailiff_collector_breach_to_bus_seconds', '{kind="spoof"}'],
    ['threshold → delete call', 'bailiff_responder_call_after_trigger_seconds', '{action="delete"}'],
    ['CNI record → kernel map', 'bailiff_collector_apply_seconds', '{source="cni"}'],
    ['pod change on the bus → kernel map', 'bailiff_collector_apply_seconds', '{source="pods"}'],
    ['guard', 'bailiff_collector_guard_seconds', ''],
    ['configuration → in force', 'bailiff_collector_policy_in_force_seconds', '{kind="disarm"}'],
    ['disarming → read by the responder', 'bailiff_responder_policy_read_seconds', ''],
    ['frame → verdict', 'bailiff_correlator_frame_to_verdict_seconds', ''],
    ['pod → list on the bus', 'bailiff_ipam_sync_change_to_written_seconds', ''],
    ['message → SIEM event', 'bailiff_siem_relay_stored_to_published_seconds', ''],
    ['login of a collector → response', 'bailiff_bus_auth_login_seconds', ''],
    ['token → reviewed by the API server', 'bailiff_bus_auth_review_seconds', ''],
  ])('latency - %s was measured, in seconds', async (_name, metric, selector) => {
    await waitFor(async () => (await prometheus.valueOf(`sum(${metric}_count${selector})`)) > 0, {
      what: metric,
      state: () => prometheus.query(`${metric}_count`),
    });
    // A failed scrape removes its series until the next one.
    const ofAll = `sum(${metric}_sum${selector}) / sum(${metric}_count${selector})`;
    const mean = await waitFor(() => prometheus.valueOf(ofAll), { what: ofAll });
    expect(mean).toBeGreaterThan(0);
    // Detects a unit other than seconds.
    expect(mean).toBeLessThan(60);
  });

  it('counts - every forged packet, by vector, and none too many', async () => {
    // The pod may be deleted for its first ten before it has sent all thirty.
    const counts = async () => [
      await prometheus.valueOf('sum(bailiff_collector_breaches_total{action="drop"})'),
      await prometheus.valueOf('max(bailiff_correlator_packets_total)'),
    ];
    const agree = ([reported, judged]: (number | undefined)[]) =>
      reported !== undefined && reported >= 10 && reported === judged;
    const agreed = await waitFor(() => counts().then((both) => agree(both) && both), {
      what: 'counts that agree',
      state: counts,
    });
    const byVector = await prometheus.query('bailiff_collector_breaches_total{action="drop"} > 0');
    const cutOff = 'sum(bailiff_collector_breaches_total{action="drop",vector=~"quarantine-.*"}) or vector(0)';
    expect((agreed[0] as number) - (await prometheus.valueOf(cutOff)), JSON.stringify(byVector)).toBeLessThanOrEqual(
      30,
    );
    // An increase includes the first verdict of a rule only if the series existed before it.
    const increase = 'sum(increase(bailiff_correlator_verdicts_total{outcome="stored"}[5m]))';
    await waitFor(async () => (await prometheus.valueOf(increase)) > 0, { what: increase });
  });

  it('alerts - the verdict of level high and the disarming fire, and no other', async () => {
    const expected = ['BailiffDisarmed', 'BailiffHighVerdict'];
    const firing = async () =>
      (await prometheus.query('ALERTS{alertstate="firing"}')).map(({ metric }) => metric['alertname'] as string).sort();
    const names = await waitFor(() => firing().then((all) => expected.every((one) => all.includes(one)) && all), {
      what: expected.join(', '),
      state: () => prometheus.query('ALERTS'),
    });
    expect([...new Set(names)]).toEqual(expected);
  });

  describe.each(Object.keys(CHILDREN))('scrape of %s', (app) => {
    it('promtool - reports no problem', async () => {
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
        input: await scrape(app),
        encoding: 'utf8',
      });
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
    });

    it('names - exactly the declared ones, and a bounded number of series', async () => {
      const text = await scrape(app);
      const reported = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string);
      const declared = [...((await appMetrics()).get(app) ?? []), ...processMetrics()].map(({ name }) => name);
      expect(reported.sort()).toEqual(declared.sort());
      const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      expect(series.length).toBeLessThan(400);
      for (const pod of lab.pods()) expect(text).not.toContain(pod.name);
    });
  });

  /**
   * Label values that are not known in advance: until one occurs there is no series, and the query
   * result is empty. The bus of this lab has no TLS: test/bus/reconnect.test.ts has its certificates.
   * It has no evidence-log either: test/cluster/witness.test.ts has its metrics.
   */
  const QUIET =
    /bailiff_(evidence_log_\w+|(responder_(retries|waits|kube_errors)|siem_relay_(errors|unreadable|output_refused)|collector_problems)_total|bus_certificate_not_after_seconds)/;

  it.each(readRules().map(({ alert, expr }) => [alert, expr] as const))(
    'rule %s - each of its metrics has series',
    async (_alert, expr) => {
      for (const [, name = ''] of expr.matchAll(/\b(bailiff_\w+|process_\w+|up)\b/g))
        if (!QUIET.test(name))
          await waitFor(async () => (await prometheus.query(`count(${name})`)).length === 1, { what: name });
    },
  );

  it.each(
    readPanels().flatMap(({ title, targets = [] }) =>
      targets.map(({ expr, legendFormat }) => [title, legendFormat, expr] as const),
    ),
  )('panel "%s" %s - its query gives series with the labels of its legend', async (_title, legend, expr) => {
    // A rate needs two scrapes.
    const query = () => prometheus.query(resolved(expr));
    if (!QUIET.test(expr))
      await waitFor(async () => (await query()).length > 0, {
        what: expr,
        state: () => prometheus.query(askedBy(expr)[0]?.metric ?? ''),
      });
    const result = await query();
    for (const [, label = ''] of legend.matchAll(/\{\{(\w+)\}\}/g))
      for (const { metric } of result) expect(metric[label], label).toMatch(/\S/);
  });
});

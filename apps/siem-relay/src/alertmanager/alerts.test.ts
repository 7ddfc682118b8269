// When an alert is sent, sent again and resolved; the share of a namespace; the names of outputs.
import { describe, expect, it } from 'vitest';
import type { Facts } from '../outputs/facts.ts';
import { sampleFacts } from '../outputs/testing.ts';
import { ActiveAlerts, alertmanagerName, labelsOf, MAX_NAMESPACE_ALERTS } from './alerts.ts';

const AT = 1_790_000_000_000;
const facts = (part: Partial<Facts> = {}) => sampleFacts({ timeMs: AT - 1_000, ...part });
const make = () =>
  new ActiveAlerts({ resendMs: 60_000, resolveAfterMs: 600_000, generatorUrl: 'https://c/{verdictId}' });
const sendDue = (alerts: ActiveAlerts, nowMs: number) => {
  const due = alerts.due(nowMs, 64);
  alerts.sent(
    due.map(([key]) => key),
    nowMs,
  );
  return due.map(([, alert]) => alert);
};

describe('alerts', () => {
  it('hostile texts - have no markup of a chat to which Alertmanager passes annotations', () => {
    const alerts = make();
    alerts.verdict(facts({ title: '<!channel>', summary: '<https://evil|pay>' }), AT);
    alerts.response(facts({ summary: '<@U1> \u{1f600}'.repeat(300) }));
    const { annotations } = sendDue(alerts, AT)[0] ?? {};
    expect(annotations).toMatchObject({ summary: '‹!channel›', description: '‹https://evil|pay›' });
    expect(annotations?.['response']).toMatch(/^‹@U1› \u{1f600}‹/u);
    expect(annotations?.['response']).not.toMatch(/[<>\p{Cs}]/u);
  });

  it('a verdict - is due at once, again after the interval, and resolved at its end', () => {
    const alerts = make();
    alerts.verdict(facts(), AT);
    const [first] = sendDue(alerts, AT);
    expect(first).toEqual({
      labels: {
        alertname: 'BailiffVerdict',
        cluster: 'eu',
        namespace: 'shop',
        pod: 'web-0',
        rule: 'spoof',
        level: 'high',
      },
      annotations: { summary: 'spoof: shop/web-0', description: 'why' },
      startsAt: new Date(AT - 1_000).toISOString(),
      endsAt: new Date(AT + 360_000).toISOString(),
      generatorURL: 'https://c/v1',
    });
    expect(sendDue(alerts, AT + 59_999)).toEqual([]);
    expect(sendDue(alerts, AT + 60_000)).toHaveLength(1);
    const end = AT + 600_000;
    expect(sendDue(alerts, end)).toMatchObject([{ endsAt: new Date(end - 60_000).toISOString() }]);
    expect([alerts.size, sendDue(alerts, end + 60_000)]).toEqual([0, []]);
  });

  it('a clock that was set back - the alert is sent again, with an end by the new time', () => {
    const alerts = make();
    alerts.verdict(facts(), AT);
    sendDue(alerts, AT);
    const then = AT - 3_600_000;
    expect(sendDue(alerts, then)).toMatchObject([{ endsAt: new Date(then + 360_000).toISOString() }]);
    expect(sendDue(alerts, then + 59_999)).toEqual([]);
    expect(sendDue(alerts, then + 599_999)).toHaveLength(1);
    const end = then + 600_000;
    expect(sendDue(alerts, end)).toMatchObject([{ endsAt: new Date(end).toISOString() }]);
  });

  it('an alert that lasted for less than clocks differ - ends when it began', () => {
    const alerts = new ActiveAlerts({ resendMs: 1_000, resolveAfterMs: 1_000, generatorUrl: '' });
    alerts.verdict(facts(), AT);
    const time = new Date(AT - 1_000).toISOString();
    expect(sendDue(alerts, AT + 1_000)).toMatchObject([{ startsAt: time, endsAt: time }]);
  });

  it('a verdict that is delivered late - is active from then on', () => {
    const alerts = make();
    alerts.verdict(facts({ timeMs: AT - 3_600_000 }), AT);
    expect(sendDue(alerts, AT)[0]?.endsAt).toBe(new Date(AT + 360_000).toISOString());
  });

  it('a later verdict of the same labels - extends it, and keeps its start', () => {
    const alerts = make();
    alerts.verdict(facts(), AT);
    alerts.verdict(facts({ verdictId: 'v2', timeMs: AT + 500_000 }), AT + 500_000);
    const due = sendDue(alerts, AT + 700_000);
    expect(due).toMatchObject([{ startsAt: new Date(AT - 1_000).toISOString(), generatorURL: 'https://c/v2' }]);
    expect(alerts.size).toBe(1);
  });

  it('a response - is added to the alert of its verdict only', () => {
    const alerts = make();
    alerts.verdict(facts(), AT);
    alerts.verdict(facts({ verdictId: 'v2', pod: 'web-1', podUid: 'p2' }), AT);
    const keys = alerts.response(facts({ kind: 'response', summary: 'delete of shop/web-0 succeeded' }));
    expect(alerts.alerts(keys, AT).map(([, { annotations }]) => annotations['response'])).toEqual([
      'delete of shop/web-0 succeeded',
    ]);
  });

  it('a pod that is gone - resolves its alerts, and until they are sent they are not forgotten', () => {
    const alerts = make();
    alerts.verdict(facts(), AT);
    sendDue(alerts, AT);
    expect(alerts.pods()).toEqual(new Map([['node-1', new Set(['p1'])]]));
    alerts.gone(new Set(['p1']));
    const end = AT + 360_000;
    expect(sendDue(alerts, end - 1)).toMatchObject([{ endsAt: new Date(end - 1 + 360_000).toISOString() }]);
    expect(alerts.due(end, 64)).toMatchObject([[expect.any(String), { endsAt: new Date(end - 60_000).toISOString() }]]);
    expect([alerts.size, alerts.pods().size]).toEqual([1, 0]);
    expect(sendDue(alerts, end + 1)).toHaveLength(1);
    expect(alerts.size).toBe(0);
  });

  it('after a restart - what was sent is repeated at the interval, and what has ended is resolved', () => {
    const alerts = make();
    alerts.verdict(facts(), AT, AT - 1_000);
    expect(sendDue(alerts, AT)).toEqual([]);
    expect(sendDue(alerts, AT + 60_000)).toHaveLength(1);
    expect(sendDue(alerts, AT + 599_000)).toMatchObject([{ endsAt: new Date(AT + 539_000).toISOString() }]);
  });

  it('a node without a pod - is in the labels', () => {
    expect(labelsOf(facts({ pod: '', namespace: '', clusterName: '' }))).toEqual({
      alertname: 'BailiffVerdict',
      cluster: 'c-uid',
      node: 'node-1',
      rule: 'spoof',
      level: 'high',
    });
  });

  it('a namespace with many alerts - has further ones sent once, and others are kept', () => {
    const alerts = make();
    for (let n = 0; n < MAX_NAMESPACE_ALERTS; n += 1) alerts.verdict(facts({ pod: `web-${n}` }), AT);
    expect(alerts.verdict(facts({ pod: 'one-more' }), AT)).toMatchObject({ labels: { pod: 'one-more' } });
    expect(alerts.verdict(facts({ pod: 'web-0' }), AT)).toEqual(expect.any(String));
    expect(alerts.verdict(facts({ namespace: 'other' }), AT)).toEqual(expect.any(String));
    expect(alerts.size).toBe(MAX_NAMESPACE_ALERTS + 1);
    // One that has ended, or that the server refuses, leaves room for one.
    alerts.forget([JSON.stringify(labelsOf(facts({ pod: 'web-1' })))]);
    expect(alerts.verdict(facts({ pod: 'two-more' }), AT)).toEqual(expect.any(String));
    expect(alerts.verdict(facts({ pod: 'three-more' }), AT)).toMatchObject({ labels: { pod: 'three-more' } });
    for (let more = true; more; ) more = sendDue(alerts, AT + 600_000).length > 0;
    expect(alerts.size).toBe(0);
    for (let n = 0; n < MAX_NAMESPACE_ALERTS; n += 1)
      expect(alerts.verdict(facts({ pod: `new-${n}` }), AT)).toEqual(expect.any(String));
  });
});

describe('name', () => {
  it('a short host - is the name; a slash at the end changes nothing', () => {
    expect(alertmanagerName('http://alertmanager.monitoring:9093')).toBe('alertmanager-alertmanager-monitoring-9093');
    expect(alertmanagerName('http://alertmanager.monitoring:9093/')).toBe('alertmanager-alertmanager-monitoring-9093');
  });

  const replica = (n: number) =>
    `http://alertmanager-my-kube-prometheus-stack-alertmanager-${n}.alertmanager-operated:9093`;
  it.each([
    ['replicas with long names', replica(0), replica(1)],
    ['tenants of one server', 'http://mimir:9009/alertmanager/a', 'http://mimir:9009/alertmanager/b'],
  ])('%s - have different names, which fit a metric and a subject', (_, a, b) => {
    const names = [a, b].map(alertmanagerName);
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name).toMatch(/^alertmanager-[a-z0-9-]{1,50}$/);
    // The control: their first 63 characters are the same.
    const plain = [a, b].map((url) => `alertmanager-${new URL(url).host.replaceAll(/[^a-z0-9-]+/g, '-')}`.slice(0, 63));
    expect(new Set(plain).size).toBe(1);
  });
});

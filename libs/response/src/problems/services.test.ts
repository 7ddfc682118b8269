import type { ServiceHealth, ServiceStatus } from '@bailiff/response';
import type { OutputStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import {
  correlatorProblem,
  responderProblem,
  serviceLines,
  serviceProblems,
  unansweredReason,
  unjudgedReason,
  unreadyProblems,
} from './services.ts';

const AT = 1_790_000_000_000;
const well: ServiceHealth = {
  running: 1,
  ready: 1,
  notReady: '',
  notReadyForMs: 0,
  silent: 0,
  silentForMs: 0,
  leading: 0,
  crashed: 0,
  leadingNow: 0,
  ledAgoMs: null,
  runningForMs: 3_600_000,
  waiting: { count: 0, oldestAtMs: 0, atLeast: false },
  behindMs: 0,
  heardMs: 4_000,
  newer: 0,
  stalledMs: 0,
};
const correlator = {
  ...well,
  newestFrameAtMs: AT - 1_000,
  newestVerdictAtMs: AT - 9_000,
  newestVerdictDelayMs: 34,
  skipped: [],
  missingVerdicts: null,
};
const responder = {
  ...well,
  newestResponseAtMs: AT - 8_000,
  due: 3,
  dryRuns: 0,
  unanswered: 0,
  oldestUnansweredAtMs: null,
  unansweredIds: [],
  failed: [],
  refused: [],
  removed: [],
};
const ipamSync = { ...well, running: 2, ready: 2, leading: 1, leadingNow: 1 };
const waits = (count: number, ageMs: number) => ({
  waiting: { count, oldestAtMs: AT - ageMs, atLeast: false },
  behindMs: ageMs,
});
const none = { running: 0, ready: 0, runningForMs: 0 };
function status(part: {
  correlator?: Partial<ServiceStatus['correlator']>;
  responder?: Partial<ServiceStatus['responder']>;
  ipamSync?: Partial<ServiceHealth>;
  siemRelay?: ServiceHealth;
  outputs?: OutputStatus[];
  busAuth?: Partial<ServiceStatus['busAuth']>;
  evidenceLog?: ServiceStatus['evidenceLog'];
}): ServiceStatus {
  return {
    atMs: AT,
    cut: false,
    correlator: { ...correlator, ...part.correlator },
    responder: { ...responder, ...part.responder },
    ipamSync: { ...ipamSync, ...part.ipamSync },
    siemRelay: part.siemRelay ? { ...part.siemRelay, outputs: part.outputs ?? [] } : null,
    busAuth: part.busAuth ? { ...well, waiting: null, watched: true, ended: [], ...part.busAuth } : null,
    evidenceLog: part.evidenceLog ?? null,
  };
}
const ID = '5f1d3c7a9b2e4d60aa11bb22cc33dd44';
const waiting = { unanswered: 1, oldestUnansweredAtMs: AT - 45_000, unansweredIds: [ID] };
const texts = (of: ServiceStatus) =>
  serviceProblems(of).map(({ severity, node, text }) => `${severity} ${node}: ${text}`);
const lines = (of: ServiceStatus) => serviceLines(of).map(({ name, text }) => `${name}: ${text}`);

describe('services', () => {
  it('evidence-log - only where it exists: the size of its log, and what it could not log', () => {
    const log = { origin: 'bailiff.example/log', keyId: '0a1b2c3d', size: 7, lagMs: 0, missed: 0 };
    expect(lines(status({})).join()).not.toContain('evidence-log');
    expect(lines(status({ evidenceLog: { ...well, log } })).at(-1)).toBe(
      'evidence-log: 1 running, up to date; bailiff.example/log has 7 messages, key 0a1b2c3d',
    );
    expect(texts(status({ evidenceLog: { ...well, log } }))).toEqual([]);
    expect(lines(status({ evidenceLog: { ...well, log: { ...log, lagMs: 90_000 } } })).at(-1)).toContain(
      'head 90s behind',
    );
    expect(texts(status({ evidenceLog: { ...well, log: { ...log, missed: 3 } } }))).toEqual([
      'warn evidence-log: 3 messages deleted by their stream before they were logged',
    ]);
    const witness = { name: 'w/1', size: 7, cosignedAt: '' };
    const failing = (code: string, agoMs: number) => {
      const since = new Date(AT - agoMs).toISOString();
      const witnesses = [witness, { ...witness, name: 'w/2', failing: { code, reason: 'why', since } }];
      return status({ evidenceLog: { ...well, log: { ...log, witnesses } } });
    };
    expect(lines(failing('WITNESS_UNREACHABLE', 9)).at(-1)).toMatch(/, cosigned by 1 of 2 witnesses$/);
    expect(texts(failing('WITNESS_UNREACHABLE', 9))).toEqual([]);
    expect(texts(failing('WITNESS_UNREACHABLE', 90_000))).toEqual([
      'warn evidence-log w/2: has not cosigned for 90s: WITNESS_UNREACHABLE: "why"',
    ]);
    expect(texts(failing('WITNESS_CONFLICT', 9))).toEqual(['shout evidence-log w/2: "why"']);
    expect(texts(status({ evidenceLog: { ...well, ...none, ...waits(9, 60_000), log: null } }))).toEqual([
      expect.stringMatching(/^warn evidence-log: 0 running: messages enter no log, .*; 9 messages not logged/),
    ]);
  });

  it('up to date - as of the status, and only while an instance is ready', () => {
    const [first] = lines(status({ correlator: { newer: 3, heardMs: 9_000 } }));
    expect(first).toMatch(/^correlator: 1 running, up to date 9s ago, 3 frames since;/);
    const [overdue] = lines(status({ correlator: { newer: 300, heardMs: 22_000 } }));
    expect(overdue).toMatch(/^correlator: 1 running, up to date 22s ago, 300 frames since, no status since;/);
    // Nothing is stored that it has not judged, but it may have ended since.
    expect(lines(status({ correlator: { heardMs: 22_000 } }))[0]).toMatch(/up to date 22s ago, no status since;/);
    const away = { ready: 0, notReady: 'redis: ECONNREFUSED', notReadyForMs: 2_000 };
    const [, responderLine] = lines(status({ responder: away }));
    expect(responderLine).toMatch(/^responder: 1 running, not ready \(redis: ECONNREFUSED\);/);
    // The control: what is measured now.
    expect(lines(status({}))[0]).toMatch(/^correlator: 1 running, up to date;/);
  });

  it('healthy - no problem; one line per service with the delay of verdicts', () => {
    expect(serviceProblems(status({}))).toEqual([]);
    expect(lines(status({}))).toEqual([
      'correlator: 1 running, up to date; newest verdict 9s ago, 34 ms after its violation',
      'responder: 1 running, up to date; 3 of 3 due verdicts answered',
      'ipam-sync: 2 running, 1 leads, up to date',
    ]);
    expect(lines(status({ responder: { dryRuns: 2 } }))[1]).toMatch(
      /; 3 of 3 due verdicts answered, 2 of them by dry runs alone$/,
    );
    const fresh = status({
      correlator: { newestVerdictAtMs: null, newestVerdictDelayMs: null },
      responder: { due: 0, dryRuns: 0 },
      siemRelay: well,
    });
    expect(lines(fresh)).toEqual([
      expect.stringMatching(/; no verdict yet$/),
      expect.stringMatching(/; no verdict is due$/),
      expect.any(String),
      'siem-relay: 1 running, up to date',
    ]);
  });

  it('outputs - one line, and a warning for what fails, is behind, or was deleted', () => {
    const failing = { code: 'OUTPUT_BUSY', reason: 'responds with 429', since: new Date(AT - 300_000).toISOString() };
    const fine = { pending: 0, lagMs: 0, delivered: 7, refused: 0, lost: 0, deliveredAt: '' };
    const outputs = [
      { name: 'syslog', ...fine },
      { name: 'otlp', ...fine, pending: 12 },
      { name: 'alertmanager', ...fine, lagMs: 90_000, lost: 3 },
      { name: 'webhook-pager', ...fine, pending: 2, lagMs: 300_000, failing },
    ];
    const of = status({ siemRelay: well, outputs });
    expect(lines(of).at(-1)).toBe(
      'siem-relay: 1 running, up to date; outputs: syslog up to date, otlp 12 events waiting, ' +
        'alertmanager 90s behind, webhook-pager failing for 5m (OUTPUT_BUSY), 2 events waiting',
    );
    expect(texts(of)).toEqual([
      'warn siem-relay alertmanager: is 90s behind, events waiting',
      'warn siem-relay alertmanager: 3 events deleted before delivery',
      'warn siem-relay webhook-pager: deliveries fail for 5m, 2 events waiting: OUTPUT_BUSY: "responds with 429"',
    ]);
    const lost = (agoMs: number) => {
      const output = { name: 'otlp', ...fine, lost: 3, lostAt: new Date(AT - agoMs).toISOString() };
      return texts(status({ siemRelay: well, outputs: [output] }));
    };
    expect(lost(3_500_000)).toEqual(['warn siem-relay otlp: 3 events deleted before delivery']);
    expect(lost(3_700_000)).toEqual([]);
    const recent = { ...failing, since: new Date(AT - 5_000).toISOString() };
    expect(texts(status({ siemRelay: well, outputs: [{ name: 'otlp', ...fine, failing: recent }] }))).toEqual([]);
  });

  it('missing verdicts - are exit code 10, with their number; control: all were published', () => {
    const missingVerdicts = { count: 12, since: new Date(AT - 300_000).toISOString() };
    const missing = status({ correlator: { ...correlator, missingVerdicts } });
    expect(texts(missing)[0]).toMatch(
      /^warn correlator: 12 verdicts of the last 5m not published: a namespace, a node/,
    );
    expect(serviceProblems(missing)[0]?.exitCode).toBe(10);
    expect(texts(status({ correlator }))).toEqual([]);
  });

  it('a pod without a verdict - met no rule only if all of its violations are known to be judged', () => {
    const nodes = new Set(['node-a']);
    const reason = (part: Partial<ServiceStatus['correlator']>) =>
      unjudgedReason(status({ correlator: { ...correlator, ...part } }), nodes);
    const skipped = (node: string) => [{ node, messages: 3, reason: 'over-share', since: new Date(AT).toISOString() }];
    const missingVerdicts = { count: 1, since: new Date(AT).toISOString() };
    expect(reason({ skipped: skipped('node-b') })).toBe('');
    expect(unjudgedReason(null, nodes)).toMatch(/could not be read/);
    expect(reason({ running: 0 })).toMatch(/^correlator: 0 running/);
    expect(reason({ behindMs: 5_000, waiting: { count: 4, oldestAtMs: AT - 5_000, atLeast: false } })).toMatch(
      /^the correlator is 5s behind: 4 frames not judged/,
    );
    expect(reason({ newer: 2 })).toMatch(/not all violations are known to be judged/);
    expect(reason({ waiting: null })).toMatch(/not all violations are known to be judged/);
    expect(reason({ skipped: skipped('node-a') })).toMatch(
      /messages of node node-a were skipped or refused \(over-share\)/,
    );
    expect(reason({ missingVerdicts })).toMatch(/^1 verdict of the last 60s not published/);
  });

  it('refused responses - nothing was done, which is exit code 10; control: none were', () => {
    const refused = [{ reasonCode: 'host-network', count: 2, reason: 'the pod uses the network of its node' }];
    const of = (part: typeof refused) => status({ responder: { ...responder, refused: part } });
    expect(texts(of(refused))[0]).toMatch(
      /^warn responder: nothing was done about 2 verdicts of the last hour: .* newest: host-network: "the pod uses/,
    );
    expect(serviceProblems(of(refused))[0]?.exitCode).toBe(10);
    expect(texts(of([]))).toEqual([]);
  });

  it('bus-auth - names the nodes whose connections it ended, and servers that do not list them', () => {
    const at = (agoMs: number) => new Date(AT - agoMs).toISOString();
    const flooding = { node: 'node-a', connections: 12, reason: 'flooding', host: '10.0.0.9', endedAt: at(8_000) };
    const ended = [
      { ...flooding, keptOutUntil: at(-52_000) },
      { ...flooding, node: 'node-b', reason: 'heavy', keptOutUntil: at(1_000) },
      { ...flooding, node: '', connections: 1, reason: 'a word that this version does not know' },
    ];
    const of = status({ busAuth: { running: 2, ready: 2, ended } });
    expect(lines(of).at(-1)).toBe('bus-auth: 2 running');
    const newest = 'the newest 8s ago, of client "10.0.0.9"';
    expect(texts(of)).toEqual([
      `warn node-a: bus-auth ended 12 connections of it, ${newest}: it sends more than a collector does; its logins get no response for 52s`,
      `warn node-b: bus-auth ended 12 connections of it, ${newest}: it receives more than it requests, or does not read`,
      `warn unknown node: bus-auth ended 1 connection of it, ${newest}: "a word that this version does not know"`,
    ]);
    const unwatched = { watched: false };
    expect(texts(status({ busAuth: unwatched }))).toEqual([
      'warn bus-auth: does not end connections of nodes that flood the bus: the servers refuse their lists',
    ]);
    expect(texts(status({ busAuth: { ...unwatched, runningForMs: 5_000 } }))).toEqual([]);
    expect(texts(status({ busAuth: none }))).toEqual([expect.stringMatching(/^shout bus-auth: 0 running: collectors/)]);
  });

  it('failed responses - exit with 7 while none succeeds; a failure that concerns one pod is a warning', () => {
    const failed = (persists: boolean) => [
      { action: 'label' as const, count: 3, reasonCode: 'kube-forbidden', reason: 'given up after 3 tries', persists },
    ];
    const of = (persists: boolean) => status({ responder: { ...responder, failed: failed(persists) } });
    expect(texts(of(true))).toEqual([
      'shout responder: 3 responses failed in the last hour (label), and none succeeded since; newest: kube-forbidden: "given up after 3 tries"',
    ]);
    expect(serviceProblems(of(true))[0]).toMatchObject({ exitCode: 7 });
    expect(texts(of(false))[0]).toMatch(/^warn responder: 3 responses failed in the last hour \(label\); newest/);
    expect(serviceProblems(of(false))[0]).toMatchObject({ exitCode: 0 });
  });

  it('no instance - critical, lists the backlog, exit code 7', () => {
    const gone = status({ correlator: { ...none, ...waits(1_234, 300_000) } });
    expect(correlatorProblem(gone)).toMatchObject({ severity: 'shout', exitCode: 7 });
    expect(texts(gone)).toEqual([
      'shout correlator: 0 running: packets are still dropped, but no verdicts are published; 1234 frames not judged, oldest 5m',
    ]);
    expect(lines(gone)[0]).toMatch(/^correlator: 0 running, 1234 frames not judged, oldest 5m;/);
    const both = status({ responder: { ...none, ...waits(2, 45_000), ...waiting } });
    expect(responderProblem(both)).toMatchObject({
      exitCode: 7,
      text: expect.stringMatching(/^0 running: .*; 2 verdicts not read, oldest 45s; 1 verdict without a response/),
    });
    expect(texts(status({ ipamSync: none }))).toEqual([
      expect.stringMatching(/^shout ipam-sync: 0 running: nodes keep/),
    ]);
    expect(texts(status({ siemRelay: { ...well, ...none } }))).toEqual([expect.stringMatching(/^warn siem-relay: 0/)]);
  });

  it('missing status - the count is marked as a lower bound', () => {
    const unheard = { ...waits(3, 60_000), waiting: { count: 3, oldestAtMs: AT - 60_000, atLeast: true } };
    expect(texts(status({ correlator: { ...none, ...unheard } }))[0]).toMatch(/at least 3 frames not judged/);
  });

  it('silent - alone it is shouted, beside others that run it is a warning', () => {
    const silent = { silent: 1, silentForMs: 40_000 };
    expect(texts(status({ correlator: { ...none, ...silent, ...waits(1, 35_000) } }))).toEqual([
      expect.stringMatching(
        /^shout correlator: 0 running, 1 without a status for 40s \(hung, .*up to 1 frame not judged/,
      ),
    ]);
    expect(texts(status({ correlator: silent }))).toEqual([
      'warn correlator: 1 without a status for 40s (hung, killed, or cut off from the bus, such as by a refused login)',
    ]);
  });

  it('crashes again and again - is a warning, a single crash is none', () => {
    expect(texts(status({ correlator: { crashed: 4 } }))).toEqual([
      'warn correlator: 4 crashes within 10m: it starts again and again',
    ]);
    expect(texts(status({ correlator: { crashed: 2 } }))).toEqual([]);
  });

  it('not progressing, not ready, without a leader - is shouted once it lasts', () => {
    const stuck = { ...waits(12, 70_000), stalledMs: 65_000 };
    expect(texts(status({ correlator: stuck }))).toEqual([
      'shout correlator: 1 running, not progressing for 65s: 12 frames not judged, oldest 70s',
    ]);
    const unready = { ready: 0, notReady: 'redis: Redis does not answer' };
    expect(texts(status({ responder: { ...unready, notReadyForMs: 90_000 } }))).toEqual([
      'shout responder: 1 running, none ready for 90s: redis: Redis does not answer',
    ]);
    expect(texts(status({ responder: { ...unready, notReadyForMs: 16_000 } }))).toHaveLength(1);
    expect(texts(status({ responder: { ...unready, notReadyForMs: 5_000 } }))).toEqual([]);
    // It starts, and reads its streams first.
    const starts = { ...unready, notReadyForMs: 50_000, runningForMs: 51_000 };
    expect(texts(status({ responder: starts }))).toEqual([]);
    expect(texts(status({ responder: { ...starts, notReadyForMs: 61_000 } })), 'as those before it').toHaveLength(1);
    expect(unreadyProblems(status({ responder: starts }))).toMatchObject([{ node: 'responder', exitCode: 7 }]);
    expect(unreadyProblems(status({ responder: none }))).toEqual([]);
    expect(lines(status({ responder: unready }))[1]).toMatch(/1 running, not ready \(redis: Redis does not answer\)/);
    expect(texts(status({ ipamSync: { leading: 0 } }))).toEqual([
      expect.stringMatching(/^shout ipam-sync: 2 running, none leads: nodes keep/),
    ]);
    expect(texts(status({ ipamSync: { leading: 0, runningForMs: 2_000 } }))).toEqual([]);
    expect(texts(status({ ipamSync: { leading: 0, ledAgoMs: 29_000 } }))).toEqual([]);
    expect(texts(status({ ipamSync: { leading: 0, ledAgoMs: 31_000 } }))).toHaveLength(1);
    expect(texts(status({ ipamSync: { leading: 2, leadingNow: 2 } }))).toEqual([
      expect.stringMatching(/^shout ipam-sync: 2 lead: they use the API servers of different clusters/),
    ]);
    expect(lines(status({ ipamSync: { leading: 2, leadingNow: 1 } }))[2]).toMatch(/2 running, 2 lead, up to date/);
    expect(texts(status({ ipamSync: { leading: 2, leadingNow: 1 } }))).toEqual([]);
  });

  it('behind - shows from the first second, and is a warning above ten', () => {
    expect(lines(status({ correlator: waits(7, 3_000) }))[0]).toMatch(
      /^correlator: 1 running, 3s behind: 7 frames not judged/,
    );
    expect(texts(status({ correlator: waits(7, 3_000) }))).toEqual([]);
    expect(texts(status({ correlator: waits(7, 11_000) }))).toEqual([
      expect.stringMatching(/^warn correlator: is behind/),
    ]);
  });

  it('verdicts that wait although a responder runs - point at the verdict', () => {
    expect(serviceProblems(status({ responder: waiting }))).toMatchObject([
      {
        node: 'responder',
        text: '1 verdict without a response (5f1d3c7a9b, for 45s)',
        remedy: expect.stringMatching(/^`bailiff explain 5f1d3c7a9b` shows/),
      },
    ]);
  });

  it('messages of a node that are skipped - a warning with the reason of the newest', () => {
    const since = new Date(AT - 300_000).toISOString();
    const skipped = [
      { node: 'node-a', messages: 1_204, reason: 'over-share', since },
      { node: '', messages: 1, reason: 'bad-subject', since },
    ];
    expect(texts(status({ correlator: { skipped } }))).toEqual([
      'warn node-a: 1204 messages of its collector skipped or refused in the last 5m (newest: over-share)',
      'warn VIOLATIONS: 1 message of its collector skipped or refused in the last 5m (newest: bad-subject)',
    ]);
  });

  it('messages about a pod that no list names - are no sign against their node; those of other reasons are', () => {
    const remedyOf = (reason: string) => {
      const skipped = [{ node: 'node-a', messages: 3, reason, since: new Date(AT).toISOString() }];
      return serviceProblems(status({ correlator: { skipped } }))[0]?.remedy;
    };
    expect(remedyOf('unproven-pod')).toMatch(/^no list names pods that it reported: ipam-sync was away/);
    expect(remedyOf('unproven-pod')).not.toContain('credential');
    expect(remedyOf('foreign-pod')).toContain('another client uses its credential');
  });

  it('late verdicts - are a warning while they are recent', () => {
    const late = { newestVerdictDelayMs: 20_000 };
    expect(serviceProblems(status({ correlator: late }))).toMatchObject([{ severity: 'warn', exitCode: 0 }]);
    const old = { ...late, newestVerdictAtMs: AT - 3_600_000 };
    expect(serviceProblems(status({ correlator: old }))).toEqual([]);
  });

  it('a verdict without a response - is explained by what is missing, and only when it waits itself', () => {
    expect(unansweredReason(status({ responder: waiting }))(ID)).toMatch(
      /^responder: 1 verdict without .*bailiff explain/,
    );
    const unready = { ...waiting, notReady: 'Redis is not reachable: connect ECONNREFUSED' };
    expect(unansweredReason(status({ responder: unready }))(ID)).toMatch(/^responder: 1 verdict without .*its Redis/);
    expect(unansweredReason(status({ responder: waiting }))('another')).toBe('');
    expect(unansweredReason(status({ responder: none }))('another')).toMatch(/0 running: verdicts get no response/);
    expect(unansweredReason(status({}))(ID)).toBe('');
    expect(unansweredReason(null)(ID)).toBe('');
  });
});

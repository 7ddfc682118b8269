/**
 * Status of the services: one line each, and problems with remedies. Pure.
 */

import type { MissingVerdicts } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { CRASHED_WITHIN_MS, OVERDUE_MS, type ServiceHealth } from '../status/service-health.ts';
import type { ServiceStatus } from '../status/service-status.ts';
import { age, plural, quoted, span } from '../status/text.ts';
import { UNPROVEN_POD } from './dead-letters.ts';
import { logProblems, logText } from './evidence-log.ts';
import { connectionProblems } from './node-connections.ts';
import { outputProblems, outputText } from './outputs.ts';
import { notEnforced, type Problem } from './problem.ts';

/**
 * A verdict later than this after its frame means that the correlator is behind or was down. Normal
 * are milliseconds.
 */
const LATE_MS = 10_000;
/** Older late verdicts are not reported. */
const RECENT_MS = 600_000;
/** Waiting work without progress for this long: the instances are stuck. */
const STUCK_MS = 30_000;
/** An instance that is unready for longer than a client takes to reconnect cannot work. */
const UNREADY_MS = 15_000;
/** A start may take this long: an instance reads its streams before it is ready. */
const START_MS = 60_000;
/** Work that started within this time does not count as behind. */
const UNDER_WAY_MS = 1_000;
/** A single crash heals by itself. */
const MANY_CRASHES = 3;
/** A replica acquires a free lease within this time. */
const LEASE_MS = 30_000;

/** Nodes named for skipped messages; `--json` lists all. */
const MAX_SKIPPED = 5;
const SKIPPED_ALERT = 'docs/alerts.md, BailiffNodeMessagesSkipped';
const SKIPPED_REMEDY = `its collector has another version, or another client uses its credential: ${SKIPPED_ALERT}`;

const MISSING_REMEDY = 'docs/alerts.md, BailiffVerdictsSuppressed; `bailiff top pods` shows who violates';
const FAILED_REMEDY = '`bailiff responses --since 1h --phase failed`; act by hand, and fix the reason';
const REFUSED_REMEDY =
  '`bailiff responses --since 1h --phase refused` names the pods: delete them by hand, or cordon their nodes';

type Severity = Problem['severity'];
const problem = (node: string, severity: Severity, text: string, remedy: string): Problem => ({
  severity,
  area: 'services',
  node,
  text,
  remedy,
  exitCode: severity === 'shout' ? EXIT.dependencyUnreachable : EXIT.ok,
});

interface Service {
  name: string;
  health: ServiceHealth;
  /** The unit of waiting work, and what has not happened to it. */
  work: [noun: string, verb: string];
  /** The effect of having no running instance. */
  without: string;
  optional: boolean;
}

function servicesOf(status: ServiceStatus): Service[] {
  const { correlator, responder, ipamSync, siemRelay, busAuth, evidenceLog } = status;
  const services: Service[] = [
    {
      name: 'correlator',
      health: correlator,
      work: ['frame', 'judged'],
      without: 'packets are still dropped, but no verdicts are published',
      optional: false,
    },
    {
      name: 'responder',
      health: responder,
      work: ['verdict', 'read'],
      without: 'verdicts get no response',
      optional: false,
    },
    {
      name: 'ipam-sync',
      health: ipamSync,
      work: ['snapshot', 'written'],
      without: 'nodes keep their last pod snapshot, and new pods stay provisional',
      optional: false,
    },
  ];
  if (siemRelay !== null)
    services.push({
      name: 'siem-relay',
      health: siemRelay,
      work: ['message', 'passed on'],
      without: 'the SIEM receives no events',
      optional: true,
    });
  if (busAuth !== null)
    services.push({
      name: 'bus-auth',
      health: busAuth,
      work: ['login', 'granted'],
      without: 'collectors cannot log in, and those that are connected only until their token expires',
      optional: false,
    });
  if (evidenceLog !== null)
    services.push({
      name: 'evidence-log',
      health: evidenceLog,
      work: ['message', 'logged'],
      without: 'messages enter no log, and a bundle about them has no proofs',
      optional: true,
    });
  return services;
}

/** `12 frames not judged, oldest 5m`; empty without waiting work. */
function waitingText({ health, work: [noun, verb] }: Service): string {
  const { waiting, behindMs, running, silent } = health;
  if (waiting === null || waiting.count === 0) return '';
  // If the last instance ended without a final status, part of the work may be done.
  const bound = waiting.atLeast ? 'at least ' : running === 0 && silent > 0 ? 'up to ' : '';
  const count = `${bound}${plural(waiting.count, noun)} not ${verb}`;
  return `${count}, oldest ${age(behindMs)}`;
}

/**
 * `1 without a status for 40s (…)`; empty if all report. The bus cannot distinguish the causes: only a
 * log of the instance names a refused login.
 */
function silentText({ silent, silentForMs }: ServiceHealth): string {
  if (silent === 0) return '';
  return `${silent} without a status for ${age(silentForMs)} (hung, killed, or cut off from the bus, such as by a refused login)`;
}

/**
 * `up to date` if nothing is stored that is not processed. Otherwise how long ago that was so: a
 * status says nothing about messages that are newer.
 */
function upToDateText({ health: { newer, heardMs }, work: [noun] }: Service): string {
  const overdue = heardMs > OVERDUE_MS ? ', no status since' : '';
  if (newer === 0 && overdue === '') return 'up to date';
  return `up to date ${age(heardMs)} ago${newer > 0 ? `, ${plural(newer, noun)} since` : ''}${overdue}`;
}

/** `2 running, up to date` */
function stateText(service: Service): string {
  const { health } = service;
  const { running, ready, stalledMs, behindMs, waiting } = health;
  const waits = waitingText(service);
  const parts = [`${running} running`, silentText(health)];
  if (running > 0 && ready < running) parts.push(ready === 0 ? `not ready (${health.notReady})` : `${ready} ready`);
  if (service.name === 'ipam-sync' && running > 0)
    parts.push(['none leads', '1 leads'][health.leading] ?? `${health.leading} lead`);
  if (running === 0) parts.push(waits);
  else if (stalledMs > STUCK_MS) parts.push(`not progressing for ${age(stalledMs)}: ${waits}`);
  else if (waits !== '' && behindMs >= UNDER_WAY_MS) parts.push(`${age(behindMs)} behind: ${waits}`);
  else if (waiting !== null && ready > 0) parts.push(upToDateText(service));
  return parts.filter((part) => part !== '').join(', ');
}

/** A Redis that it does not reach, that refuses its login, or that accepts no jobs. */
const namesRedis = (notReady: string): boolean => /redis/i.test(notReady);
const CHECK_REDIS = 'check its Redis and its password: `bailiff doctor --only redis --redis-url <url>`, and its log';

const logOf = (name: string): string => `\`bailiff logs ${name}\``;

/** Longer than a moment, and than a start. */
const isUnready = ({ notReadyForMs, runningForMs }: ServiceHealth): boolean =>
  notReadyForMs > UNREADY_MS && (runningForMs > START_MS || notReadyForMs > START_MS);

function unreadyProblem({ name, health, optional }: Service): Problem {
  const { running, notReady, notReadyForMs } = health;
  const text = `${running} running, none ready for ${age(notReadyForMs)}: ${notReady}`;
  return problem(name, optional ? 'warn' : 'shout', text, namesRedis(notReady) ? CHECK_REDIS : `see ${logOf(name)}`);
}

/** Services that run but are not ready, even if they are only starting. */
export const unreadyProblems = (status: ServiceStatus): Problem[] =>
  servicesOf(status).flatMap((one) => (one.health.running > 0 && one.health.ready === 0 ? unreadyProblem(one) : []));

/** No instance runs, or the running ones cannot work; null otherwise. */
function outageOf(service: Service): Problem | null {
  const { name, health, without, optional } = service;
  const { running, ready, stalledMs } = health;
  const severity = optional ? 'warn' : 'shout';
  const waits = waitingText(service);
  if (running === 0) {
    const text = [`0 running${health.silent > 0 ? `, ${silentText(health)}` : ''}: ${without}`, waits];
    const remedy =
      health.silent > 0
        ? `${logOf(name)} and its /readyz name a refused login; restart it if it hangs`
        : `start it, or see ${logOf(name)}`;
    return problem(name, severity, text.filter(Boolean).join('; '), `${remedy}: it resumes where it stopped`);
  }
  if (stalledMs > STUCK_MS)
    return problem(
      name,
      severity,
      `${running} running, not progressing for ${age(stalledMs)}: ${waits}`,
      `see ${logOf(name)}, and restart it: it resumes where it stopped`,
    );
  if (ready === 0 && isUnready(health)) return unreadyProblem(service);
  return name === 'ipam-sync' ? leaseProblem(service) : null;
}

function leaseProblem({ name, health, without }: Service): Problem | null {
  const { running, leading, leadingNow, ledAgoMs, notReady, runningForMs } = health;
  if (leadingNow > 1) {
    const text = `${leadingNow} lead: they use the API servers of different clusters, or no election, and overwrite the lists of each other`;
    return problem(name, 'shout', text, `look at the kubeconfig and the bus of each instance; see ${logOf(name)}`);
  }
  if (leading > 0 || Math.min(runningForMs, ledAgoMs ?? runningForMs) <= LEASE_MS) return null;
  return problem(
    name,
    'shout',
    `${running} running, none leads${notReady === '' ? '' : ` (${notReady})`}: ${without}`,
    `it cannot acquire its lease: see ${logOf(name)}, and \`bailiff doctor --only kubernetes\``,
  );
}

/** The service works, but with fewer instances or late; null otherwise. */
function degradationOf(service: Service): Problem[] {
  const { name, health } = service;
  const { running, ready, behindMs, notReady } = health;
  const problems: Problem[] = [];
  if (health.silent > 0)
    problems.push(
      problem(
        name,
        'warn',
        silentText(health),
        `${logOf(name)} and its /readyz name the cause; it may have been replaced`,
      ),
    );
  if (health.crashed >= MANY_CRASHES) {
    const text = `${health.crashed} crashes within ${age(CRASHED_WITHIN_MS)}: it starts again and again`;
    problems.push(problem(name, 'warn', text, `\`bailiff logs ${name} --previous\` names the cause`));
  }
  if (ready < running && isUnready(health))
    problems.push(
      problem(name, 'warn', `${running - ready} of ${running} not ready: ${notReady}`, `see ${logOf(name)}`),
    );
  if (behindMs > LATE_MS) problems.push(problem(name, 'warn', `is behind: ${waitingText(service)}`, ''));
  return problems;
}

/** No correlator works; null otherwise. */
export function correlatorProblem(status: ServiceStatus): Problem | null {
  return outageOf(servicesOf(status)[0] as Service);
}

/**
 * Why violations of these nodes may have no verdict although they met a rule; empty if they met none.
 * @param status null: it could not be read
 */
export function unjudgedReason(status: ServiceStatus | null, nodes: ReadonlySet<string>): string {
  if (!status) return 'the status of the correlator could not be read: they may not be judged yet';
  const { correlator } = status;
  const service = servicesOf(status)[0] as Service;
  const outage = outageOf(service);
  if (outage) return `correlator: ${outage.text}`;
  if (correlator.behindMs >= UNDER_WAY_MS)
    return `the correlator is ${age(correlator.behindMs)} behind: ${waitingText(service)}`;
  if (correlator.newer > 0 || correlator.waiting === null)
    return 'not all violations are known to be judged: repeat it in a few seconds';
  const skipped = correlator.skipped.find(({ node }) => nodes.has(node));
  if (skipped)
    return `messages of node ${skipped.node} were skipped or refused (${skipped.reason}): its violations may be missing`;
  return correlator.missingVerdicts ? missingText(correlator.missingVerdicts, status.atMs) : '';
}

const missingText = ({ count, since }: MissingVerdicts, atMs: number): string =>
  `${plural(count, 'verdict')} of the last ${age(Math.max(60_000, atMs - Date.parse(since)))} not published: a namespace, a node or all reached the limit per minute, or the bus refused them`;

/** Verdicts wait although or because no responder works; null otherwise. */
export function responderProblem(status: ServiceStatus): Problem | null {
  const { responder, atMs, cut } = status;
  const { unanswered, oldestUnansweredAtMs, unansweredIds } = responder;
  const failure = outageOf(servicesOf(status)[1] as Service);
  if (unanswered === 0) return failure;
  const first = `${unansweredIds[0]?.slice(0, 10)}, for ${age(atMs - (oldestUnansweredAtMs ?? atMs))}`;
  const waiting = `${cut ? 'up to ' : ''}${plural(unanswered, 'verdict')} without a response (${first})`;
  if (failure) return { ...failure, text: `${failure.text}; ${waiting}` };
  return problem('responder', 'shout', waiting, remedyOf(responder, unansweredIds[0] ?? ''));
}

function remedyOf({ notReady }: ServiceHealth, verdictId: string): string {
  if (namesRedis(notReady)) return CHECK_REDIS;
  return `\`bailiff explain ${verdictId.slice(0, 10)}\` shows the steps that have not ended; see ${logOf('responder')}`;
}

/** Steps that the responder gave up count as answered, but nothing was done. */
function failedProblems({ responder }: ServiceStatus): Problem[] {
  return responder.failed.map(({ action, count, reasonCode, reason, persists }) => {
    const since = persists ? ', and none succeeded since' : '';
    const text = `${plural(count, 'response')} failed in the last hour (${action})${since}; newest: ${reasonCode}: ${quoted(reason)}`;
    return problem('responder', persists ? 'shout' : 'warn', text, FAILED_REMEDY);
  });
}

/** Answered, but nothing was done: the pods go on. */
function refusedProblems({ responder }: ServiceStatus): Problem[] {
  return responder.refused.map(({ count, reasonCode, reason }) => {
    const text = `nothing was done about ${plural(count, 'verdict')} of the last hour: a guard refused each removal and quarantine; newest: ${reasonCode}: ${quoted(reason)}`;
    return notEnforced('responder', text, REFUSED_REMEDY, 'services');
  });
}

/** Why a verdict has no response; empty if nothing is wrong. */
export function unansweredReason(status: ServiceStatus | null): (verdictId: string) => string {
  const failure = status && responderProblem(status);
  return (verdictId) => {
    if (!status || !failure) return '';
    const waits = status.responder.running === 0 || status.responder.unansweredIds.includes(verdictId);
    return waits ? `responder: ${failure.text}; ${failure.remedy}` : '';
  };
}

export function serviceProblems(status: ServiceStatus): Problem[] {
  const problems = servicesOf(status).flatMap((service) => {
    const failure = service.name === 'responder' ? responderProblem(status) : outageOf(service);
    return failure ? [failure] : degradationOf(service);
  });
  const { correlator, atMs } = status;
  const { newestVerdictDelayMs: delayMs, newestVerdictAtMs: verdictAtMs } = correlator;
  if (delayMs !== null && verdictAtMs !== null && delayMs > LATE_MS && atMs - verdictAtMs < RECENT_MS) {
    const text = `its newest verdict was published ${span(delayMs)} after its violation`;
    problems.push(problem('correlator', 'warn', text, 'it is behind, or was down'));
  }
  for (const { node, messages, reason, since } of correlator.skipped.slice(0, MAX_SKIPPED)) {
    const text = `${plural(messages, 'message')} of its collector skipped or refused in the last ${age(atMs - Date.parse(since))} (newest: ${reason})`;
    const remedy = reason === 'unproven-pod' ? `${UNPROVEN_POD}; ${SKIPPED_ALERT}` : SKIPPED_REMEDY;
    problems.push(problem(node || 'VIOLATIONS', 'warn', text, remedy));
  }
  if (correlator.missingVerdicts) {
    const text = missingText(correlator.missingVerdicts, atMs);
    problems.push(notEnforced('correlator', text, MISSING_REMEDY, 'services'));
  }
  return [
    ...problems,
    ...failedProblems(status),
    ...refusedProblems(status),
    ...outputProblems(status.siemRelay?.outputs ?? [], atMs),
    ...connectionProblems(status.busAuth, atMs),
    ...logProblems(status),
  ];
}

function detailText(name: string, status: ServiceStatus): string {
  const { correlator, responder, siemRelay, evidenceLog, atMs, cut } = status;
  if (name === 'correlator') {
    const { newestVerdictAtMs: verdictAtMs, newestVerdictDelayMs: delayMs } = correlator;
    const late = delayMs === null ? '' : `, ${span(delayMs)} after its violation`;
    return verdictAtMs === null ? '; no verdict yet' : `; newest verdict ${age(atMs - verdictAtMs)} ago${late}`;
  }
  if (name === 'siem-relay') {
    const outputs = (siemRelay?.outputs ?? []).map((output) => outputText(output, atMs));
    return outputs.length > 0 ? `; outputs: ${outputs.join(', ')}` : '';
  }
  if (name === 'evidence-log') return logText(evidenceLog?.log ?? null);
  if (name !== 'responder') return '';
  const { due, unanswered, dryRuns } = responder;
  if (due === 0) return '; no verdict is due';
  const dry = dryRuns > 0 ? `, ${dryRuns} of them by dry runs alone` : '';
  return `; ${due - unanswered} of ${plural(due, 'due verdict')} answered${dry}${cut ? ' (newest only)' : ''}`;
}

export interface ServiceLine {
  name: string;
  text: string;
}

/** `2 running, up to date; newest verdict 9m ago, 34 ms after its violation`, by service. */
export function serviceLines(status: ServiceStatus): ServiceLine[] {
  return servicesOf(status).map((service) => ({
    name: service.name,
    text: stateText(service) + detailText(service.name, status),
  }));
}

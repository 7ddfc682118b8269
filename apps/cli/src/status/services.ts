/** What is reported of correlator, responder, ipam-sync and siem-relay: a line each, and problems with what to do. Pure. */
import type { ServiceHealth, ServiceStatus } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { plural } from '../shared/text/plural.ts';
import { age, span } from '../shared/text/time.ts';
import type { Problem } from './report.ts';

/** A verdict later than this after the frame that met its rule: the correlator is behind, or was away. Ordinary are milliseconds. */
const LATE_MS = 10_000;
/** A late verdict older than this is no news. */
const RECENT_MS = 600_000;
/** Work that has waited for longer with no progress: the instances are stuck. */
const STUCK_MS = 30_000;
/** A start takes less; an instance that has been unready for longer cannot work. */
const UNREADY_MS = 60_000;
/** Work that is under way is not behind. */
const UNDER_WAY_MS = 1_000;
/** A replica takes a free lease within this time. */
const LEASE_MS = 30_000;

type Severity = Problem['severity'];
const problem = (node: string, severity: Severity, text: string, remedy: string): Problem => ({
  severity,
  node,
  text,
  remedy,
  exitCode: severity === 'shout' ? EXIT.dependencyUnreachable : EXIT.ok,
});

interface Service {
  name: string;
  health: ServiceHealth;
  /** What waits for it, and what has not been done with that. */
  work: [noun: string, verb: string];
  /** What it means that none runs. */
  without: string;
  optional: boolean;
}

function servicesOf({ correlator, responder, ipamSync, siemRelay }: ServiceStatus): Service[] {
  const needed: Service[] = [
    {
      name: 'correlator',
      health: correlator,
      work: ['frame', 'judged'],
      without: 'packets are dropped as before, and nothing is judged',
      optional: false,
    },
    {
      name: 'responder',
      health: responder,
      work: ['verdict', 'read'],
      without: 'no verdict is answered',
      optional: false,
    },
    {
      name: 'ipam-sync',
      health: ipamSync,
      work: ['list', 'written'],
      without: 'nodes keep their last list of pods, and new pods stay provisional',
      optional: false,
    },
  ];
  if (siemRelay === null) return needed;
  const relay: Omit<Service, 'health'> = {
    name: 'siem-relay',
    work: ['message', 'passed on'],
    without: 'the SIEM receives no events',
    optional: true,
  };
  return [...needed, { ...relay, health: siemRelay }];
}

/** `12 frames not judged, oldest 5m`; empty when nothing waits. */
function waitingText({ health, work: [noun, verb] }: Service): string {
  const { waiting, behindMs, running, silent } = health;
  if (waiting === null || waiting.count === 0) return '';
  // What it handled after its last status is not known of one that did not end in order.
  const bound = waiting.atLeast ? 'at least ' : running === 0 && silent > 0 ? 'up to ' : '';
  const count = `${bound}${plural(waiting.count, noun)} not ${verb}`;
  return `${count}, oldest ${age(behindMs)}`;
}

/** `1 without a status for 40s (hung, cut off from the bus, or killed)`; empty when each one is heard. */
function silentText({ silent, silentForMs }: ServiceHealth): string {
  if (silent === 0) return '';
  return `${silent} without a status for ${age(silentForMs)} (hung, cut off from the bus, or killed)`;
}

/** `2 running, up to date` */
function stateText(service: Service): string {
  const { health } = service;
  const { running, ready, stalledMs, behindMs, waiting } = health;
  const waits = waitingText(service);
  const parts = [`${running} running`, silentText(health)];
  if (running > 0 && ready < running) parts.push(ready === 0 ? `not ready (${health.notReady})` : `${ready} ready`);
  if (service.name === 'ipam-sync' && running > 0)
    parts.push(health.leading === 0 ? 'none leads' : `${health.leading} leads`);
  if (running === 0) parts.push(waits);
  else if (stalledMs > STUCK_MS) parts.push(`not progressing for ${age(stalledMs)}: ${waits}`);
  else if (waits !== '' && behindMs >= UNDER_WAY_MS) parts.push(`${age(behindMs)} behind: ${waits}`);
  else if (waiting !== null) parts.push('up to date');
  return parts.filter((part) => part !== '').join(', ');
}

/** None runs, or those that do cannot work; null when neither is so. */
function stopped(service: Service): Problem | null {
  const { name, health, without, optional } = service;
  const { running, ready, stalledMs, notReady, notReadyForMs } = health;
  const severity = optional ? 'warn' : 'shout';
  const waits = waitingText(service);
  if (running === 0) {
    const text = [`0 running${health.silent > 0 ? `, ${silentText(health)}` : ''}: ${without}`, waits];
    const remedy = health.silent > 0 ? 'restart it, or see its log' : 'start it, or see its log';
    return problem(name, severity, text.filter(Boolean).join('; '), `${remedy}: it resumes where it was`);
  }
  if (stalledMs > STUCK_MS)
    return problem(
      name,
      severity,
      `${running} running, not progressing for ${age(stalledMs)}: ${waits}`,
      'see its log, and restart it: it resumes where it was',
    );
  if (ready === 0 && notReadyForMs > UNREADY_MS)
    return problem(
      name,
      severity,
      `${running} running, none ready for ${age(notReadyForMs)}: ${notReady}`,
      'see its log',
    );
  if (name === 'ipam-sync' && health.leading === 0 && health.runningForMs > LEASE_MS)
    return problem(
      name,
      severity,
      `${running} running, none leads: ${without}`,
      'see its log: it cannot take its lease',
    );
  return null;
}

/** Short of what it should be, while it works. */
function strained(service: Service): Problem[] {
  const { name, health } = service;
  const { running, ready, behindMs, notReady, notReadyForMs } = health;
  const problems: Problem[] = [];
  if (health.silent > 0)
    problems.push(problem(name, 'warn', silentText(health), 'see its log; it may have been replaced'));
  if (ready < running && notReadyForMs > UNREADY_MS)
    problems.push(problem(name, 'warn', `${running - ready} of ${running} not ready: ${notReady}`, 'see its log'));
  if (behindMs > LATE_MS) problems.push(problem(name, 'warn', `is behind: ${waitingText(service)}`, ''));
  return problems;
}

/** No correlator works; null when one does. */
export function correlatorGone(status: ServiceStatus): Problem | null {
  return stopped(servicesOf(status)[0] as Service);
}

/** Verdicts wait because no responder works, or although one does; null when neither is so. */
export function responderGone(status: ServiceStatus): Problem | null {
  const { responder, atMs, cut } = status;
  const { unanswered, oldestUnansweredAtMs, unansweredIds } = responder;
  const gone = stopped(servicesOf(status)[1] as Service);
  if (unanswered === 0) return gone;
  const first = `${unansweredIds[0]?.slice(0, 10)}, for ${age(atMs - (oldestUnansweredAtMs ?? atMs))}`;
  const waiting = `${cut ? 'up to ' : ''}${plural(unanswered, 'verdict')} without a response (${first})`;
  if (gone) return { ...gone, text: `${gone.text}; ${waiting}` };
  return problem('responder', 'shout', waiting, 'has it lost Redis? `bailiff doctor --only redis`, and its log');
}

/** For a verdict without a response: words for what is missing; empty when nothing shows. */
export function whyUnanswered(status: ServiceStatus | null): (verdictId: string) => string {
  const gone = status && responderGone(status);
  return (verdictId) => {
    if (!status || !gone) return '';
    const waits = status.responder.running === 0 || status.responder.unansweredIds.includes(verdictId);
    return waits ? `responder: ${gone.text}; ${gone.remedy}` : '';
  };
}

export function serviceProblems(status: ServiceStatus): Problem[] {
  const problems = servicesOf(status).flatMap((service) => {
    const gone = service.name === 'responder' ? responderGone(status) : stopped(service);
    return gone ? [gone] : strained(service);
  });
  const { correlator, atMs } = status;
  const { newestVerdictDelayMs: delayMs, newestVerdictAtMs: verdictAtMs } = correlator;
  if (delayMs !== null && verdictAtMs !== null && delayMs > LATE_MS && atMs - verdictAtMs < RECENT_MS) {
    const text = `its newest verdict came ${span(delayMs)} after its violation was on the bus`;
    problems.push(problem('correlator', 'warn', text, 'it is behind or was away'));
  }
  return problems;
}

function detailText(name: string, { correlator, responder, atMs, cut }: ServiceStatus): string {
  if (name === 'correlator') {
    const { newestVerdictAtMs: verdictAtMs, newestVerdictDelayMs: delayMs } = correlator;
    const late = delayMs === null ? '' : `, ${span(delayMs)} after its violation`;
    return verdictAtMs === null ? '; no verdict yet' : `; newest verdict ${age(atMs - verdictAtMs)} ago${late}`;
  }
  if (name !== 'responder') return '';
  const { due, unanswered } = responder;
  if (due === 0) return '; no verdict is due';
  return `; ${due - unanswered} of ${plural(due, 'due verdict')} answered${cut ? ' (newest only)' : ''}`;
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

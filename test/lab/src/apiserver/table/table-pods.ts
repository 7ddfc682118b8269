/** A pod's row: ready containers, status text, restarts. Pure. */
import { isPodReady } from '../kinds/pods.ts';
import { ageOf } from '../times.ts';
import { at, type JsonObject, type KubeObject, listAt, textAt } from '../types.ts';

interface ContainerSummary {
  ready: number;
  restarts: number;
  lastRestart: string;
  reason: string;
  running: boolean;
}

const restartsOf = (status: JsonObject): number => Number(status['restartCount'] ?? 0);

function endReason(terminated: unknown): string {
  const reason = textAt(terminated, 'reason');
  if (reason !== '') return reason;
  const signal = Number(at(terminated, 'signal') ?? 0);
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${Number(at(terminated, 'exitCode') ?? 0)}`;
}

/** Status of an unfinished init container; '' if all are done. */
function initReason(pod: KubeObject): string {
  const total = listAt(pod, 'spec', 'initContainers').length;
  for (const [index, status] of listAt(pod, 'status', 'initContainerStatuses').entries()) {
    const terminated = at(status, 'state', 'terminated');
    if (terminated !== undefined && Number(at(terminated, 'exitCode') ?? 0) === 0) continue;
    if (terminated !== undefined) return `Init:${endReason(terminated)}`;
    const waiting = textAt(status, 'state', 'waiting', 'reason');
    return waiting !== '' && waiting !== 'PodInitializing' ? `Init:${waiting}` : `Init:${index}/${total}`;
  }
  return '';
}

function summarise(pod: KubeObject): ContainerSummary {
  const summary: ContainerSummary = { ready: 0, restarts: 0, lastRestart: '', reason: '', running: false };
  for (const status of listAt(pod, 'status', 'containerStatuses').reverse()) {
    summary.restarts += restartsOf(status);
    const finished = textAt(status, 'lastState', 'terminated', 'finishedAt');
    if (finished > summary.lastRestart) summary.lastRestart = finished;
    const waiting = textAt(status, 'state', 'waiting', 'reason');
    const terminated = at(status, 'state', 'terminated');
    if (waiting !== '') summary.reason = waiting;
    else if (terminated !== undefined) summary.reason = endReason(terminated);
    else if (status['ready'] === true && at(status, 'state', 'running') !== undefined) {
      summary.running = true;
      summary.ready += 1;
    }
  }
  return summary;
}

/** The STATUS column. */
export function podStatusText(pod: KubeObject): string {
  const phase = textAt(pod, 'status', 'phase');
  const containers = summarise(pod);
  let reason = textAt(pod, 'status', 'reason') || phase;
  const init = initReason(pod);
  if (init !== '') reason = init;
  else if (containers.reason !== '') reason = containers.reason;
  if (reason === 'Completed' && containers.running) reason = isPodReady(pod) ? 'Running' : 'NotReady';
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (textAt(pod, 'status', 'reason') === 'NodeLost') return 'Unknown';
    if (phase !== 'Succeeded' && phase !== 'Failed') return 'Terminating';
  }
  return reason;
}

/** Cells: name, ready, status, restarts, age, IP, node, nominated node, readiness gates. */
export function podCells(pod: KubeObject, nowMs: number): unknown[] {
  const containers = summarise(pod);
  const total = listAt(pod, 'spec', 'containers').length;
  const restarts =
    containers.restarts > 0 && containers.lastRestart !== ''
      ? `${containers.restarts} (${ageOf(containers.lastRestart, nowMs)} ago)`
      : String(containers.restarts);
  return [
    pod.metadata.name,
    `${containers.ready}/${total}`,
    podStatusText(pod),
    restarts,
    ageOf(pod.metadata.creationTimestamp, nowMs),
    textAt(pod, 'status', 'podIP') || '<none>',
    textAt(pod, 'spec', 'nodeName') || '<none>',
    textAt(pod, 'status', 'nominatedNodeName') || '<none>',
    '<none>',
  ];
}

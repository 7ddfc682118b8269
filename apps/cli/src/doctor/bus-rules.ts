/** Evaluates what a bus reports. Pure. */

import type { NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { plural, shortList } from '../shared/text/plural.ts';
import { cniObstacle, passedLately } from '../status/cni.ts';
import { fillsOf, type StreamFill } from '../status/fill.ts';
import { runtimeObstacle } from '../status/runtime.ts';
import { type Finding, fail, ok, skip, warn } from './finding.ts';

/** Oldest usable server, and the first with all security fixes. */
const OLDEST = [2, 10, 0];
const CURRENT = [2, 14, 3];
/**
 * Version ranges [from, below) in which message tracing lets a client write through account
 * imports.
 */
const TRACING = [
  [
    [2, 11, 0],
    [2, 11, 15],
  ],
  [
    [2, 12, 0],
    [2, 12, 6],
  ],
] as const;

function isBelow(version: string, than: readonly number[]): boolean {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  for (let index = 0; index < than.length; index += 1) {
    const [have, want] = [parts[index] ?? 0, than[index] as number];
    if (have !== want) return have < want;
  }
  return false;
}

/** First version that traces messages. */
const FIRST_TRACING = [2, 11, 0];

/** @param isCluster the server has routes to others */
export function serverFinding(version: string, isCluster = false): Finding {
  if (isBelow(version, OLDEST)) {
    return fail('nats-server', `${version} is too old`, 'nats-server 2.10 or later', EXIT.dependencyUnreachable);
  }
  if (TRACING.some(([from, below]) => !isBelow(version, from) && isBelow(version, below))) {
    const why = `${version} lets a client write through account imports by message tracing (CVE-2026-33249)`;
    return warn('nats-server', why, 'nats-server 2.14.3 or later, or 2.11.15, or 2.12.6');
  }
  if (isBelow(version, CURRENT)) {
    return warn('nats-server', `${version} works, but lacks security fixes`, 'nats-server 2.14.3 or later');
  }
  if (isCluster && !isBelow(version, FIRST_TRACING)) {
    const why = `${version}, in a cluster, lets a stolen credential store texts under subjects of others`;
    return warn('nats-server', why, 'docs/install.md, "Clusters and message tracing"');
  }
  return ok('nats-server', version);
}

/** Nodes named per reason. */
const MAX_NODES = 6;

export function fillFindings(streams: readonly StreamFill[]): Finding[] {
  return fillsOf(streams).map(({ name, isFull, text, remedy }) =>
    isFull ? fail(name, text, remedy, EXIT.dependencyUnreachable) : warn(name, text, remedy),
  );
}

/**
 * Nodes that enforce runtime policies, and the reasons of those that do not. Only warnings: their
 * network enforcement works.
 */
export function runtimeFindings(nodes: readonly NodeStatus[]): Finding[] {
  const able = nodes.filter(({ runtime }) => runtime?.state === 'available');
  const obstacles = new Map<string, { nodes: string[]; remedy: string }>();
  for (const status of nodes) {
    const obstacle = runtimeObstacle(status);
    if (!obstacle) continue;
    const known = obstacles.get(obstacle.reason) ?? { nodes: [], remedy: obstacle.remedy };
    known.nodes.push(status.nodeName);
    obstacles.set(obstacle.reason, known);
  }
  const findings = [...obstacles].map(([reason, { nodes: names, remedy }]) => {
    return warn('runtime policies', `${reason} on ${shortList(names, MAX_NODES)}`, remedy);
  });
  if (able.length > 0) findings.unshift(ok('runtime policies', `LSM available on ${plural(able.length, 'node')}`));
  return findings.length > 0 ? findings : [skip('runtime policies', 'no node reports on them')];
}

/**
 * Nodes that start pods only behind a guard, the reasons of those that do not, and pods that passed
 * without one. Only warnings: the plugin is optional.
 */
export function cniFindings(nodes: readonly NodeStatus[]): Finding[] {
  const name = 'CNI plugin';
  const findings: Finding[] = [];
  const serving = nodes.filter(({ cni }) => cni?.state === 'installed');
  if (serving.length > 0) findings.push(ok(name, `installed on ${plural(serving.length, 'node')}`));
  for (const status of nodes) {
    const obstacle = cniObstacle(status);
    if (obstacle) findings.push(warn(name, `${obstacle.reason} on ${status.nodeName}`, obstacle.remedy));
  }
  const passed = nodes.filter(passedLately);
  const pods = passed.reduce((sum, { cni }) => sum + (cni?.passed ?? 0), 0);
  if (pods > 0) {
    const where = shortList(
      passed.map(({ nodeName }) => nodeName),
      MAX_NODES,
    );
    findings.push(warn(name, `${plural(pods, 'pod')} started without a guard on ${where}`, 'see docs/cni-plugin.md'));
  }
  return findings.length > 0 ? findings : [skip(name, 'off on every node')];
}

/**
 * Creates the CNI room and connects it: the socket for the plugin, its installation on the node,
 * and its count of pods without a guard. With `cni: off` it does nothing.
 */
import type { LinkRecord } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { CniRecord } from '../identity/cni-record.ts';
import type { Registry } from '../interfaces/registry.ts';
import type { Metrics } from '../metrics.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { handleRequest } from './handler.ts';
import { Installer } from './installer.ts';
import { readPassed } from './passed-count.ts';
import { SocketServer } from './socket-server.ts';

export interface CniParts {
  ctx: Pick<ServiceContext<CollectorConfig>, 'config' | 'log'>;
  registry: Registry;
  metrics: Pick<Metrics, 'cniRequests' | 'cniSeconds' | 'cniPassed'>;
  problems: ProblemLog;
  apply(record: CniRecord, link: LinkRecord): void;
  whyNotAttach(): string;
}

export interface CniRoom {
  /** Looks at the node again; call it on a slow timer. */
  check(): void;
  close(): void;
}

/** Starts it. Call it after the interfaces of an earlier process are adopted. */
export function startCni(parts: CniParts): CniRoom {
  const { config, log } = parts.ctx;
  if (config.cni === 'off') return { check: () => undefined, close: () => undefined };
  const { problems } = parts;
  const server = new SocketServer({
    path: config.cniSocket,
    ownUid: process.getuid?.() ?? 0,
    handle: (json) => answer(json, parts),
    onProblem: (reason, error) => problems.report('cni', 'socket', reason, error),
  });
  const installer = new Installer({
    plugin: process.env['BAILIFF_CNI_PLUGIN'] ?? '',
    confDir: config.cniConfDir,
    binDir: config.cniBinDir,
    settings: {
      socket: config.cniSocket,
      failurePolicy: config.cniFailurePolicy,
      timeoutMs: config.cniWaitMs,
      exemptNamespaces: config.cniExemptNamespaces,
    },
    nowMs: () => performance.now(),
    onInstalled: (what) => log.info({ installed: what }, 'CNI plugin installed'),
    onProblem: (reason, error) => problems.report('cni', 'installation', reason, error),
  });
  const count = () => problems.attempt('cni', () => countPassed(config.cniSocket, parts));
  // The plugin waits for the socket, so it comes first.
  server.listen();
  installer.start();
  count();
  return {
    check: () => {
      server.check();
      installer.look();
      count();
    },
    close: () => {
      server.close();
      installer.close();
    },
  };
}

function answer(json: string, { registry, metrics, problems, apply, whyNotAttach }: CniParts): string {
  const startedAt = performance.now();
  const { command, answer } = handleRequest(json, {
    ...{ registry, apply, whyNotAttach },
    nowMs: () => Date.now(),
    onProblem: ({ subject, reason }) => problems.report('cni', subject, reason),
  });
  metrics.cniRequests.inc({ command, outcome: answer.outcome });
  metrics.cniSeconds.observe((performance.now() - startedAt) / 1000);
  return JSON.stringify(answer);
}

function countPassed(socket: string, { metrics, problems }: CniParts): void {
  const passed = readPassed(socket);
  if (passed === null || passed.count === metrics.cniPassed.count) return;
  metrics.cniPassed.count = passed.count;
  problems.report('cni', passed.pod, `a pod started without a guard: ${passed.reason}`);
}

/**
 * Creates the CNI room and connects it: the socket for the plugin, its installation on the node,
 * and its count of pods without a guard. With `cni: off` it only looks for an installation that
 * was left behind.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { SpoofObject } from '@bailiff/bpf';
import type { CniStatus } from '@bailiff/schemas';
import type { ServiceContext } from '@bailiff/service';
import { OWN_CONFLIST } from '@bailiff/vocabulary';
import type { CollectorConfig } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import type { PacketEngine } from '../packets/engine.ts';
import type { ProblemLog } from '../process/problem-log.ts';
import { handleRequest } from './handler.ts';
import { Installer } from './installer.ts';
import { type Passed, readPassed } from './passed-count.ts';
import { markSeen, unmarkSeen } from './seen-file.ts';
import { SocketServer } from './socket-server.ts';

export interface CniParts {
  ctx: Pick<ServiceContext<CollectorConfig>, 'config' | 'log'>;
  packets: Pick<PacketEngine, 'registry' | 'applyCniCall' | 'readLinkEvents'>;
  detach: { whyNotAttach(): string };
  object: Pick<SpoofObject, 'podEndPins'>;
  metrics: Pick<Metrics, 'cniRequests' | 'cniSeconds' | 'cniPassed'>;
  problems: ProblemLog;
}

export interface CniRoom {
  /** Call it after the interfaces of an earlier process are adopted. */
  start(): void;
  /** Looks at the node again; call it on a slow timer. */
  check(): void;
  status(): CniStatus;
  close(): void;
}

export function createCni(parts: CniParts): CniRoom {
  return parts.ctx.config.cni === 'off' ? leftBehind(parts) : new ServedPlugin(parts);
}

/** A plugin that stays installed without a collector that serves it decides by its failure policy. */
function leftBehind({ ctx, problems }: CniParts): CniRoom {
  const { cniConfDir, cniFailurePolicy } = ctx.config;
  let problem = '';
  const check = () => {
    const file = path.join(cniConfDir, OWN_CONFLIST);
    problem = existsSync(file) ? `${file} is still installed, and cni is off: run collector uninstall-cni` : '';
    if (problem !== '') problems.report('cni', 'installation', problem);
  };
  return {
    start: () => {
      problems.attempt('cni', () => unmarkSeen(ctx.config.cniSocket));
      check();
    },
    check,
    status: () => ({
      state: 'off',
      failurePolicy: cniFailurePolicy,
      problem,
      problemAt: null,
      passed: 0,
      lastPassed: '',
    }),
    close: () => undefined,
  };
}

class ServedPlugin implements CniRoom {
  readonly #parts: CniParts;
  readonly #server: SocketServer;
  readonly #installer: Installer;
  #problem = { reason: '', atMs: 0 };
  #passed: Passed = { count: 0, atMs: 0, pod: '', reason: '' };

  constructor(parts: CniParts) {
    this.#parts = parts;
    const { config, log } = parts.ctx;
    this.#server = new SocketServer({
      path: config.cniSocket,
      ownUid: process.getuid?.() ?? 0,
      handle: (json) => this.#handle(json),
      onProblem: (subject, reason, error) => this.#report(subject, reason, error),
    });
    this.#installer = new Installer({
      plugin: process.env['BAILIFF_CNI_PLUGIN'] ?? '',
      confDir: config.cniConfDir,
      binDir: config.cniBinDir,
      settings: {
        socket: config.cniSocket,
        failurePolicy: config.cniFailurePolicy,
        timeoutMs: config.cniWaitMs,
        restartTimeoutMs: config.cniRestartWaitMs,
        exemptNamespaces: config.cniExemptNamespaces,
      },
      nowMs: () => performance.now(),
      onInstalled: (what) => log.info({ installed: what }, 'CNI plugin installed'),
      onProblem: (subject, reason, error) => this.#report(subject, reason, error),
    });
  }

  start(): void {
    // The plugin waits for the socket, so it comes first.
    this.#server.listen();
    this.#markSeen();
    this.#installer.start();
    this.#parts.problems.attempt('cni', () => this.#countPassed());
  }

  check(): void {
    this.#server.check();
    this.#markSeen();
    this.#installer.look();
    this.#countPassed();
  }

  status(): CniStatus {
    const { cniFailurePolicy } = this.#parts.ctx.config;
    const { reason, atMs } = this.#problem;
    const { count, atMs: passedAtMs, pod, reason: why } = this.#passed;
    return {
      state: this.#state(),
      failurePolicy: cniFailurePolicy,
      problem: reason,
      problemAt: reason === '' ? null : new Date(atMs).toISOString(),
      passed: count,
      lastPassed: count === 0 ? '' : `${pod}: ${why}`,
      ...(count === 0 ? {} : { passedAt: new Date(passedAtMs).toISOString() }),
    };
  }

  #state(): CniStatus['state'] {
    if (!this.#installer.isInstalled) return 'not-installed';
    return this.#server.isListening ? 'installed' : 'not-served';
  }

  close(): void {
    this.#markSeen();
    this.#server.close();
    this.#installer.close();
  }

  #report(subject: string, reason: string, error?: unknown): void {
    this.#problem = { reason: subject.includes('/') ? `${subject}: ${reason}` : reason, atMs: Date.now() };
    this.#parts.problems.report('cni', subject, reason, error);
  }

  #handle(json: string): string {
    const { detach, metrics, object, packets } = this.#parts;
    const startedAt = performance.now();
    const { command, answer } = handleRequest(json, {
      registry: packets.registry,
      readLinkEvents: () => packets.readLinkEvents(),
      apply: (record, link) => packets.applyCniCall(record, link),
      whyNotAttach: () => detach.whyNotAttach(),
      podEndPins: (key) => object.podEndPins(key),
      nowMs: () => Date.now(),
      onProblem: (subject, reason) => this.#report(subject, reason),
    });
    metrics.cniRequests.inc({ command, outcome: answer.outcome });
    metrics.cniSeconds.observe((performance.now() - startedAt) / 1000);
    return JSON.stringify(answer);
  }

  #markSeen(): void {
    this.#parts.problems.attempt('cni', () => markSeen(this.#parts.ctx.config.cniSocket));
  }

  #countPassed(): void {
    const passed = readPassed(this.#parts.ctx.config.cniSocket);
    if (passed === null || passed.count === this.#passed.count) return;
    this.#passed = passed;
    this.#parts.metrics.cniPassed.count = passed.count;
    this.#report(passed.pod, `a pod started without a guard: ${passed.reason}`);
  }
}

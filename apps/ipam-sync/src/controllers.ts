/**
 * Creates the controllers that only a leader runs, the policy mirror and the taint controller, with
 * their log messages.
 */
import { type Bus, signedConfigBy } from '@bailiff/bus';
import type { KubeApi } from '@bailiff/kube';
import { UNGUARDED_TAINT_KEY } from '@bailiff/policy';
import type { ServiceContext } from '@bailiff/service';
import type { IpamSyncConfig } from './config.ts';
import { type MirrorOptions, PolicyMirror } from './mirror/mirror.ts';
import { TaintController, type TaintControllerOptions } from './taint/controller.ts';

interface Parts {
  ctx: ServiceContext<IpamSyncConfig>;
  client: KubeApi;
  bus: Bus;
  isLeader(): boolean;
}

export function createMirror(parts: Parts & Pick<MirrorOptions, 'onKubeError'>): PolicyMirror {
  const { ctx, ...options } = parts;
  const { log, config } = ctx;
  const { pageLimit, inactivityMs, mirrorRetryMs, mirrorStatusMs } = config;
  return new PolicyMirror({
    ...options,
    signed: signedConfigBy(config.configSigners),
    pageLimit,
    inactivityMs,
    retryMs: mirrorRetryMs,
    statusMs: mirrorStatusMs,
    onAbsent: (kind, error) => {
      if (error === null) log.info({ kind }, 'custom resources can be read now');
      // Missing definitions are ordinary; a missing permission is an installation error.
      else if (error.code === 'KUBE_NOT_FOUND')
        log.info({ kind }, 'custom resources are not installed, so none is mirrored');
      else log.warn({ kind, reason: error.message }, 'custom resources cannot be read, so none is mirrored');
    },
  });
}

type TaintParts = Parts & Pick<TaintControllerOptions, 'setting' | 'nodes' | 'onKubeError' | 'onStatus'>;

export function createTaintController(parts: TaintParts): TaintController {
  const { ctx, onStatus, ...options } = parts;
  const { log, clock } = ctx;
  let logged = '';
  const controller: TaintController = new TaintController({
    ...options,
    clock,
    onChanged: (node, change) =>
      log[change === 'put' ? 'warn' : 'info'](
        { node, change, taint: UNGUARDED_TAINT_KEY },
        'taint of an unguarded node',
      ),
    onStatus: () => {
      onStatus();
      const { problem, remedy } = controller.status ?? { problem: '', remedy: '' };
      if (problem !== '' && problem !== logged)
        log.warn({ problem, remedy }, 'taints of unguarded nodes are not reconciled');
      logged = problem;
    },
  });
  return controller;
}

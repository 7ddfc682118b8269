/** BPF-LSM: a policy denies reading one file in the pods of one namespace, and nothing else. */
import { waitFor } from '@bailiff/service/testing';
import type { Scenario } from './scenario.ts';

const DENIED = '/etc/hostname';
const ALLOWED = '/etc/hosts';
const IN_FORCE_TIMEOUT_MS = 60_000;

export const RUNTIME: Scenario = {
  name: 'runtime-file-read',
  about: `a runtime policy denies reading ${DENIED}; before the policy the read succeeds`,
  run: async (live) => {
    const runtime = (await live.watch.node(live.node))?.status.runtime;
    if (runtime?.state !== 'available')
      return { status: 'skipped', detail: `no runtime policies on ${live.node}: ${runtime?.reason ?? 'unknown'}` };
    const namespace = await live.stage.namespace('runtime');
    const pod = await live.stage.pod(namespace, 'reader');
    const read = async (path: string) => (await pod.call<{ error: string }>({ op: 'read', path })).error;
    const control = await read(DENIED);
    if (control) return { status: 'failed', detail: `control: ${DENIED} cannot be read without a policy: ${control}` };
    await live.stage.apply({
      apiVersion: 'bailiff.dev/v1alpha1',
      kind: 'RuntimePolicy',
      metadata: { name: namespace },
      spec: {
        mode: 'enforce',
        severity: 'low',
        selector: { namespaces: [namespace] },
        rules: [{ name: 'hostname', action: 'block', file: { operations: ['read'], paths: [DENIED] } }],
      },
    });
    await waitFor(async () => (await read(DENIED)) === 'EPERM', {
      what: `${DENIED} to be denied`,
      timeoutMs: IN_FORCE_TIMEOUT_MS,
      intervalMs: 500,
    });
    const beside = await read(ALLOWED);
    const seen = `${DENIED}: EPERM, ${ALLOWED}: ${beside || 'readable'}`;
    return { status: beside ? 'failed' : 'passed', detail: seen };
  },
};

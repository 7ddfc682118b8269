// k8s/monitoring/scrape.yaml in a Prometheus of the distribution, against the API stand-in with a
// pod of every workload: the discovered targets and their labels.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { startApiServer } from '@bailiff/lab/apiserver';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Json, objectsOf, workloadsOf } from '../k8s/rendered.ts';
import { reportPod } from '../support/kube.ts';
import { startPrometheus } from '../support/prometheus.ts';

const SCRAPE = path.resolve(import.meta.dirname, '../../k8s/monitoring/scrape.yaml');
const NAMESPACE = 'bailiff-system';

interface Target {
  labels: Record<string, string>;
  scrapeUrl: string;
}

it('scrape.yaml - Prometheus finds each app at its port by node and name, and neither the bus, Redis, nor a finished Job', async () => {
  const directory = temporaryDirectory();
  const api = await startApiServer({ certDir: path.join(directory, 'certs') });
  const { scrape_configs } = parse(readFileSync(SCRAPE, 'utf8')) as Json;
  // In the cluster it needs no kubeconfig.
  scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file = api.kubeconfigPath();
  for (const namespace of [NAMESPACE, 'other']) api.api.create('namespaces', { metadata: { name: namespace } });
  const workloads = workloadsOf(objectsOf('included'));
  for (const [index, { component, object, pod }] of workloads.entries()) {
    const { labels } = object.spec.template.metadata;
    for (const namespace of [NAMESPACE, 'other']) {
      const ref = { namespace, name: `${component}-0` };
      api.api.create('pods', { metadata: { ...ref, labels }, spec: { ...pod, nodeName: 'node-a' } });
      const phase = object.kind === 'Job' ? 'Succeeded' : 'Running';
      const status = { phase, podIP: `10.9.0.${index + 1}`, podIPs: [{ ip: `10.9.0.${index + 1}` }] };
      reportPod(api.api, ref, status);
    }
  }
  try {
    await using prometheus = await startPrometheus({ scrape_configs });
    const targets = async () =>
      (await prometheus.get<{ activeTargets: Target[] }>('targets?state=active')).activeTargets;
    const apps = workloads.filter(({ container }) =>
      (container.ports ?? []).some(({ name }: Json) => name === 'metrics'),
    );
    expect(apps).toHaveLength(6);
    const found = async () => (await targets()).length >= apps.length;
    await waitFor(found, {
      what: 'the targets',
      timeoutMs: 40_000,
      intervalMs: 200,
      state: () => prometheus.out().slice(-2_000),
    });
    const shown = (await targets()).map(({ labels, scrapeUrl }) => ({ ...labels, scrapeUrl }));
    const wanted = apps.map(({ component }) => {
      const address = `10.9.0.${workloads.findIndex((one) => one.component === component) + 1}:9464`;
      const labels = { job: 'bailiff', namespace: NAMESPACE, pod: `${component}-0`, node: 'node-a' };
      return { ...labels, instance: address, scrapeUrl: `http://${address}/metrics` };
    });
    const byUrl = (a: { scrapeUrl: string }, b: { scrapeUrl: string }) => a.scrapeUrl.localeCompare(b.scrapeUrl);
    expect(shown.sort(byUrl)).toEqual(wanted.sort(byUrl));
  } finally {
    await api.close();
  }
}, 90_000);

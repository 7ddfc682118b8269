// The values of docs/distributions.md are values of the chart, and reach the collector.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { CHART, helm, helmProgram, NO_HELM } from '../../tools/helm.ts';

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/distributions.md'), 'utf8');
const blocks = page.split('\n### ').flatMap((section) => {
  const text = /```yaml\n([^`]+)```/.exec(section)?.[1];
  return text === undefined ? [] : [{ name: section.slice(0, section.indexOf('\n')), text }];
});
const directory = temporaryDirectory();
const program = helmProgram();

function render(text: string): string {
  const file = path.join(directory, 'values.yaml');
  writeFileSync(file, text);
  return helm(program as string, ['template', 'bailiff', CHART, '--namespace', 'bailiff-system', '--values', file]);
}

it('the page has a block for each distribution with values', () => {
  expect(blocks.map(({ name }) => name)).toEqual([
    ...['k3s', 'Talos', 'Bottlerocket', 'OpenShift', 'EKS', 'AKS', 'GKE Standard'],
  ]);
});

interface Volume {
  name: string;
  hostPath?: { path: string };
}
interface Values {
  cni?: { enabled?: boolean; confDir?: string; binDir?: string };
}

it.for(blocks)('$name - the chart accepts the values; directories of CNI become volumes', ({ text }, context) => {
  if (program === null) return context.skip(NO_HELM);
  const rendered = render(text);
  const { cni = {} } = parse(text) as Values;
  const objects = parseAllDocuments(rendered).map((document) => document.toJS() as Record<string, never> | null);
  const collector = objects.find((one) => one?.['kind'] === 'DaemonSet') as unknown as {
    spec: { template: { spec: { volumes: Volume[] } } };
  };
  const paths = collector.spec.template.spec.volumes.map(({ hostPath }) => hostPath?.path);
  const wanted = cni.enabled === true ? [cni.confDir ?? '/etc/cni/net.d', cni.binDir ?? '/opt/cni/bin'] : [];
  expect(paths).toEqual(expect.arrayContaining(wanted));
});

it('the chart refuses a value that it does not know', (context) => {
  if (program === null) return context.skip(NO_HELM);
  expect(() => render('cni:\n  configDir: /etc/cni/net.d\n')).toThrow(/configDir/);
});

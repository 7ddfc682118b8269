// kubectl reads a proposed policy as YAML 1.1, where three more characters end a line. The names in
// it are chosen by the pod that was observed.
import { execFileSync } from 'node:child_process';
import { POSTURE_CLASSES } from '@bailiff/policy';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Proposal, proposePolicy } from '../../apps/cli/src/policies/learn/propose.ts';
import { proposalYaml } from '../../apps/cli/src/policies/learn/propose-yaml.ts';
import type { Learned } from '../../apps/cli/src/policies/learn/rule-parts.ts';

const FROM = { pod: 'shop/web', node: 'a', span: '1m', unsampled: 0, unsampledNow: 0, violations: 1 };
/** Ends a line, and makes another entry of the list of paths. */
const entry = (end: string, path: string) => `${end}          - ${path}`;

const read = (path: string, executable = '/bin/cat'): Learned => ({
  operation: { operation: 'read', subject: path, address: '', port: 0, protocol: 0, executable, comm: 'cat' },
  times: 1,
});

function observed(end: string): Proposal {
  // In a comment, and in a path.
  const operations = [
    read('/srv/a', `/bin/x${entry(end, '/etc/shadow')}${end}          #`),
    read(`/srv/b${entry(end, '/root/.ssh/id_rsa')}`),
  ];
  return proposePolicy(operations, {
    name: 'web',
    namespace: 'shop',
    matchLabels: { app: 'web' },
    classes: POSTURE_CLASSES,
  });
}

function pathsByKubectl(text: string): string[] {
  const json = execFileSync('kubectl', ['label', '--local', '-f', '-', 'a=b', '-o', 'json'], { input: text });
  return JSON.parse(json.toString()).spec.rules.flatMap(
    (rule: { file?: { paths: string[] } }) => rule.file?.paths ?? [],
  );
}

test.each(['\u2028', '\u2029', '\u0085', '\r', '\n'])('proposal - a name with %j adds no path for kubectl', (end) => {
  const proposal = observed(end);
  const text = proposalYaml(proposal, FROM);
  const paths = ['/srv/a', `/srv/b${entry(end, '/root/.ssh/id_rsa')}`];
  expect(pathsByKubectl(text)).toEqual(paths);
  expect(parse(text).spec.rules[0].file.paths).toEqual(paths);
});

test('proposal - control: without the escapes, kubectl reads other paths', () => {
  const unescaped = (text: string) => text.replaceAll('\\u2028', '\u2028').replaceAll('"', '');
  expect(pathsByKubectl(unescaped(proposalYaml(observed('\u2028'), FROM)))).toContain('/root/.ssh/id_rsa');
});

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseSigners, SIGNATURE_ANNOTATION, SignedConfig } from '@bailiff/policy';
import { withResourceDefaults } from '@bailiff/policy/defaults';
import { newSigner, signerLine } from '@bailiff/policy/testing';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../testing.ts';

const RULE = `# reviewed by Berta
apiVersion: bailiff.dev/v1alpha1
kind: CorrelationRule
metadata:
  name: mine
spec: {type: event_count, level: high, timespan: 60s, condition: {gte: 3}}
`;
const OTHER = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n';

describe('config sign-resource', () => {
  const anna = newSigner('anna@prod');
  let directory: string;
  let key: string;
  beforeAll(() => {
    directory = temporaryDirectory();
    key = path.join(directory, 'anna@prod.key');
    writeFileSync(key, anna.key.export({ type: 'pkcs8', format: 'pem' }));
  });
  const signed = (text: string, keyFile = key) => {
    const file = path.join(directory, 'resource.yaml');
    writeFileSync(file, text);
    return runCli(['config', 'sign-resource', file, '--sign', keyFile]);
  };
  const objectsIn = (text: string) => parseAllDocuments(text).map((document) => document.toJS());

  it('annotates resources, keeps comments and other documents, and signs what the API server stores', async () => {
    for (const text of [`${RULE}---\n${OTHER}`, `# head\n---\n${RULE}---\n${OTHER}`]) {
      const { exitCode, stdout, stderr } = await signed(text);
      expect(exitCode, stderr).toBe(0);
      const [before, after] = [objectsIn(text), objectsIn(stdout)];
      const annotations = after.map((object) => object?.metadata.annotations).find(Boolean);
      const signature = annotations[SIGNATURE_ANNOTATION];
      expect(stdout).toContain('# reviewed by Berta\n');
      const bare = JSON.stringify(after, (name, value) => (name === 'annotations' ? undefined : value));
      expect(JSON.parse(bare)).toEqual(before);
      const config = new SignedConfig(parseSigners(signerLine(anna)));
      const spec = before.find((object) => object?.kind === 'CorrelationRule').spec;
      const change = (value: object) => ({ key: 'correlation.cluster._.mine', json: JSON.stringify(value), signature });
      // As ipam-sync writes it from the API server, which adds the defaults.
      expect(config.problemOf(change(withResourceDefaults('CorrelationRule', spec)))).toBe('');
      expect(config.problemOf(change({ ...spec, condition: { gte: 4 } }))).toContain('is not of this key');
      // Signed again, it has one annotation.
      const again = objectsIn((await signed(stdout)).stdout).find((object) => object?.kind === 'CorrelationRule');
      expect(Object.keys(again.metadata.annotations)).toEqual([SIGNATURE_ANNOTATION]);
      expect(again.metadata.annotations[SIGNATURE_ANNOTATION] > signature).toBe(true);
    }
  });

  it.each([
    ['no resource', OTHER, /contains no custom resource/],
    ['a resource that ipam-sync refuses', RULE.replace('60s', '60'), /timespan/],
    ['a resource without a name', RULE.replace('name: mine', 'labels: {}'), /has a metadata.name/],
    ['broken YAML', `${RULE}---\na: [`, /resource.yaml: /],
  ])('%s - is refused', async (_, text, message) => {
    const { exitCode, stderr, stdout } = await signed(text);
    expect([exitCode, stdout]).toEqual([6, '']);
    expect(stderr).toMatch(message);
  });

  it('a key with a name that no signer can have, or that is no key - is refused', async () => {
    const spaced = path.join(directory, 'anna of prod.key');
    writeFileSync(spaced, anna.key.export({ type: 'pkcs8', format: 'pem' }));
    const none = path.join(directory, 'none.key');
    writeFileSync(none, 'x');
    for (const [file, message] of [
      [spaced, /"anna of prod" is not the name of a signer/],
      [none, /is not a private key in PEM/],
      [path.join(directory, 'absent.key'), /absent.key does not exist/],
    ] as const) {
      const { exitCode, stderr } = await signed(RULE, file);
      expect([exitCode, stderr]).toEqual([2, expect.stringMatching(message)]);
    }
  });
});

// The chart's console: its values are settings that it accepts, its rights are those that it needs, and
// by default there is none.
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { EDITOR_RULE, KUBE_RULES, VIEWER_RULE } from '../../apps/console/src/access/kube-rules.ts';
import { configSchema } from '../../apps/console/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import { helmProgram, NO_HELM, template } from '../../tools/helm.ts';

// biome-ignore lint/suspicious/noExplicitAny: rendered YAML
type Json = any;
const program = helmProgram();
const SLOW_MS = 120_000;

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  describe('console of the chart', () => {
    const rendered = (set: readonly string[]): Map<string, Json> =>
      new Map(
        parseAllDocuments(template(program, { set }))
          .map((document) => document.toJS() as Json)
          .filter((object) => object !== null)
          .map((object) => [`${object.kind} ${object.metadata.name}`, object]),
      );
    const ENABLED = ['console.enabled=true', 'console.externalUrl=https://bailiff.example.com'];
    const configOf = (objects: Map<string, Json>) => {
      const { containers } = objects.get('Deployment bailiff-console').spec.template.spec;
      const env = Object.fromEntries(
        containers[0].env
          .filter(({ value }: Json) => value !== undefined)
          .map(({ name, value }: Json) => [name, value]),
      );
      const schema = configSchema.safeExtend(frameShape);
      return buildConfig(schema, { name: 'console', defaults: {}, file: null, env, flags: new Map() });
    };

    it(
      'values become settings, and each file that it reads is mounted',
      () => {
        const more = ['tlsSecretName=tls', 'proxy.secretName=s', 'proxy.caSecretName=ca', 'proxy.names={a,b}'];
        const objects = rendered([...ENABLED, ...more.map((text) => `console.${text}`)]);
        const config = configOf(objects);
        expect(config).toMatchObject({ natsUser: 'console', proxyNames: ['a', 'b'], userHeader: 'x-forwarded-user' });
        const { containers } = objects.get('Deployment bailiff-console').spec.template.spec;
        expect(containers[0].args).toEqual(['console', 'serve']);
        const mounts: string[] = containers[0].volumeMounts.map(({ mountPath }: Json) => mountPath);
        const files = Object.entries(config).filter(([key, value]) => key.endsWith('File') && value !== '');
        expect(files).toHaveLength(6);
        for (const [key, file] of files)
          expect([key, mounts.some((mount) => String(file).startsWith(`${mount}/`))]).toEqual([key, true]);
        expect(objects.get('Service bailiff-console').spec.ports[0]).toMatchObject({ name: 'https', port: 443 });
      },
      SLOW_MS,
    );

    it(
      'its rights are those of its list, and what a visitor needs has a role that is bound to no one',
      () => {
        const objects = rendered(ENABLED);
        const rules = KUBE_RULES.map(({ why: _, ...rule }) => rule);
        expect(objects.get('ClusterRole bailiff-console').rules).toEqual(rules);
        expect(objects.get('ClusterRole bailiff-viewer').rules).toEqual([VIEWER_RULE]);
        expect(objects.get('ClusterRole bailiff-editor').rules).toEqual([EDITOR_RULE]);
        const bound = [...objects.values()].filter(({ roleRef }) => /^bailiff-(viewer|editor)$/.test(roleRef?.name));
        expect(bound).toEqual([]);
        const policy = objects.get('NetworkPolicy bailiff-console').spec;
        expect(policy.ingress[0]).toEqual({ ports: [{ port: 9470, protocol: 'TCP' }] });
        expect(objects.get('ValidatingAdmissionPolicy bailiff-credentials').spec.validations[1].expression).toContain(
          "'bailiff-bus-console'",
        );
      },
      SLOW_MS,
    );

    it(
      'the servers of the bus restart when it is enabled: they learn its login then',
      () => {
        const checksum = (set: readonly string[]) =>
          rendered(set).get('StatefulSet bailiff-nats').spec.template.metadata.annotations['checksum/conf'];
        expect(checksum(ENABLED)).not.toBe(checksum([]));
      },
      SLOW_MS,
    );

    it(
      'by default there is none of it, and without its address it is refused',
      () => {
        const names = [...rendered([]).keys()];
        expect(names.filter((name) => /console|viewer/.test(name))).toEqual([]);
        expect(() => rendered(['console.enabled=true'])).toThrow(/console\.externalUrl is required/);
      },
      SLOW_MS,
    );
  });
}

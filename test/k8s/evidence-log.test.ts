// The chart's evidence-log: its values are settings that it accepts, it has a volume and a login of its own and no
// right in Kubernetes, and by default there is none.
import { describe, expect, it } from 'vitest';
import { configSchema } from '../../apps/evidence-log/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import { helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { documentsOf, type Json } from './rendered.ts';

const program = helmProgram();
const SLOW_MS = 120_000;

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  describe('evidence-log of the chart', () => {
    const rendered = (set: readonly string[]): Map<string, Json> =>
      new Map(documentsOf(template(program, { set })).map((one) => [`${one.kind} ${one.metadata.name}`, one]));
    const ENABLED = ['enabled=true', 'origin=bailiff.example/log', 'keySecretName=log-key'].map(
      (text) => `evidenceLog.${text}`,
    );

    it(
      'values become settings, and each file and directory that it uses is mounted',
      () => {
        const witnesses = [
          ...['evidenceLog.witnesses[0].key=w/1+0a+AA', 'evidenceLog.witnesses[0].url=https://w.example'],
          ...['evidenceLog.witnesses[1].key=w/2+0a+AA', 'evidenceLog.witnesses[1].url=http://w.example:9472/x'],
        ];
        const objects = rendered([...ENABLED, ...witnesses]);
        const { spec } = objects.get('StatefulSet bailiff-evidence-log');
        const [container] = spec.template.spec.containers;
        const named = container.env.filter(({ value }: Json) => value !== undefined);
        const env = Object.fromEntries(named.map(({ name, value }: Json) => [name, value]));
        const schema = configSchema.safeExtend(frameShape);
        const config = buildConfig(schema, { name: 'evidence-log', defaults: {}, file: null, env, flags: new Map() });
        expect(config).toMatchObject({ natsUser: 'evidence-log', origin: 'bailiff.example/log' });
        expect(config.witnesses).toEqual(['w/1+0a+AA https://w.example', 'w/2+0a+AA http://w.example:9472/x']);
        const { egress } = objects.get('NetworkPolicy bailiff-evidence-log').spec;
        expect(egress[1].ports.map(({ port }: Json) => port)).toEqual([443, 9472]);
        const mounts: Json[] = container.volumeMounts;
        const mountOf = (file: string) => mounts.find(({ mountPath }) => file.startsWith(`${mountPath}/`));
        const { keyFile, natsPasswordFile, natsCaFile, directory } = config;
        expect([keyFile, natsPasswordFile, natsCaFile, directory].map((file) => mountOf(file)?.name)).toEqual([
          ...['key', 'bus', 'bus', 'log'],
        ]);
        // Only the log is written.
        expect(mounts.filter(({ readOnly }) => !readOnly).map(({ name }) => name)).toEqual(['log']);
        expect(spec.template.spec.volumes.find(({ name }: Json) => name === 'key').secret.secretName).toBe('log-key');
        expect(spec.volumeClaimTemplates.map(({ metadata }: Json) => metadata.name)).toEqual(['log']);
        expect(spec.replicas).toBe(1);
      },
      SLOW_MS,
    );

    it(
      'it has no rights in Kubernetes, and reaches the bus alone',
      () => {
        const objects = rendered(ENABLED);
        expect(objects.get('StatefulSet bailiff-evidence-log').spec.template.spec.automountServiceAccountToken).toBe(
          false,
        );
        const bound = [...objects.values()].filter(({ subjects = [] }) =>
          subjects.some(({ name }: Json) => name === 'bailiff-evidence-log'),
        );
        expect(bound).toEqual([]);
        const { ingress, egress } = objects.get('NetworkPolicy bailiff-evidence-log').spec;
        expect(egress.flatMap(({ ports }: Json) => ports.map(({ port }: Json) => port))).toEqual([4222]);
        expect(ingress).toHaveLength(1);
        expect(objects.get('ValidatingAdmissionPolicy bailiff-credentials').spec.validations[1].expression).toContain(
          "'bailiff-bus-evidence-log'",
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
      'by default there is none of it, and without a name and a key it is refused',
      () => {
        expect([...rendered([]).keys()].filter((name) => name.includes('evidence'))).toEqual([]);
        for (const missing of [1, 2]) {
          const set = ENABLED.filter((_, index) => index !== missing);
          expect(() => rendered(set)).toThrow(/evidenceLog\.\w+ is required/);
        }
      },
      SLOW_MS,
    );
  });
}

// The chart's values of outputs are settings that siem-relay accepts, with their Secret and ports.
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { configSchema } from '../../apps/siem-relay/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import { helmProgram, NO_HELM, template } from '../../tools/helm.ts';

// biome-ignore lint/suspicious/noExplicitAny: rendered YAML
type Json = any;
const program = helmProgram();

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  describe('outputs of siem-relay in the chart', () => {
    const rendered = (set: readonly string[]): Map<string, Json> =>
      new Map(
        parseAllDocuments(template(program, { set }))
          .map((document) => document.toJS() as Json)
          .filter((object) => object !== null)
          .map((object) => [`${object.kind} ${object.metadata.name}`, object]),
      );
    const settings = [
      ...['alertmanager.urls[0]=http://a:9093', 'alertmanager.urls[1]=http://b:9093', 'alertmanager.resendMs=30000'],
      ...[
        'otlp.url=http://c:4318/v1/logs',
        'otlp.encoding=json',
        'otlp.ocsfVersion=1.9',
        'webhooks.chat.urlFile=/etc/bailiff/outputs/chat',
      ],
      ...['webhooks.chat.template=slack', 'webhooks.chat.events[0]=verdicts', 'webhooks.chat.timeoutMs=1000'],
      ...['secretName=outputs', 'ports[0]=8443'],
    ].map((text) => `siem.outputs.${text}`);

    it('values become settings, a volume and a network policy', () => {
      const objects = rendered(settings);
      const { containers, volumes } = objects.get('Deployment bailiff-siem-relay').spec.template.spec;
      const env = Object.fromEntries(
        containers[0].env
          .filter(({ value }: Json) => value !== undefined)
          .map(({ name, value }: Json) => [name, value]),
      );
      const schema = configSchema.safeExtend(frameShape);
      const config = buildConfig(schema, { name: 'siem-relay', defaults: {}, file: null, env, flags: new Map() });
      expect(config.alertmanager).toMatchObject({ urls: ['http://a:9093', 'http://b:9093'], resendMs: 30_000 });
      expect(config.otlp).toMatchObject({ url: 'http://c:4318/v1/logs', encoding: 'json', ocsfVersion: '1.9' });
      expect(config.webhooks).toEqual({
        chat: expect.objectContaining({ template: 'slack', urlFile: '/etc/bailiff/outputs/chat', timeoutMs: 1_000 }),
      });
      expect(volumes).toContainEqual(
        expect.objectContaining({ name: 'outputs', secret: expect.objectContaining({ secretName: 'outputs' }) }),
      );
      expect(objects.get('NetworkPolicy bailiff-siem-outputs').spec.egress).toEqual([
        {
          ports: [
            { port: 9093, protocol: 'TCP' },
            { port: 4318, protocol: 'TCP' },
            // The address is in a Secret.
            { port: 443, protocol: 'TCP' },
            { port: 8443, protocol: 'TCP' },
          ],
        },
      ]);
    }, 120_000);

    it.each([
      ['otlp.url=http://[fd00::1]:4318/v1/logs', 4318],
      ['otlp.url=http://collector/a:9/b', 80],
      ['otlp.url=https://collector?to=x:9', 443],
      ['otlp.url=https://user:1@collector:8443', 8443],
      ['alertmanager.urls=http://a:9093', 9093],
      ['webhooks.chat.url=https://hooks.example/a', 443],
      ['syslog.address=[fd00::1]:6514', 6514],
    ])(
      '%s - the network policy allows its port',
      (output, port) => {
        const policy = rendered([`siem.outputs.${output}`]).get('NetworkPolicy bailiff-siem-outputs');
        expect(policy.spec.egress).toEqual([{ ports: [{ port, protocol: 'TCP' }] }]);
      },
      120_000,
    );

    it('syslog - its settings, and events in its format on the bus', () => {
      const set = [
        'address=siem.example:6514',
        'format=ecs',
        'caFile=/etc/bailiff/outputs/ca',
        'confirmTimeoutMs=2000',
      ];
      const objects = rendered(set.map((text) => `siem.outputs.syslog.${text}`));
      const { env: list } = objects.get('Deployment bailiff-siem-relay').spec.template.spec.containers[0];
      const env = Object.fromEntries(
        list.filter(({ value }: Json) => value !== undefined).map(({ name, value }: Json) => [name, value]),
      );
      const schema = configSchema.safeExtend(frameShape);
      const config = buildConfig(schema, { name: 'siem-relay', defaults: {}, file: null, env, flags: new Map() });
      expect(config).toMatchObject({
        syslogAddress: 'siem.example:6514',
        syslogFormat: 'ecs',
        syslogConfirmTimeoutMs: 2_000,
        syslogCaFile: '/etc/bailiff/outputs/ca',
        formats: ['ocsf', 'ecs'],
      });
    }, 120_000);

    it('openreports - its setting, a token, its right, and the way to the API server', () => {
      const objects = rendered(['siem.outputs.openreports.enabled=true', 'siem.outputs.openreports.keepMs=3600000']);
      const { spec } = objects.get('Deployment bailiff-siem-relay').spec.template;
      const env = Object.fromEntries(
        spec.containers[0].env
          .filter(({ value }: Json) => value !== undefined)
          .map(({ name, value }: Json) => [name, value]),
      );
      const schema = configSchema.safeExtend(frameShape);
      const config = buildConfig(schema, { name: 'siem-relay', defaults: {}, file: null, env, flags: new Map() });
      expect(config.openreports).toMatchObject({ enabled: true, keepMs: 3_600_000 });
      expect(spec.automountServiceAccountToken).toBe(true);
      expect(objects.get('ClusterRole bailiff-siem-relay').rules).toEqual([
        { apiGroups: ['openreports.io'], resources: ['reports'], verbs: ['create', 'delete', 'list', 'patch'] },
      ]);
      expect(objects.get('ClusterRoleBinding bailiff-siem-relay').subjects).toMatchObject([
        { kind: 'ServiceAccount', name: 'bailiff-siem-relay' },
      ]);
      const { matchExpressions } = objects.get('NetworkPolicy bailiff-api-server').spec.podSelector;
      expect(matchExpressions[0].values).toContain('siem-relay');
      // The control: nothing of it by default.
      const without = rendered([]);
      expect(without.get('Deployment bailiff-siem-relay').spec.template.spec.automountServiceAccountToken).toBe(false);
      expect(without.has('ClusterRole bailiff-siem-relay')).toBe(false);
      expect(JSON.stringify(without.get('NetworkPolicy bailiff-api-server'))).not.toContain('siem-relay');
    }, 120_000);

    it('by default there is none of them', () => {
      const objects = rendered([]);
      expect(JSON.stringify(objects.get('Deployment bailiff-siem-relay'))).not.toMatch(/outputs|WEBHOOKS|OTLP|SYSLOG/);
      expect(objects.has('NetworkPolicy bailiff-siem-outputs')).toBe(false);
    }, 120_000);
  });
}

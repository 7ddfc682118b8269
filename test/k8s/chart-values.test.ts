// Values of the chart, by the real helm: each has an effect, in every namespace, with the recommended
// labels. chart-refusals.test.ts has those that cannot work.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { streamConfigs } from '@bailiff/bus';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configSchema } from '../../apps/siem-relay/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import { CHART, helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { documentsOf, type Json } from './rendered.ts';

const program = helmProgram();
const read = (file: string) => readFileSync(path.join(CHART, file), 'utf8');
const schema = JSON.parse(read('values.schema.json')) as Json;
const values = parse(read('values.yaml')) as Json;
const foreign = parse(read('files/foreign-values.yaml')) as Record<string, string>;
/** Everything that is off by default. */
const ALL = [
  ...['cni.enabled=true', 'ipamSync.taintUnguarded=true', 'preflight.enabled=true', 'responder.narrowed=true'],
  ...[
    'prometheus.podMonitor.enabled=true',
    'monitoring.prometheusRule.enabled=true',
    'monitoring.dashboard.enabled=true',
  ],
  ...['evidenceLog.enabled=true', 'evidenceLog.origin=bailiff.example/log', 'evidenceLog.keySecretName=log-key'],
  ...['initialPolicies={no-shell}', 'siem.outputs.syslog.address=siem:6514', 'siem.outputs.openreports.enabled=true'],
  ...['certificates.strategy=certManager'],
];
const CONSOLE = ['console.enabled=true', 'console.externalUrl=https://console.example'];
const LABELS = ['component', 'instance', 'managed-by', 'name', 'part-of', 'version'].map(
  (name) => `app.kubernetes.io/${name}`,
);

describe('values.yaml', () => {
  const templates = readdirSync(path.join(CHART, 'templates'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(yaml|tpl|txt)$/.test(file))
    .map((file) => read(`templates/${file}`))
    .join('\n');
  const APPS = [
    'collector',
    'ipamSync',
    'correlator',
    'responder',
    'siemRelay',
    'console',
    'evidenceLog',
    'busAuth',
    'busSetup',
    'nats',
    'redis',
  ];

  /** Paths down to the values that the schema describes. */
  const pathsOf = (node: Json, prefix = ''): string[] =>
    Object.entries(node.properties ?? {}).flatMap(([name, one]: [string, Json]) =>
      one.description === undefined ? pathsOf(one, `${prefix}${name}.`) : [`${prefix}${name}`],
    );
  const isUsed = (value: string) => {
    const [app = '', ...rest] = value.split('.');
    // Helpers get the values of a part as `.app`, or its image as `.image`.
    const within = APPS.includes(app) ? [`.app.${rest.join('.')}`, `.${rest.join('.')}`] : [];
    const names = [`.Values.${value}`, ...(within.length > 0 && rest[0] === 'image' ? within : within.slice(0, 1))];
    // templates/_validate.tpl checks values, and gives none of them an effect.
    return names.some((name) => new RegExp(`${name.replaceAll('.', '\\.')}\\b`).test(effective));
  };
  const effective = templates.replace(read('templates/_validate.tpl'), '');

  it('a template uses each value', () => {
    expect(pathsOf(schema).length).toBeGreaterThan(150);
    const indirect =
      /^(siem\.outputs\.(alertmanager|openreports|otlp|syslog|ports)|certificates\.issuerRef\.\w+|console\.proxy\.(names|userHeader|groupsHeader))$/;
    expect(pathsOf(schema).filter((value) => !isUsed(value) && !indirect.test(value))).toEqual([]);
    expect(isUsed('prometheus.podMonitor.unused')).toBe(false);
  });

  it('the schema has no pattern, because helm would print it instead of a reason', () => {
    expect(JSON.stringify(schema)).not.toContain('"pattern":');
  });

  it('no name of another chart is one of ours', () => {
    const ours = (name: string) => name.split('.').reduce((node: Json, key) => node?.[key], values);
    expect(Object.keys(foreign).filter((name) => ours(name) !== undefined)).toEqual([]);
  });

  it('the schema names the settings of outputs that siem-relay has', () => {
    const outputs = schema.properties.siem.properties.outputs.properties;
    const config = buildConfig(configSchema.safeExtend(frameShape), {
      name: 'siem-relay',
      defaults: {},
      file: null,
      // Settings without a default are in the result only if they are set.
      env: {
        BAILIFF_SIEM_RELAY_WEBHOOKS: '{"a":{"url":"https://a.example","ocsfVersion":"1.9"}}',
        BAILIFF_SIEM_RELAY_OTLP__OCSF_VERSION: '1.9',
        BAILIFF_SIEM_RELAY_SYSLOG_OCSF_VERSION: '1.9',
      },
      flags: new Map(),
    });
    const syslog = Object.keys(config).flatMap((name) => /^syslog(.+)/.exec(name)?.[1] ?? []);
    const names = (of: Json) => Object.keys(of.properties).sort();
    expect(names(outputs.alertmanager)).toEqual(Object.keys(config.alertmanager).sort());
    expect(names(outputs.openreports)).toEqual(Object.keys(config.openreports).sort());
    expect(names(outputs.otlp)).toEqual(Object.keys(config.otlp).sort());
    expect(names(outputs.syslog)).toEqual(syslog.map((name) => `${name[0]?.toLowerCase()}${name.slice(1)}`).sort());
    expect(names(outputs.webhooks.additionalProperties)).toEqual(Object.keys(config.webhooks['a'] ?? {}).sort());
  });

  it('what the other streams may store is what the chart reserves for them', () => {
    const GIB = 1024 ** 3;
    const sum = (keep: number) =>
      streamConfigs({ violationsMaxBytes: keep }).reduce((all, stream) => all + (stream.max_bytes ?? 0), 0) - keep;
    const stated = Number(/otherStreams" -}}([\d.]+)GiB/.exec(templates)?.[1]) * GIB;
    for (const keep of [GIB, 20 * GIB]) {
      expect(sum(keep)).toBeLessThanOrEqual(stated);
      expect(stated - sum(keep)).toBeLessThan(0.1 * GIB);
    }
  });
});

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  const render = (...set: string[]) => documentsOf(template(program, { set }));
  describe('rendered', () => {
    it('helm prints nothing but the result', () => {
      for (const command of [
        ['template', 'bailiff', CHART],
        ['show', 'values', CHART],
        ['lint', CHART],
      ]) {
        const { stderr, status } = spawnSync(program, command, { encoding: 'utf8' });
        expect([stderr, status]).toEqual(['', 0]);
      }
    }, 120_000);

    it('the notes name the namespace, and what the values ask for', () => {
      const notesWith = (namespace: string, ...set: string[]) => {
        const flags = ['--dry-run=client', '--namespace', namespace, ...set.flatMap((one) => ['--set', one])];
        const { stdout, stderr } = spawnSync(program, ['install', 'bailiff', CHART, ...flags], { encoding: 'utf8' });
        expect(stderr).toBe('');
        return stdout.slice(stdout.indexOf('\nNOTES:'));
      };
      const notes = notesWith('security', 'initialPolicies={no-shell}', 'initialMode=audit', 'responder.dryRun=true');
      for (const text of [
        'helm -n security test bailiff',
        'kubectl bailiff status --bailiff-namespace security\n',
        'kubectl bailiff policy promote no-shell --bailiff-namespace security\n',
        'Forged packets are counted and pass',
        'because responder.dryRun is set',
      ])
        expect(notes).toContain(text);
      const plain = notesWith('bailiff-system', 'tests.enabled=false', 'global.imageRegistry=r.example');
      expect(plain).toContain('2. See which pods are guarded');
      expect(plain).not.toMatch(/bailiff-namespace|promote|not pulled|helm -n/);
      const url = 'tls://nats.example:4222';
      const external = notesWith('bailiff-system', 'nats.mode=external', `nats.url=${url}`);
      expect(external).toContain(`bailiff status --nats-url ${url}`);
    }, 120_000);

    it('every object has the recommended labels, and each pod those of its release', () => {
      const objects = render(...ALL);
      expect(objects.length).toBeGreaterThan(60);
      for (const { kind, metadata, spec } of objects) {
        expect(Object.keys(metadata.labels), `${kind} ${metadata.name}`).toEqual(expect.arrayContaining(LABELS));
        for (const label of LABELS) expect(metadata.labels[label], `${kind} ${metadata.name}`).toBeTruthy();
        if (!['Deployment', 'DaemonSet', 'StatefulSet', 'Job'].includes(kind)) continue;
        const pod = spec.template.metadata.labels;
        expect(pod['app.kubernetes.io/instance'], metadata.name).toBe('bailiff');
        // Otherwise a new chart would restart the bus.
        expect(pod).not.toHaveProperty('app.kubernetes.io/version');
      }
    }, 120_000);

    it('another namespace is named everywhere', () => {
      // The definitions have a default for policies, beside which responders protect their own namespace.
      const text = template(program, { set: [...ALL, 'crds.installMethod=none'], namespace: 'security' });
      const code = text.replaceAll(/^ *#.*\n/gm, '');
      const shipped = /excludeNamespaces:\n(?: +- .*\n)+/g;
      expect(code.match(shipped)?.[0]).toContain('- security');
      const rest = code.replaceAll(shipped, '').replace(/^ {2}bailiff\.json: .*$/m, '');
      expect(rest.split('\n').filter((line) => line.includes('bailiff-system'))).toEqual([]);
    }, 120_000);

    it('responders observe the pods of their own namespace only, and can be kept in dry runs', () => {
      const envOf = (...set: string[]) =>
        render(...set).find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'bailiff-responder').spec
          .template.spec.containers[0].env;
      expect(envOf()).toContainEqual({
        name: 'BAILIFF_RESPONDER_NAMESPACE',
        valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } },
      });
      expect(JSON.stringify(envOf())).not.toContain('DRY_RUN');
      expect(envOf('responder.dryRun=true')).toContainEqual({ name: 'BAILIFF_RESPONDER_DRY_RUN', value: 'true' });
    }, 120_000);

    it('configSigners reaches the four readers of configuration, restarts them, and no other part', () => {
      const read = (line: string) => {
        const objects = render(`configSigners=${line}`).filter(({ spec }) => spec?.template);
        return objects.flatMap(({ metadata, spec: { template: pod } }) => {
          const file = (pod.spec.containers as Json[])
            .flatMap(({ env = [] }) => env)
            .find(({ name }: Json) => name.endsWith('_CONFIG_SIGNERS'))?.value;
          const sources = (pod.spec.volumes as Json[]).flatMap(({ projected }) => projected?.sources ?? []);
          const isMounted = sources.some(({ configMap }) => configMap?.name === 'bailiff-config-signers');
          const sum = pod.metadata.annotations?.['checksum/config-signers'];
          return file || isMounted || sum ? [[metadata.name, file, isMounted, sum]] : [];
        });
      };
      const parts = read('anna@prod+1234abcd+AQ==');
      expect(parts.map(([name, ...rest]) => [name, ...rest.slice(0, 2)]).sort()).toEqual(
        ['collector', 'correlator', 'ipam-sync', 'responder'].map((name) => [
          `bailiff-${name}`,
          '/etc/bailiff/bus/signers',
          true,
        ]),
      );
      expect(new Set([...parts, ...read('other')].map((part) => part.at(-1))).size).toBe(2);
      expect(read('')).toEqual([]);
    });

    it.each([
      ['tls://nats.example', [4222], 'redis://redis.example', [6379]],
      ['tls://nats.example:14222', [14222], 'rediss://cache.example:6380/0', [6380]],
      ['tls://a:14222\\,b\\,tls://[fd00::1]:4333', [14222, 4222, 4333], 'redis://[fd00::1]:16379?db=1', [16379]],
    ])(
      'network policies allow the ports of external servers, at %s and %s',
      (natsUrl, natsPorts, redisUrl, redisPorts) => {
        const external = ['nats.mode=external', `nats.url=${natsUrl}`, 'redis.mode=external', `redis.url=${redisUrl}`];
        const policies = render(...ALL, ...CONSOLE, ...external).filter(({ kind }) => kind === 'NetworkPolicy');
        const portsOf = (name: string): number[] =>
          policies
            .find(({ metadata }) => metadata.name === `bailiff-${name}`)
            .spec.egress.flatMap(({ ports = [] }: Json) => ports.map((one: Json) => one.port));
        expect(portsOf('bus-clients')).toEqual(natsPorts);
        expect(portsOf('redis-clients')).toEqual(redisPorts);
        for (const part of ['console', 'evidence-log', 'canary'])
          expect(portsOf(part), part).toEqual(expect.arrayContaining(natsPorts));
        // Only what the addresses name: the defaults are not open beside other ports.
        if (!natsPorts.includes(4222))
          for (const part of ['console', 'evidence-log', 'canary']) expect(portsOf(part), part).not.toContain(4222);
        expect(policies.every(({ spec }) => JSON.stringify(spec.ingress ?? '').match(/4222|6379/) === null)).toBe(true);
      },
      120_000,
    );

    it('global.imageRegistry is in front of every image, NATS and Valkey included', () => {
      const images = template(program, { set: [...ALL, 'global.imageRegistry=r.example'] }).match(/^ +image: .*$/gm);
      expect(images?.length).toBeGreaterThan(10);
      for (const image of images ?? []) expect(image).toContain('image: r.example/');
      for (const name of ['nats@sha256:', 'valkey/valkey:'])
        expect(images?.join('\n')).toContain(`image: r.example/${name}`);
    }, 120_000);

    it('the waits of the CNI plugin exceed the back-off of the kubelet', () => {
      const { env } = render('cni.enabled=true').find(({ kind }) => kind === 'DaemonSet').spec.template.spec
        .containers[0];
      const numberOf = (name: string) => Number(env.find((one: Json) => one.name === name).value);
      // 10 s after the first crash, 20 s after the second.
      expect(numberOf('BAILIFF_COLLECTOR_CNI_RESTART_WAIT_MS')).toBeGreaterThan(30_000);
      expect(numberOf('BAILIFF_COLLECTOR_CNI_WAIT_MS')).toBe(10_000);
    }, 120_000);

    it('Chart.yaml lists the images and the definitions of the chart', () => {
      const { annotations, appVersion } = parse(read('Chart.yaml')) as Json;
      const listed = (parse(annotations['artifacthub.io/images']) as Json[]).map(({ image }) => image);
      const used = new Set(
        (template(program, { set: ALL }).match(/^ +image: .*$/gm) ?? []).map((line) => line.split(': ')[1]),
      );
      const full = (image = '') =>
        image.startsWith('nats@') ? `docker.io/library/${image}` : image.replace(/^valkey/, 'docker.io/valkey');
      expect([...used].map(full).sort()).toEqual([...listed].sort());
      expect(listed).toContain(`bailiff/cli:${appVersion}`);
      const kinds = render().filter(({ kind }) => kind === 'CustomResourceDefinition');
      const definitions = (parse(annotations['artifacthub.io/crds']) as Json[]).map(
        ({ kind, name }) => `${kind} ${name}`,
      );
      expect(definitions.sort()).toEqual(
        kinds.map(({ spec, metadata }) => `${spec.names.kind} ${metadata.name}`).sort(),
      );
    }, 120_000);
  });
}

// The chart, by the real helm: the manifests are what it renders, and each profile is valid.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { streamConfigs } from '@bailiff/bus';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { bytesIn } from '../../apps/cli/src/shared/arguments.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { CHART, helm, helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { generated, valueRows } from '../../tools/manifests.ts';
import { refusedChanges } from './immutable.ts';
import { documentsOf, type Json, objectsOf, objectsWith } from './rendered.ts';

const program = helmProgram();
const PROFILES = readdirSync(path.join(CHART, 'profiles')).map((name) => name.replace('.yaml', ''));
const ROOT = path.resolve(CHART, '../..');

/** Without the hash that kustomize appends to generated ConfigMaps, where they are used too. */
const withoutHash = (object: Json): Json =>
  JSON.parse(JSON.stringify(object).replaceAll(/"(bailiff-(?:addresses|retention|valkey))-[a-z0-9]{10}"/g, '"$1"'));
const keyOf = ({ kind, metadata }: Json) => `${kind} ${metadata.name}`;
const byKey = (list: readonly Json[]) => new Map(list.map((object) => [keyOf(object), object]));

describe('values', () => {
  const schema = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8'));
  const values = parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8'));

  it('each value has a description in the schema, and each key of the schema a default', () => {
    const leaves = (value: Json, node: Json): string[] =>
      Object.entries(value).flatMap(([key, one]) => {
        const known = node.properties?.[key];
        if (known === undefined) return [`${key} is not in the schema`];
        return known.description === undefined ? leaves(one, known) : [];
      });
    expect(leaves(values, schema)).toEqual([]);
    expect(valueRows(schema, values).filter(([, value]) => value === '')).toEqual([]);
  });

  it('the limits of all streams fit where a profile bounds what a server stores', () => {
    const bounded = PROFILES.map((name) => parse(readFileSync(path.join(CHART, 'profiles', `${name}.yaml`), 'utf8')))
      .filter((profile) => profile.nats?.storage?.maxFileStore !== undefined)
      .map(({ nats, bus }) => ({
        room: bytesIn(nats.storage.maxFileStore),
        used: streamConfigs({ violationsMaxBytes: bytesIn(bus.keepBytes) }),
      }));
    expect(bounded).not.toEqual([]);
    for (const { room, used } of bounded)
      expect(used.reduce((sum, stream) => sum + (stream.max_bytes ?? 0), 0)).toBeLessThan(room);
  });
});

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  describe('one source', () => {
    it('every rendered file is current: npm run manifests', async () => {
      for (const [file, text] of await generated(program)) {
        expect(readFileSync(path.join(ROOT, file), 'utf8'), file).toBe(text);
      }
    }, 120_000);

    it('the overlay `included` is the chart without its hooks', () => {
      const settings = ['addresses.create=true', 'crds.installMethod=helm'];
      const chart = byKey(documentsOf(template(program, { profiles: ['kustomize'], set: settings })));
      const overlay = byKey(objectsOf('included').map(withoutHash));
      // The chart's user creates the namespace.
      expect([...overlay.keys()].filter((key) => !chart.has(key))).toEqual(['Namespace bailiff-system']);
      expect([...chart.keys()].filter((key) => !overlay.has(key))).toEqual([]);
      for (const [key, object] of chart) {
        delete object.spec?.template?.metadata?.annotations;
        delete object.metadata.labels['app.kubernetes.io/managed-by'];
        // Kustomize takes a kind that it does not know for one with a namespace. The API server ignores it.
        if (object.kind === 'FlowSchema') delete overlay.get(key)?.metadata.namespace;
        // kustomize generates these.
        if (object.kind === 'ConfigMap') object.metadata.labels = overlay.get(key)?.metadata.labels;
        if (object.kind === 'CustomResourceDefinition') continue;
        expect(overlay.get(key), key).toEqual(object);
      }
    }, 120_000);
  });

  describe.each(PROFILES)('profile %s', (profile) => {
    it('passes helm lint --strict', () => {
      const values = path.join(CHART, 'profiles', `${profile}.yaml`);
      expect(helm(program, ['lint', '--strict', CHART, '--values', values])).toContain('0 chart(s) failed');
    }, 120_000);

    it('renders objects with names of their own, all in one namespace', () => {
      const list = documentsOf(template(program, { profiles: [profile] }));
      expect(list.length).toBeGreaterThan(20);
      expect(new Set(list.map(keyOf)).size).toBe(list.length);
      for (const { metadata } of list) expect([undefined, 'bailiff-system']).toContain(metadata.namespace);
    }, 120_000);
  });

  const collectorWith = (...set: string[]) =>
    documentsOf(template(program, { set })).find(({ kind }) => kind === 'DaemonSet').spec.template.spec;

  describe('upgrade', () => {
    const rendered = (...set: string[]) => documentsOf(template(program, { set }));

    it.each([
      ['other images', ['collector.image.tag=v2', 'busSetup.image.tag=v2', 'nats.image.tag=v2', 'nats.image.digest=']],
      ['other labels', ['commonLabels.team=a']],
      ['more servers', ['nats.replicas=5']],
      ['admission policies', ['responder.narrowed=true']],
      ['packets only', ['runtimePolicies.enabled=false']],
      ['the CNI plugin', ['cni.enabled=true']],
      ['another retention', ['bus.keepDays=30', 'nats.storage.whenDeleted=Delete']],
    ])(
      '%s - changes nothing that the API server refuses',
      (_, set) => {
        expect(refusedChanges(rendered(), rendered(...set))).toEqual([]);
      },
      120_000,
    );

    it('a change that it refuses is found: the size of a volume', () => {
      expect(refusedChanges(rendered(), rendered('nats.storage.size=32Gi'))).toEqual(['StatefulSet bailiff-nats']);
    }, 120_000);
  });

  describe('settings', () => {
    it.each([
      ['a misspelt value', ['collector.imag.tag=1'], /additional properties 'imag' not allowed/],
      ['an external bus without its address', ['nats.mode=external'], /nats\.url is required/],
      ['an unknown strategy', ['certificates.strategy=none'], /certificates/],
      ['an even number of servers', ['nats.replicas=2'], /nats\/replicas': value must be one of 1, 3, 5/],
      ['both states of the CNI plugin', ['cni.enabled=true', 'cni.uninstall=safe'], /needs cni.enabled=false/],
      ['a tag beside the default digest', ['nats.image.tag=v2'], /nats.image.tag has no effect while/],
    ])(
      '%s is refused',
      (_, set, why) => {
        expect(() => template(program, { set })).toThrow(why);
      },
      120_000,
    );

    it('who connects to NATS - everyone, or the named clients and every pod of Bailiff that uses it', () => {
      const set = ['networkPolicies.natsClients[0].ipBlock.cidr=10.0.0.0/16'];
      const policiesOf = (list: Json[]) => byKey(list.filter(({ kind }) => kind === 'NetworkPolicy'));
      const [open, restricted] = [[], set].map((more) => policiesOf(documentsOf(template(program, { set: more }))));
      const fromOf = (policies: typeof open) => policies?.get('NetworkPolicy bailiff-nats').spec.ingress[0].from;
      expect(fromOf(open)).toBeUndefined();
      const [{ podSelector }, ...named] = fromOf(restricted);
      expect(named).toEqual([{ ipBlock: { cidr: '10.0.0.0/16' } }]);
      const { values } = podSelector.matchExpressions[0];
      const own = restricted?.get('NetworkPolicy bailiff-bus-clients').spec.podSelector.matchExpressions[0].values;
      expect(values).toEqual([...own, 'canary']);
    }, 120_000);

    it('the set-up Job has another name for another image, and the same one otherwise', () => {
      const nameWith = (...set: string[]) => {
        const list = documentsOf(template(program, { set }));
        return list.find(({ kind, metadata }) => kind === 'Job' && metadata.name.startsWith('bailiff-bus-setup'))
          .metadata.name;
      };
      expect(nameWith('busSetup.image.tag=v2')).not.toBe(nameWith());
      expect(nameWith('bus.keepBytes=5GiB')).not.toBe(nameWith());
      expect(nameWith('initialMode=audit')).not.toBe(nameWith());
      expect(nameWith('collector.image.tag=v2')).toBe(nameWith());
    }, 240_000);

    it('initialMode=audit is what the component audit-first does', () => {
      const chart = documentsOf(template(program, { profiles: ['kustomize'], set: ['initialMode=audit'] }));
      const component = objectsWith('included', ['audit-first']);
      const containerOf = (list: readonly Json[], wanted: string) =>
        list.find(({ kind, metadata }) => `${kind} ${metadata.name}` === wanted).spec.template.spec.containers[0];
      const envOf = (list: readonly Json[]) => containerOf(list, 'DaemonSet bailiff-collector').env;
      const initialMode = { name: 'BAILIFF_COLLECTOR_INITIAL_MODE', value: 'audit' };
      const argsOf = (list: readonly Json[]) => containerOf(list, 'Job bailiff-bus-setup').args;
      for (const list of [chart, component]) expect(envOf(list)).toContainEqual(initialMode);
      expect([...argsOf(chart)].sort()).toEqual([...argsOf(component)].sort());
    }, 120_000);

    it('the CNI plugin has its directories and its exempt namespaces', () => {
      const { containers, initContainers, volumes } = collectorWith(
        'cni.enabled=true',
        'cni.confDir=/conf',
        'cni.binDir=/bin',
      );
      expect(initContainers).toBeUndefined();
      const [{ env, volumeMounts }] = containers;
      expect(env).toContainEqual({
        name: 'BAILIFF_COLLECTOR_CNI_EXEMPT_NAMESPACES',
        value: 'kube-system,bailiff-system',
      });
      const onNode = (mountPath: string) => {
        const { name } = volumeMounts.find((mount: Json) => mount.mountPath === mountPath);
        return volumes.find((volume: Json) => volume.name === name).hostPath.path;
      };
      expect(['/run/bailiff', '/host/cni/net.d', '/host/cni/bin'].map(onNode)).toEqual([
        '/run/bailiff',
        '/conf',
        '/bin',
      ]);
      expect(JSON.stringify(collectorWith())).not.toContain('cni-bin');
    }, 120_000);

    it('the plugin is removed by a container that runs before the collector', () => {
      const { containers, initContainers } = collectorWith('cni.uninstall=safe');
      expect(initContainers[0].args).not.toContain('--force');
      expect(collectorWith('cni.uninstall=force').initContainers[0].args).toContain('--force');
      expect(JSON.stringify(containers[0].env)).not.toContain('_CNI_CONF_DIR');
    }, 120_000);

    it('the preflight runs as the collector, once a node, before every other hook', async () => {
      const list = documentsOf(
        template(program, { set: ['preflight.enabled=true', 'preflight.nodes=3', 'cni.enabled=true'] }),
      );
      const job = list.find(({ metadata }) => metadata.name === 'bailiff-preflight');
      const weightOf = ({ metadata }: Json) => Number(metadata.annotations?.['helm.sh/hook-weight'] ?? 0);
      expect(list.filter((one) => one !== job && weightOf(one) <= weightOf(job))).toEqual([]);
      expect(job.spec).toMatchObject({ completions: 3, parallelism: 3, backoffLimitPerIndex: 0 });
      const pod = job.spec.template.spec;
      const collector = list.find(({ kind }) => kind === 'DaemonSet').spec.template.spec;
      const withoutBus = (named: readonly Json[]) => named.filter(({ name }) => name !== 'bus');
      expect(pod.volumes).toEqual(withoutBus(collector.volumes));
      const [[container], [other]] = [pod.containers, collector.containers];
      expect(container.volumeMounts).toEqual(withoutBus(other.volumeMounts));
      expect([pod.securityContext, container.securityContext]).toEqual([
        collector.securityContext,
        other.securityContext,
      ]);
      // The command accepts its flags; what it finds on this machine does not matter.
      const { stderr } = await runCli([...container.args, '--json']);
      expect(stderr).toBe('');
    }, 120_000);

    it('servers of the bus restart when the hook changes their configuration', () => {
      const annotationsWith = (...set: string[]) =>
        documentsOf(template(program, { set })).find(
          ({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === 'bailiff-nats',
        ).spec.template.metadata.annotations;
      expect(annotationsWith('nats.replicas=3')).not.toEqual(annotationsWith());
      expect(annotationsWith('nats.storage.maxFileStore=11GiB')).not.toEqual(annotationsWith());
      expect(annotationsWith('collector.image.tag=v2')).toEqual(annotationsWith());
    }, 120_000);

    it('text rendered twice is the same, and has no Secret', () => {
      for (const profile of PROFILES) {
        const text = template(program, { profiles: [profile] });
        expect(template(program, { profiles: [profile] })).toBe(text);
        expect(documentsOf(text).filter(({ kind }) => kind === 'Secret')).toEqual([]);
      }
    }, 120_000);

    it('a package of the chart renders the same as the checkout', () => {
      const directory = temporaryDirectory();
      helm(program, ['package', CHART, '--destination', directory]);
      const chart = path.join(directory, readdirSync(directory).find((name) => name.endsWith('.tgz')) ?? '');
      expect(documentsOf(template(program, { chart }))).toEqual(documentsOf(template(program)));
    }, 120_000);
  });
}

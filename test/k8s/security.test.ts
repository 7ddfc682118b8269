// The rights of each pod on its node, at the API server and in the network: no more than the code
// needs.

import { EVERY_ACTION, responderRules } from '@bailiff/response';
import { describe, expect, it } from 'vitest';
import { roleYaml } from '../../apps/cli/src/operate/responder.ts';
import { configSchema as ipamSyncSchema } from '../../apps/ipam-sync/src/config.ts';
import { BUS_AUTH_PATHS, BUS_AUTH_RULES, IPAM_SYNC_RULES, TAINT_RULES } from '../support/kube-rules.ts';
import {
  type Json,
  METRICS_PORT,
  named,
  OVERLAYS,
  objectsOf,
  objectsWith,
  ofKind,
  PROBE_PORT,
  type Workload,
  workloadsOf,
} from './rendered.ts';

/**
 * Rights on the node, each with the function that fails without it.
 * test/cluster/collector-privileges.test.ts tries them.
 */
const COLLECTOR_CAPABILITIES = ['BPF', 'PERFMON', 'NET_ADMIN', 'SYS_PTRACE', 'SYSLOG'];

interface Rule {
  apiGroups?: readonly string[];
  resources?: readonly string[];
  nonResourceURLs?: readonly string[];
  verbs: readonly string[];
  resourceNames?: readonly string[];
}

/** One string per right, so that the grouping of rules does not matter. */
const rights = (rules: readonly Rule[]): string[] =>
  [
    ...new Set(
      rules.flatMap(({ apiGroups = [], resources = [], nonResourceURLs = [], verbs, resourceNames = ['*'] }) => [
        ...apiGroups.flatMap((group) =>
          resources.flatMap((resource) =>
            verbs.flatMap((verb) => resourceNames.map((name) => `${verb} ${group}/${resource} ${name}`)),
          ),
        ),
        ...nonResourceURLs.flatMap((path) => verbs.map((verb) => `${verb} ${path}`)),
      ]),
    ),
  ].sort();

describe.each(OVERLAYS)('%s', (overlay) => {
  const objects = objectsOf(overlay);
  const workloads = workloadsOf(objects);
  const others = workloads.filter(({ component }) => component !== 'collector');
  const bound = (kind: string) =>
    ofKind(objects, `${kind}Binding`).map(({ roleRef, subjects }) => {
      expect(roleRef.kind).toBe(kind);
      expect(subjects).toHaveLength(1);
      return { account: subjects[0].name as string, rules: named(objects, kind, roleRef.name).rules as Rule[] };
    });

  it.each(others)(
    '$name - meets the Pod Security level "restricted", with a read-only root file system',
    ({ pod, container }) => {
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod[field]).toBeUndefined();
      expect((pod.volumes as Json[]).filter(({ hostPath }) => hostPath)).toEqual([]);
      expect((container.ports ?? []).filter(({ hostPort }: Json) => hostPort)).toEqual([]);
    },
  );

  // Tenants choose priority classes too, and the scheduler and the kubelet end pods of lower ones for theirs.
  it('no pod that stays can be ended for a pod with a higher priority', () => {
    const staying = workloads.filter(({ kind }) => kind !== 'Job');
    expect(staying.length).toBeGreaterThan(4);
    for (const { name, pod } of staying) {
      expect([name, pod.priorityClassName]).toEqual([name, 'system-node-critical']);
    }
  });

  it('collector - it has only the listed rights and is not privileged', () => {
    const { pod, container, object } = workloads.find(({ component }) => component === 'collector') as Workload;
    expect(container.securityContext).toEqual({
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: COLLECTOR_CAPABILITIES },
    });
    expect(pod).toMatchObject({ hostNetwork: true, hostPID: true, tolerations: [{ operator: 'Exists' }] });
    expect(object.kind).toBe('DaemonSet');
    const writable = (container.volumeMounts as Json[])
      .filter(({ readOnly }) => !readOnly)
      .map(({ mountPath }) => mountPath);
    expect(writable).toEqual(['/sys/fs/bpf', '/var/lib/bailiff']);
  });

  it('collector - the container that enters namespaces of pods has these rights alone, and no listener', () => {
    const { pod, sidecars } = workloads.find(({ component }) => component === 'collector') as Workload;
    expect(sidecars).toHaveLength(1);
    const { command, ports, env, securityContext, volumeMounts } = sidecars[0] as Json;
    expect({ command, ports, env, securityContext, volumeMounts }).toEqual({
      command: ['/app/bailiff-pod-ends', '--pins', '/sys/fs/bpf/bailiff'],
      ports: undefined,
      env: undefined,
      securityContext: {
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        appArmorProfile: { type: 'Unconfined' },
        capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'SYS_PTRACE', 'BPF', 'NET_ADMIN'] },
      },
      volumeMounts: [{ name: 'bpffs', mountPath: '/sys/fs/bpf' }],
    });
    expect(pod.hostPID).toBe(true);
  });

  it('collector - its token is of no use at the API server, and it has no other', () => {
    const { pod } = workloads.find(({ component }) => component === 'collector') as Workload;
    expect(pod.automountServiceAccountToken).toBe(false);
    const tokens = (pod.volumes as Json[])
      .flatMap(({ projected }) => projected?.sources ?? [])
      .flatMap(({ serviceAccountToken }) => serviceAccountToken ?? []);
    expect(tokens).toEqual([{ audience: 'bailiff', expirationSeconds: 3600, path: 'token' }]);
    const bindings = [...bound('Role'), ...bound('ClusterRole')].map(({ account }) => account);
    expect(bindings).not.toContain(pod.serviceAccountName);
  });

  it('tokens - exactly the accounts with rights at the API server have a token', () => {
    const accounts = new Set([...bound('Role'), ...bound('ClusterRole')].map(({ account }) => account));
    for (const { pod } of workloads) {
      named(objects, 'ServiceAccount', pod.serviceAccountName);
      expect([pod.serviceAccountName, pod.automountServiceAccountToken]).toEqual([
        pod.serviceAccountName,
        accounts.has(pod.serviceAccountName),
      ]);
      expect(pod.enableServiceLinks).toBe(false);
    }
    for (const account of ofKind(objects, 'ServiceAccount')) expect(account.automountServiceAccountToken).toBe(false);
  });

  it('rights at the API server - exactly those in the code', () => {
    const inCluster = Object.fromEntries(bound('ClusterRole').map(({ account, rules }) => [account, rights(rules)]));
    const inNamespace = Object.fromEntries(bound('Role').map(({ account, rules }) => [account, rights(rules)]));
    const ofScope = (scope: string) => IPAM_SYNC_RULES.filter((rule) => rule.scope === scope);
    expect(inCluster).toEqual({
      'bailiff-bus-auth': rights([...BUS_AUTH_RULES, ...BUS_AUTH_PATHS]),
      'bailiff-ipam-sync': rights(ofScope('cluster')),
      'bailiff-responder': rights(responderRules(EVERY_ACTION)),
    });
    expect(inNamespace).toEqual({ 'bailiff-ipam-sync': rights(ofScope('lease-namespace')) });
    const lease = ipamSyncSchema.parse({}).leaseName;
    expect(inNamespace['bailiff-ipam-sync']).toContain(`update coordination.k8s.io/leases ${lease}`);
  });

  it('rights of the responder - the output of `bailiff responder rbac` replaces the base’s rights', () => {
    const label = { acting: new Set(['label'] as const), dryRun: new Set<never>() };
    const rules = responderRules(label);
    const narrowed = objectsWith(overlay, [], {}, roleYaml(rules, label));
    const granted = rights(named(narrowed, 'ClusterRole', 'bailiff-responder').rules);
    expect(granted).toEqual(rights(rules));
    expect(granted).toContain('patch /pods *');
    expect(rights(named(objects, 'ClusterRole', 'bailiff-responder').rules)).toContain('delete /pods *');
    expect(granted).not.toContain('delete /pods *');
    // Labels of the overlay and all other fields stay.
    const [before, after] = [objects, narrowed].map((all) => named(all, 'ClusterRole', 'bailiff-responder').metadata);
    expect(after).toEqual(before);
    expect(narrowed).toHaveLength(objects.length);
  });

  it('network - all traffic is denied except the connections that the configuration of each component needs', () => {
    const policies = ofKind(objects, 'NetworkPolicy');
    expect(named(objects, 'NetworkPolicy', 'bailiff-default-deny').spec).toEqual({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
    const selects = (policy: Json, component: string) => {
      const { matchLabels, matchExpressions } = policy.spec.podSelector;
      if (matchExpressions) return matchExpressions[0].values.includes(component);
      return matchLabels?.['app.kubernetes.io/component'] === component;
    };
    const ports = (component: string, direction: 'egress' | 'ingress') =>
      policies
        .filter((policy) => selects(policy, component))
        .flatMap((policy) =>
          (policy.spec[direction] ?? []).flatMap((rule: Json) => rule.ports.map(({ port }: Json) => port)),
        )
        .sort((a, b) => a - b);
    for (const { component, pod, container } of others) {
      const names = (container.env ?? []).map(({ name }: Json) => name as string);
      const wanted = [
        ...(names.some((name: string) => name.endsWith('NATS_URL')) ? [4222] : []),
        ...(names.some((name: string) => name.endsWith('REDIS_URL')) ? [6379] : []),
        ...(pod.automountServiceAccountToken ? [443, 6443] : []),
        ...(component === 'nats' ? [6222] : []),
      ];
      expect([component, ports(component, 'egress')]).toEqual([component, wanted.sort((a, b) => a - b)]);
      const served = (container.ports ?? []).map(({ containerPort }: Json) => containerPort);
      // Only the node itself uses the ports of probes, and scrapes the bus's monitoring port.
      const open = served.filter((port: number) => port !== 8222 && port !== PROBE_PORT);
      expect([component, ports(component, 'ingress')]).toEqual([component, open]);
    }
    expect(ports('correlator', 'ingress')).toEqual([METRICS_PORT]);
  });
});

describe('taint-unguarded', () => {
  it('grants the rights for taints to the account of ipam-sync and to no other account', () => {
    const before = new Set(objectsOf('included').map((object) => JSON.stringify(object)));
    const objects = objectsWith('included', ['taint-unguarded']);
    const added = objects.filter((object) => !before.has(JSON.stringify(object)));
    const [role, binding, ...others] = added;
    expect([role.kind, binding.kind, objects.length - before.size]).toEqual([
      'ClusterRole',
      'ClusterRoleBinding',
      added.length,
    ]);
    // Admission policies remove rights (admission.test.ts).
    expect(others.every(({ kind }) => kind.startsWith('ValidatingAdmissionPolicy'))).toBe(true);
    expect(rights(role.rules)).toEqual(rights(TAINT_RULES));
    expect(binding.roleRef).toMatchObject({ kind: 'ClusterRole', name: role.metadata.name });
    const { pod, object } = workloadsOf(objects).find(({ component }) => component === 'ipam-sync') as Workload;
    const { namespace } = object.metadata;
    expect(binding.subjects).toEqual([{ kind: 'ServiceAccount', name: pod.serviceAccountName, namespace }]);
  });
});

describe.each(OVERLAYS)('%s: availability', (overlay) => {
  const objects = objectsOf(overlay);
  const workloads = workloadsOf(objects);

  it.each(workloads)('$name - memory is limited, and the scheduler knows the request', ({ container }) => {
    const { requests, limits } = container.resources;
    expect(Object.keys(requests).sort()).toEqual(['cpu', 'memory']);
    // No CPU limit: throttling would hit during a flood, when the app is needed most.
    expect(Object.keys(limits)).toEqual(['memory']);
    const mebibytes = (text: string) => Number.parseInt(text, 10) * (text.endsWith('Gi') ? 1024 : 1);
    expect(mebibytes(limits.memory)).toBeGreaterThanOrEqual(2 * mebibytes(requests.memory));
  });

  it.each(workloads.filter(({ replicas }) => replicas > 1))(
    '$name - replicas are spread, and a drain never evicts all at once',
    ({ name, component, pod }) => {
      const labels = { 'app.kubernetes.io/component': component };
      expect(named(objects, 'PodDisruptionBudget', name).spec).toEqual({
        maxUnavailable: 1,
        selector: { matchLabels: labels },
      });
      expect(pod.topologySpreadConstraints).toEqual([
        expect.objectContaining({
          maxSkew: 1,
          topologyKey: 'kubernetes.io/hostname',
          labelSelector: { matchLabels: labels },
        }),
      ]);
    },
  );

  it.each(workloads)(
    '$name - a pod that fails right after it was ready stops the rollout; no Job runs for ever',
    ({ object }) => {
      if (object.kind !== 'Job') expect(object.spec.minReadySeconds).toBeGreaterThanOrEqual(10);
      else expect(object.spec).toMatchObject({ activeDeadlineSeconds: 1800, ttlSecondsAfterFinished: 600 });
    },
  );

  it('collectors - replaced in batches, so that a rollout stops at a version that does not start', () => {
    const { object } = workloads.find(({ component }) => component === 'collector') as Workload;
    expect(object.spec.updateStrategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } });
  });

  it.each(workloads)(
    '$name - its priority is above evictable workloads, and its image has a fixed version',
    ({ pod, container, object }) => {
      if (object.kind !== 'Job') expect(pod.priorityClassName).toMatch(/^system-(node|cluster)-critical$/);
      // A tag, or a digest that an operator pinned; never `latest`.
      expect(container.image).toMatch(/^[^@\s]+(:[\w.-]+|@sha256:[0-9a-f]{64})$/);
      expect(container.image).not.toMatch(/:latest$/);
    },
  );

  // Values of the chart may choose the lower class too.
  it('the namespace admits the priority classes of the system, and its quota limits nothing else', () => {
    const { hard, scopeSelector } = named(objects, 'ResourceQuota', 'bailiff-critical-pods').spec;
    const [{ scopeName, operator, values }] = scopeSelector.matchExpressions;
    const classes = ['system-cluster-critical', 'system-node-critical'];
    expect([scopeName, operator, [...values].sort()]).toEqual(['PriorityClass', 'In', classes]);
    expect(hard).toEqual({ pods: '1M' });
  });

  // Every pod with a token is in `service-accounts`, whose seats it can use up.
  it('requests to the API server have a level of priority that pods of tenants do not have', () => {
    const { rules, ...spec } = named(objects, 'FlowSchema', 'bailiff').spec;
    const subjects = rules.flatMap((rule: Json) => rule.subjects).map(({ serviceAccount }: Json) => serviceAccount);
    const namespaces = workloads.map(({ object }) => object.metadata.namespace as string);
    expect(subjects).toEqual([...new Set(namespaces)].map((namespace) => ({ namespace, name: '*' })));
    expect(spec).toMatchObject({
      priorityLevelConfiguration: { name: 'workload-high' },
      distinguisherMethod: { type: 'ByUser' },
    });
    // `service-accounts` has 9000; the lowest number decides.
    expect(spec.matchingPrecedence).toBeLessThan(9_000);
    const [{ resourceRules, nonResourceRules }] = rules;
    const every = ['*'];
    expect(resourceRules).toEqual([
      { verbs: every, apiGroups: every, resources: every, clusterScope: true, namespaces: every },
    ]);
    expect(nonResourceRules).toEqual([{ verbs: every, nonResourceURLs: every }]);
  });

  it.each(workloads)('$name - its selector selects its pods and no other component’s', ({ object, component }) => {
    if (object.kind === 'Job') return;
    expect(object.spec.selector.matchLabels).toEqual({ 'app.kubernetes.io/component': component });
    expect(workloads.filter((other) => other.component === component)).toHaveLength(1);
  });
});

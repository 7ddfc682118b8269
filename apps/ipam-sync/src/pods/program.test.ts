import { describe, expect, test } from 'vitest';
import { MAX_PARTS, programOf } from './program.ts';

const main = {
  name: 'main',
  image: 'registry/vpn:1',
  command: ['/vpn'],
  env: [{ name: 'PEER', value: '192.0.2.1' }],
  volumeMounts: [{ name: 'config', mountPath: '/etc/vpn' }],
};
const template = {
  containers: [main],
  volumes: [
    { name: 'config', configMap: { name: 'vpn' } },
    { name: 'unused', emptyDir: {} },
  ],
};
const changed = (change: object) => ({ ...template, containers: [{ ...main, ...change }] });
const token = {
  name: 'kube-api-access-x7',
  mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
  readOnly: true,
};

/** Volume that the admission plugin ServiceAccount adds. */
const tokenVolume = {
  name: 'kube-api-access-x7',
  projected: {
    defaultMode: 420,
    sources: [
      { serviceAccountToken: { expirationSeconds: 3_607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ],
  },
};
const withToken = (volume: object) => ({
  ...changed({ volumeMounts: [...main.volumeMounts, token] }),
  volumes: [...template.volumes, { name: token.name, ...volume }],
});

/** A StatefulSet's pod with its own claim. */
const claimed = (claimName: string) => ({
  containers: [{ name: 'main', image: 'i', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
  volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
});

describe('program - equal for a template and the pods that controller and admission make from it', () => {
  test.each([
    ['the template itself', template],
    [
      'fields in another order',
      { volumes: template.volumes, containers: [Object.fromEntries(Object.entries(main).reverse())] },
    ],
    [
      'the token of the service account, resources, pull policy, security context, node',
      {
        ...changed({
          volumeMounts: [...main.volumeMounts, token],
          resources: { limits: { cpu: '1' } },
          imagePullPolicy: 'Always',
          securityContext: { runAsUser: 1_000 },
        }),
        volumes: [...template.volumes, tokenVolume],
        nodeName: 'n1',
        tolerations: [],
      },
    ],
    [
      'the index of a Job',
      changed({ env: [...main.env, { name: 'JOB_COMPLETION_INDEX', valueFrom: { fieldRef: { fieldPath: 'x' } } }] }),
    ],
  ])('%s', (_, spec) => {
    expect(programOf(spec, 'vpn-1')).toBe(programOf(template, null));
  });
  test('the claim of a StatefulSet for this pod', () => {
    const set = { containers: claimed('').containers };
    expect(programOf(claimed('data-db-0'), 'db-0')).toBe(programOf(set, null));
    expect(programOf(claimed('data-db-1'), 'db-0')).not.toBe(programOf(set, null));
  });
});

describe('program - differs after changes by a tenant', () => {
  test.each([
    ['an image', changed({ image: 'attacker/tool' })],
    ['a command', changed({ command: ['/bin/sh'] })],
    ['arguments', changed({ args: ['-c', 'id'] })],
    ['a variable', changed({ env: [{ name: 'LD_PRELOAD', value: '/x.so' }] })],
    ['the index variable with a value', changed({ env: [...main.env, { name: 'JOB_COMPLETION_INDEX', value: '/x' }] })],
    ['variables from elsewhere', changed({ envFrom: [{ configMapRef: { name: 'x' } }] })],
    ['a hook', changed({ lifecycle: { postStart: { exec: { command: ['/x'] } } } })],
    ['a probe', changed({ livenessProbe: { exec: { command: ['/x'] } } })],
    ['a mount', changed({ volumeMounts: [...main.volumeMounts, { name: 'unused', mountPath: '/usr/bin' }] })],
    [
      'a mount named as that of the token',
      changed({ volumeMounts: [...main.volumeMounts, { ...token, mountPath: '/bin' }] }),
    ],
    ['a ConfigMap in place of the token', withToken({ configMap: { name: 'attacker' } })],
    [
      'a ConfigMap beside the token',
      withToken({ projected: { sources: [...tokenVolume.projected.sources, { configMap: { name: 'attacker' } }] } }),
    ],
    ['names of hosts', { ...template, hostAliases: [{ ip: '192.0.2.9', hostnames: ['peer.example'] }] }],
    ['servers of names', { ...template, dnsPolicy: 'None', dnsConfig: { nameservers: ['192.0.2.9'] } }],
    ['a grace period', { ...template, terminationGracePeriodSeconds: 31_536_000 }],
    ['what is mounted', { ...template, volumes: [{ name: 'config', configMap: { name: 'attacker' } }] }],
    [
      'a claim in place of it',
      { ...template, volumes: [{ name: 'config', persistentVolumeClaim: { claimName: 'config-vpn-1' } }] },
    ],
    ['a container more', { ...template, containers: [main, { name: 'istio-proxy', image: 'attacker/tool' }] }],
    ['an init container', { ...template, initContainers: [{ name: 'init', image: 'attacker/tool' }] }],
    ['no container', { ...template, containers: [] }],
  ])('%s', (_, spec) => {
    expect(programOf(spec, 'vpn-1')).not.toBe(programOf(template, null));
    expect(programOf(spec, 'vpn-1')).not.toBeNull();
  });
  test('a spec with too many parts has no digest', () => {
    const env = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `V${i}`, value: '' }));
    expect(programOf(changed({ env: env(1_000) }), 'vpn-1')).not.toBeNull();
    expect(programOf(changed({ env: env(MAX_PARTS) }), 'vpn-1')).toBeNull();
    expect(programOf({ containers: Array(75_000).fill({ name: 'c' }) }, 'vpn-1')).toBeNull();
  });
});

/**
 * Pods as admission webhooks of real clusters change them, in the form that their documentation shows:
 * each turns the spec of a template into that of the pod.
 */

interface Spec {
  containers: Record<string, unknown>[];
  [field: string]: unknown;
}

const inEach = (spec: Spec, change: (container: Record<string, unknown>) => object): Spec => ({
  ...spec,
  containers: spec.containers.map((container) => ({ ...container, ...change(container) })),
});
const listOf = (value: unknown): object[] => (Array.isArray(value) ? value : []);

const PROXY = {
  name: 'istio-proxy',
  image: 'docker.io/istio/proxyv2:1.24.0',
  args: ['proxy', 'sidecar', '--domain', '$(POD_NAMESPACE).svc.cluster.local', '--log_output_level=default:info'],
  env: [
    { name: 'PILOT_CERT_PROVIDER', value: 'istiod' },
    { name: 'CA_ADDR', value: 'istiod.istio-system.svc:15012' },
    { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
  ],
  readinessProbe: { httpGet: { path: '/healthz/ready', port: 15021 } },
  volumeMounts: [
    { name: 'workload-socket', mountPath: '/var/run/secrets/workload-spiffe-uds' },
    { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
    { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
  ],
};
const MESH_VOLUMES = [
  { name: 'workload-socket', emptyDir: {} },
  { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
  {
    name: 'istio-token',
    projected: {
      sources: [{ serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43_200, path: 'istio-token' } }],
    },
  },
];
const INIT = {
  name: 'istio-init',
  image: PROXY.image,
  args: ['istio-iptables', '-p', '15001', '-z', '15006', '-u', '1337', '-m', 'REDIRECT', '-i', '*', '-b', '*'],
};
const withMesh = (spec: Spec) => ({ ...spec, volumes: [...listOf(spec['volumes']), ...MESH_VOLUMES] });

export const INJECTIONS: Readonly<Record<string, (spec: Spec) => Spec>> = {
  'mesh-sidecar': (spec) => ({
    ...withMesh(spec),
    initContainers: [...listOf(spec['initContainers']), INIT],
    containers: [...spec.containers, PROXY],
  }),
  'mesh-native-sidecar': (spec) => ({
    ...withMesh(spec),
    initContainers: [INIT, { ...PROXY, restartPolicy: 'Always' }, ...listOf(spec['initContainers'])],
    containers: spec.containers,
  }),
  'cloud-identity': (spec) => ({
    ...inEach(spec, ({ env, volumeMounts }) => ({
      env: [
        ...listOf(env),
        { name: 'AWS_ROLE_ARN', value: 'arn:aws:iam::111122223333:role/web' },
        { name: 'AWS_WEB_IDENTITY_TOKEN_FILE', value: '/var/run/secrets/eks.amazonaws.com/serviceaccount/token' },
      ],
      volumeMounts: [
        ...listOf(volumeMounts),
        { name: 'aws-iam-token', mountPath: '/var/run/secrets/eks.amazonaws.com/serviceaccount', readOnly: true },
      ],
    })),
    volumes: [
      ...listOf(spec['volumes']),
      {
        name: 'aws-iam-token',
        projected: {
          sources: [
            { serviceAccountToken: { audience: 'sts.amazonaws.com', expirationSeconds: 86_400, path: 'token' } },
          ],
        },
      },
    ],
  }),
  'image-digests': (spec) =>
    inEach(spec, ({ image }) => ({ image: `${String(image)}@sha256:${'0a1b2c3d'.repeat(8)}` })),
  tracing: (spec) => ({
    ...inEach(spec, ({ env, volumeMounts }) => ({
      env: [
        ...listOf(env),
        { name: 'JAVA_TOOL_OPTIONS', value: ' -javaagent:/otel-auto-instrumentation-java/javaagent.jar' },
        { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'http://otel-collector:4317' },
      ],
      volumeMounts: [...listOf(volumeMounts), { name: 'otel-java', mountPath: '/otel-auto-instrumentation-java' }],
    })),
    initContainers: [
      {
        name: 'opentelemetry-auto-instrumentation-java',
        image: 'ghcr.io/open-telemetry/autoinstrumentation-java:2.9.0',
        command: ['cp', '/javaagent.jar', '/otel-auto-instrumentation-java/javaagent.jar'],
        volumeMounts: [{ name: 'otel-java', mountPath: '/otel-auto-instrumentation-java' }],
      },
    ],
    volumes: [...listOf(spec['volumes']), { name: 'otel-java', emptyDir: { sizeLimit: '200Mi' } }],
  }),
  'dns-settings': (spec) => ({
    ...spec,
    dnsPolicy: 'None',
    dnsConfig: {
      nameservers: ['169.254.20.10'],
      searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      options: [{ name: 'ndots', value: '2' }],
    },
  }),
};

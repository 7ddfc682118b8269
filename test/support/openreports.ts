/** The API of OpenReports in the lab's API server: its definition, and users with and without its rights. */
import type { ApiServer } from '@bailiff/lab/apiserver';

const text = { type: 'string' };
const texts = { type: 'object', additionalProperties: text };
const number = { type: 'integer' };
const object = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: 'object',
  properties,
  ...(required.length > 0 ? { required } : {}),
});
const reference = object(Object.fromEntries(['apiVersion', 'kind', 'namespace', 'name', 'uid'].map((n) => [n, text])));
const result = object(
  {
    policy: text,
    result: { type: 'string', enum: ['pass', 'fail', 'warn', 'error', 'skip'] },
    severity: { type: 'string', enum: ['critical', 'high', 'medium', 'low', 'info'] },
    message: text,
    timestamp: object({ seconds: number, nanos: number }, ['seconds', 'nanos']),
    resources: { type: 'array', items: reference },
    properties: texts,
  },
  ['policy'],
);
/** The fields of the published definition that are used here, so that the server rejects any other. */
const DEFINITION = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'reports.openreports.io' },
  spec: {
    group: 'openreports.io',
    names: { kind: 'Report', plural: 'reports' },
    scope: 'Namespaced',
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: object({
            apiVersion: text,
            kind: text,
            metadata: { type: 'object' },
            source: text,
            scope: reference,
            configuration: object({ limits: object({ maxResults: number }) }, ['limits']),
            summary: object(
              Object.fromEntries(['pass', 'fail', 'warn', 'error', 'skip'].map((name) => [name, number])),
            ),
            results: { type: 'array', items: result },
          }),
        },
      },
    ],
  },
};
/** As in k8s/chart/templates/siem-relay.yaml. */
const RIGHTS = [
  { apiGroups: ['openreports.io'], resources: ['reports'], verbs: ['create', 'delete', 'list', 'patch'] },
];
export const TOKENS = [
  { user: 'admin', token: 'token-admin', groups: ['system:masters'] },
  { user: 'relay', token: 'token-relay', allow: RIGHTS },
  { user: 'without-rights', token: 'token-none', allow: [] },
];

/** Serves reports, with namespaces. */
export function serveReports({ api }: Pick<ApiServer, 'api'>, namespaces: readonly string[]): void {
  api.create('customresourcedefinitions', DEFINITION);
  for (const name of namespaces) api.create('namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
}

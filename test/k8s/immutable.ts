/** Fields that the API server refuses to change, for upgrades. Pure. */
import type { Json } from './rendered.ts';

/** What cannot change in each kind, by its path. */
const IMMUTABLE: Readonly<Record<string, (object: Json) => Json>> = {
  DaemonSet: ({ spec }) => spec.selector,
  Deployment: ({ spec }) => spec.selector,
  StatefulSet: ({ spec }) => ({
    selector: spec.selector,
    serviceName: spec.serviceName,
    podManagementPolicy: spec.podManagementPolicy,
    volumeClaimTemplates: spec.volumeClaimTemplates,
  }),
  Job: ({ spec }) => ({ selector: spec.selector, completions: spec.completions, template: spec.template }),
  Service: ({ spec }) => spec.clusterIP,
  RoleBinding: ({ roleRef }) => roleRef,
  ClusterRoleBinding: ({ roleRef }) => roleRef,
  CustomResourceDefinition: ({ spec }) => ({ group: spec.group, scope: spec.scope, plural: spec.names.plural }),
};

const keyOf = ({ kind, metadata }: Json) => `${kind} ${metadata.name}`;

/** Objects of both renderings that an upgrade cannot change as wanted; hooks are recreated. */
export function refusedChanges(before: readonly Json[], after: readonly Json[]): string[] {
  const isHook = ({ metadata }: Json) => metadata.annotations?.['helm.sh/hook'] !== undefined;
  const known = new Map(before.filter((object) => !isHook(object)).map((object) => [keyOf(object), object]));
  return after
    .filter((object) => {
      const old = known.get(keyOf(object));
      const fieldsOf = IMMUTABLE[object.kind];
      if (old === undefined || fieldsOf === undefined) return false;
      return JSON.stringify(fieldsOf(old)) !== JSON.stringify(fieldsOf(object));
    })
    .map(keyOf);
}

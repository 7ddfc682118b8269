/** The responder's ClusterRole as YAML with a reason above each rule, or as JSON. Pure. */
import type { RbacActions, RbacRule } from '@bailiff/response';
import { Document, isMap, isSeq } from 'yaml';

export const ROLE_NAME = 'bailiff-responder';

/** The API object. */
export function clusterRole(rules: readonly RbacRule[]) {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: ROLE_NAME },
    rules: rules.map(({ apiGroups, resources, verbs }) => ({ apiGroups, resources, verbs })),
  };
}

const actionList = (actions: ReadonlySet<string>) => [...actions].join(', ') || 'none';

/** Header comment: the actions covered. */
export function summary({ acting, dryRun }: RbacActions): string[] {
  return [
    `Actions that are carried out: ${actionList(acting)}.`,
    ...(dryRun.size > 0 ? [`Dry-run only: ${actionList(dryRun)}.`] : []),
  ];
}

export function roleYaml(rules: readonly RbacRule[], actions: RbacActions): string {
  const document = new Document(clusterRole(rules), { aliasDuplicateObjects: false });
  document.commentBefore = summary(actions)
    .map((line) => ` ${line}`)
    .join('\n');
  const list = document.get('rules');
  if (isSeq(list)) {
    list.items.forEach((item, index) => {
      if (!isMap(item)) return;
      item.commentBefore = rules[index]?.why.map((line) => ` ${line}`).join('\n') ?? '';
      for (const { value } of item.items) if (isSeq(value)) value.flow = true;
    });
  }
  return document.toString({ lineWidth: 120, flowCollectionPadding: false });
}

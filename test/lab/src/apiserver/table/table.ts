/**
 * Tables for `kubectl get`, with columns per kind. Pure. Kinds without their own columns have NAME
 * and AGE; custom resources use those of their definition. Column names and order are those of a
 * real server, which scripts rely on.
 */
import { versionOf } from '../kinds/crds.ts';
import type { ResourceDef } from '../kinds/resources.ts';
import { ageOf } from '../times.ts';
import { at, isObject, type JsonObject, type KubeObject, listAt, textAt } from '../types.ts';
import { podCells } from './table-pods.ts';

export interface TableContext {
  nowMs: number;
  /** Definition of a custom resource. */
  crd?: KubeObject;
}

interface Column {
  name: string;
  type: string;
  /** Shown only by -o wide. */
  wide?: boolean;
}

interface TableShape {
  columns: Column[];
  cells(object: KubeObject, nowMs: number): unknown[];
}

const text = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'string' }));
const wide = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'string', wide: true }));
const age = (object: KubeObject, nowMs: number) => ageOf(object.metadata.creationTimestamp, nowMs);
const count = (object: KubeObject, ...path: string[]) => Number(at(object, ...path) ?? 0);

/** A LabelSelector as kubectl prints it. */
export function selectorText(selector: unknown): string {
  const equal = Object.entries((at(selector, 'matchLabels') ?? {}) as object).map(([key, value]) => `${key}=${value}`);
  const operators: { [operator: string]: string } = { In: 'in', NotIn: 'notin' };
  const expressions = listAt(selector, 'matchExpressions').map((expression) => {
    const key = textAt(expression, 'key');
    const operator = textAt(expression, 'operator');
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operators[operator]} (${listAt<string>(expression, 'values').join(',')})`;
  });
  return [...equal, ...expressions].join(',') || '<none>';
}

function nodeCells(node: KubeObject, nowMs: number): unknown[] {
  const ready = listAt(node, 'status', 'conditions').find((condition) => condition['type'] === 'Ready');
  const state = ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady';
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith(prefix))
    .map((label) => label.slice(prefix.length));
  const address = (type: string) =>
    textAt(
      listAt(node, 'status', 'addresses').find((entry) => entry['type'] === type),
      'address',
    ) || '<none>';
  const info = (field: string) => textAt(node, 'status', 'nodeInfo', field) || '<unknown>';
  return [
    node.metadata.name,
    node.spec?.['unschedulable'] === true ? `${state},SchedulingDisabled` : state,
    roles.sort().join(',') || '<none>',
    age(node, nowMs),
    textAt(node, 'status', 'nodeInfo', 'kubeletVersion'),
    address('InternalIP'),
    address('ExternalIP'),
    info('osImage'),
    info('kernelVersion'),
    info('containerRuntimeVersion'),
  ];
}

function eventCells(event: KubeObject, nowMs: number): unknown[] {
  const first = event['firstTimestamp'] ?? event['eventTime'];
  const last = at(event, 'series', 'lastObservedTime') ?? event['lastTimestamp'] ?? first;
  const involved = event['involvedObject'];
  const source = [
    textAt(event, 'source', 'component') || textAt(event, 'reportingComponent'),
    textAt(event, 'source', 'host'),
  ];
  return [
    ageOf(last, nowMs),
    textAt(event, 'type'),
    textAt(event, 'reason'),
    `${textAt(involved, 'kind').toLowerCase()}/${textAt(involved, 'name')}`,
    textAt(event, 'message').trim(),
    textAt(involved, 'fieldPath'),
    source.filter((part) => part !== '').join(', '),
    ageOf(first, nowMs),
    Number(at(event, 'series', 'count') ?? event['count'] ?? 1),
    event.metadata.name,
  ];
}

const workloadWide = wide('Containers', 'Images', 'Selector');

/** Names and images of a workload's containers, and its selector. */
function templateCells(object: KubeObject): string[] {
  const containers = listAt(object, 'spec', 'template', 'spec', 'containers');
  const each = (field: string) => containers.map((container) => textAt(container, field)).join(',');
  return [each('name'), each('image'), selectorText(at(object, 'spec', 'selector'))];
}

const amount = (value: unknown) => (value === undefined || value === null ? 'N/A' : String(value));

const shapes: { [storage: string]: TableShape } = {
  pods: {
    columns: [
      ...text('Name', 'Ready', 'Status', 'Restarts', 'Age'),
      ...wide('IP', 'Node', 'Nominated Node', 'Readiness Gates'),
    ],
    cells: podCells,
  },
  nodes: {
    columns: [
      ...text('Name', 'Status', 'Roles', 'Age', 'Version'),
      ...wide('Internal-IP', 'External-IP', 'OS-Image', 'Kernel-Version', 'Container-Runtime'),
    ],
    cells: nodeCells,
  },
  namespaces: {
    columns: text('Name', 'Status', 'Age'),
    cells: (object, nowMs) => [object.metadata.name, textAt(object, 'status', 'phase'), age(object, nowMs)],
  },
  events: {
    columns: [
      ...text('Last Seen', 'Type', 'Reason', 'Object', 'Message'),
      ...wide('Subobject', 'Source', 'First Seen', 'Count', 'Name'),
    ],
    cells: eventCells,
  },
  configmaps: {
    columns: text('Name', 'Data', 'Age'),
    cells: (object, nowMs) => [
      object.metadata.name,
      Object.keys((object['data'] ?? {}) as object).length,
      age(object, nowMs),
    ],
  },
  serviceaccounts: {
    columns: text('Name', 'Secrets', 'Age'),
    cells: (object, nowMs) => [object.metadata.name, listAt(object, 'secrets').length, age(object, nowMs)],
  },
  'leases.coordination.k8s.io': {
    columns: text('Name', 'Holder', 'Age'),
    cells: (object, nowMs) => [object.metadata.name, textAt(object, 'spec', 'holderIdentity'), age(object, nowMs)],
  },
  'networkpolicies.networking.k8s.io': {
    columns: text('Name', 'Pod-Selector', 'Age'),
    cells: (object, nowMs) => [
      object.metadata.name,
      selectorText(at(object, 'spec', 'podSelector')),
      age(object, nowMs),
    ],
  },
  'poddisruptionbudgets.policy': {
    columns: text('Name', 'Min Available', 'Max Unavailable', 'Allowed Disruptions', 'Age'),
    cells: (object, nowMs) => [
      object.metadata.name,
      amount(object.spec?.['minAvailable']),
      amount(object.spec?.['maxUnavailable']),
      count(object, 'status', 'disruptionsAllowed'),
      age(object, nowMs),
    ],
  },
  'replicasets.apps': {
    columns: [...text('Name', 'Desired', 'Current', 'Ready', 'Age'), ...workloadWide],
    cells: (object, nowMs) => [
      object.metadata.name,
      count(object, 'spec', 'replicas'),
      count(object, 'status', 'replicas'),
      count(object, 'status', 'readyReplicas'),
      age(object, nowMs),
      ...templateCells(object),
    ],
  },
  'deployments.apps': {
    columns: [...text('Name', 'Ready', 'Up-to-date', 'Available', 'Age'), ...workloadWide],
    cells: (object, nowMs) => [
      object.metadata.name,
      `${count(object, 'status', 'readyReplicas')}/${count(object, 'spec', 'replicas')}`,
      count(object, 'status', 'updatedReplicas'),
      count(object, 'status', 'availableReplicas'),
      age(object, nowMs),
      ...templateCells(object),
    ],
  },
  'statefulsets.apps': {
    columns: [...text('Name', 'Ready', 'Age'), ...wide('Containers', 'Images')],
    cells: (object, nowMs) => [
      object.metadata.name,
      `${count(object, 'status', 'readyReplicas')}/${count(object, 'spec', 'replicas')}`,
      age(object, nowMs),
      ...templateCells(object).slice(0, 2),
    ],
  },
  'daemonsets.apps': {
    columns: [
      ...text('Name', 'Desired', 'Current', 'Ready', 'Up-to-date', 'Available', 'Node Selector', 'Age'),
      ...workloadWide,
    ],
    cells: (object, nowMs) => [
      object.metadata.name,
      count(object, 'status', 'desiredNumberScheduled'),
      count(object, 'status', 'currentNumberScheduled'),
      count(object, 'status', 'numberReady'),
      count(object, 'status', 'updatedNumberScheduled'),
      count(object, 'status', 'numberAvailable'),
      selectorText({ matchLabels: at(object, 'spec', 'template', 'spec', 'nodeSelector') }),
      age(object, nowMs),
      ...templateCells(object),
    ],
  },
  'customresourcedefinitions.apiextensions.k8s.io': {
    columns: text('Name', 'Created At'),
    cells: (object) => [object.metadata.name, object.metadata.creationTimestamp],
  },
};

const plainShape: TableShape = {
  columns: text('Name', 'Age'),
  cells: (object, nowMs) => [object.metadata.name, age(object, nowMs)],
};

/** One step of a path: a field, an index, all items of a list, or items filtered by a field. */
const jsonPathStep = /\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\[(\*)\]|\[\?\(@\.([A-Za-z0-9_-]+)==["']([^"']*)["']\)\]/g;

/** Value of a column: the first value of its path. */
function columnValue(object: KubeObject, path: string): unknown {
  let found: unknown[] = [object];
  for (const [, member, index, all, filter, wanted] of path.matchAll(jsonPathStep)) {
    found = found.flatMap((value): unknown[] => {
      const list = Array.isArray(value) ? value : [];
      if (all !== undefined) return list;
      if (filter !== undefined) return list.filter((item) => at(item, filter) === wanted);
      return [at(value, member ?? (index as string))];
    });
  }
  return found.find((value) => value !== undefined);
}

/** Columns of a custom resource's definition. */
function customShape(def: ResourceDef, crd: KubeObject): TableShape {
  const extra = listAt(versionOf(crd, def.version), 'additionalPrinterColumns');
  if (extra.length === 0) return plainShape;
  const columns = extra.map((column) => ({
    name: textAt(column, 'name'),
    type: textAt(column, 'type'),
    wide: Number(column['priority'] ?? 0) > 0,
  }));
  return {
    columns: [...text('Name'), ...columns],
    cells: (object, nowMs) => [
      object.metadata.name,
      ...extra.map((column) => {
        const value = columnValue(object, textAt(column, 'jsonPath'));
        if (column['type'] === 'date') return ageOf(value, nowMs);
        return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : (value ?? '');
      }),
    ],
  };
}

function shapeOf(def: ResourceDef, context: TableContext): TableShape {
  if (context.crd !== undefined) return customShape(def, context.crd);
  return Object.hasOwn(shapes, def.storage) ? shapes[def.storage]! : plainShape;
}

export type IncludeObject = 'None' | 'Metadata' | 'Object';

/**
 * Stored objects as a Table. `headers` false omits the column definitions, as in later watch
 * events.
 */
export function toTable(
  def: ResourceDef,
  objects: KubeObject[],
  metadata: JsonObject,
  context: TableContext,
  include: IncludeObject = 'Metadata',
  headers = true,
): JsonObject {
  const shape = shapeOf(def, context);
  const columnDefinitions = shape.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.name === 'Name' ? 'name' : '',
    description: '',
    priority: column.wide ? 1 : 0,
  }));
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: headers ? columnDefinitions : null,
    rows: objects.map((object) => ({
      cells: shape.cells(object, context.nowMs),
      ...(include === 'None' ? {} : { object: include === 'Object' ? object : partialMetadata(object) }),
    })),
  };
}

/** The object reduced to its metadata. */
export function partialMetadata(object: KubeObject): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

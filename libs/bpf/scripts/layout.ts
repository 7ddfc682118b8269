/**
 * Struct layouts and enum values, read from an object's BTF and written as TypeScript constants.
 *
 * Place in the data path: spoof.bpf.o, runtime.bpf.o → (bpftool btf dump -j) → layoutSource() →
 * src/{spoof,runtime}/layout.gen.ts → encode, decode. A LayoutPlan names the types; each must
 * exist. A hole between two members is an error, because the kernel would hash or copy
 * uninitialised bytes.
 */
import { execFileSync } from 'node:child_process';

export interface LayoutPlan {
  readonly object: string;
  readonly structs: readonly string[];
  readonly enums: readonly string[];
}

export const SPOOF_LAYOUT: LayoutPlan = {
  object: 'spoof.bpf.o',
  structs: [
    ...[
      'iface',
      'fastpath_entry',
      'address_key',
      'counter_key',
      'counter_cell',
      'counters',
      'token_bucket',
      'settings',
      'tunnel_ports',
    ],
    ...['meta', 'cidr_key', 'service_key', 'probe_key', 'spoof_sample'],
  ],
  enums: [
    ...['abi', 'vector', 'mode', 'action', 'iface_state', 'iface_flag', 'address_flag'],
    ...['network', 'service_flag', 'fastpath_shape', 'loss', 'sample_flag'],
  ],
};

export const RUNTIME_LAYOUT: LayoutPlan = {
  object: 'runtime.bpf.o',
  structs: [
    ...[
      'pod_uid',
      'subject',
      'task_state',
      'path_masks',
      'set_head',
      'path_key',
      'path_rule',
      'path_rules',
      'rt_address_key',
    ],
    ...['address_rule', 'address_rules', 'value_key', 'value_rule', 'value_rules', 'source_key', 'rt_settings'],
    ...['rt_birth', 'rt_totals', 'rt_cache_control', 'socket_maker', 'runtime_sample'],
  ],
  enums: [
    ...[
      'runtime_abi',
      'op',
      'mount_value',
      'kernel_value',
      'drift_value',
      'rule_action',
      'posture_class',
      'path_match',
    ],
    ...[
      'path_kind',
      'path_class',
      'subject_flag',
      'counter_extra',
      'task_flag',
      'source_flag',
      'cache_epoch',
      'rt_loss',
      'rt_sample_flag',
    ],
  ],
};

/** Default size of each map of an object, by its name. */
export function mapSizes(btf: Map<number, BtfType>): Map<string, number> {
  const maps = find(btf, 'DATASEC', '.maps').vars!.map(({ type_id }) => btf.get(type_id)!);
  return new Map(
    maps.map(({ name, type_id }) => {
      const entries = btf.get(type_id!)!.members!.find((member) => member.name === 'max_entries');
      // A number in the type of a map is the length of an array that a pointer refers to.
      return [name, btf.get(btf.get(entries!.type_id)!.type_id!)!.nr_elems!];
    }),
  );
}

interface BtfMember {
  name: string;
  type_id: number;
  bits_offset: number;
}
interface BtfType {
  id: number;
  kind: string;
  name: string;
  size?: number;
  type_id?: number;
  nr_elems?: number;
  members?: BtfMember[];
  values?: { name: string; val: number }[];
  vars?: { type_id: number }[];
}

/** The object's types by id, as bpftool prints them. */
export function readBtf(objectPath: string): Map<number, BtfType> {
  const text = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', objectPath], { encoding: 'utf8' });
  const types = (JSON.parse(text) as { types: BtfType[] }).types;
  return new Map(types.map((type) => [type.id, type]));
}

function sizeOf(btf: Map<number, BtfType>, id: number): number {
  const type = btf.get(id);
  if (type === undefined) throw new Error(`BTF type ${id} is missing`);
  if (type.kind === 'ARRAY') return type.nr_elems! * sizeOf(btf, type.type_id!);
  if (type.kind === 'TYPEDEF' || type.kind === 'CONST' || type.kind === 'VOLATILE') return sizeOf(btf, type.type_id!);
  if (type.size === undefined) throw new Error(`BTF type ${type.kind} ${type.name} has no size`);
  return type.size;
}

function find(btf: Map<number, BtfType>, kind: string, name: string): BtfType {
  for (const type of btf.values()) if (type.kind === kind && type.name === name) return type;
  throw new Error(`the object's BTF has no ${kind} ${name}: is it unused?`);
}

const camel = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
const pascal = (name: string): string => camel(`_${name}`);

function structSource(btf: Map<number, BtfType>, name: string): string {
  const struct = find(btf, 'STRUCT', name);
  let end = 0;
  const lines = struct.members!.map((member) => {
    const offset = member.bits_offset / 8;
    if (offset !== end) throw new Error(`struct ${name} has a hole before ${member.name} (${end}..${offset})`);
    const size = sizeOf(btf, member.type_id);
    end = offset + size;
    return `  ${camel(member.name)}: { offset: ${offset}, size: ${size} },`;
  });
  if (end !== struct.size) throw new Error(`struct ${name} has ${struct.size! - end} bytes of padding at its end`);
  return `export const ${pascal(name)}Layout = {\n  size: ${struct.size},\n${lines.join('\n')}\n} as const;\n`;
}

function enumSource(btf: Map<number, BtfType>, name: string): string {
  const lines = find(btf, 'ENUM', name).values!.map((value) => `  ${value.name}: ${value.val},`);
  return `export const ${pascal(name)}Values = {\n${lines.join('\n')}\n} as const;\n`;
}

/** The whole text of the plan's file. */
export function layoutSource(btf: Map<number, BtfType>, plan: LayoutPlan): string {
  return [
    `// Generated from the BTF of ${plan.object} by libs/bpf/scripts/build-bpf.ts --layout. Do not edit.\n`,
    ...plan.enums.map((name) => enumSource(btf, name)),
    ...plan.structs.map((name) => structSource(btf, name)),
  ].join('\n');
}

/**
 * Generated workloads of programs/stress.c and generated policies, for tests that compare them with
 * the model. The same seed gives the same ones.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimeMaps } from '@bailiff/bpf';
import { CAPABILITIES, type RuntimePolicyInput } from '@bailiff/policy';
import { KERNEL_VALUES, type Operation, type PolicySet, socketValue } from '@bailiff/runtime';
import { onAddress, onPath, onValue, setOf } from '../../../libs/runtime/src/testing.ts';
import { compileProgram } from '../../vm/compile.ts';
import type { Container, Pod, Rig, Running } from './rig.ts';

const TASKS = 4;
const OPERATIONS = 60;
/** Attempts of a plan. */
export const OF_PLAN = TASKS * OPERATIONS;
/** More than an operation takes under emulation on a busy machine. */
export const OPERATION_MS = 5;
/** Of one plan: a longer run has more plans and policies instead. */
const MAX_REPEATS = 100;

export interface Length {
  readonly rounds: number;
  /** Of the plan of one round. */
  readonly repeats: number;
}

/** At least so many operations, in at least so many rounds. */
export function lengthOf(operations: number, leastRounds: number): Length {
  const rounds = Math.max(leastRounds, Math.ceil(operations / (MAX_REPEATS * OF_PLAN)));
  return { rounds, repeats: Math.ceil(operations / (rounds * OF_PLAN)) };
}

/** Rules of a generated set. */
const MAX_RULES = 40;
export const NOT_ENDED = '-';

type Rules = NonNullable<RuntimePolicyInput['rules']>;
type Rule = Rules[number];

/** Numbers below 2^32 from a seed. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  some<T>(list: readonly T[]): T[] {
    const found = list.filter(() => this.chance(40));
    return found.length > 0 ? found : [this.pick(list)];
  }
}

const LIBRARIES = ['/data/a/lib.so', '/data/b/lib.so', '/data/b/deep/x.key'];
const IMAGE = [...LIBRARIES, '/data/a/x.key', '/data/b/x.txt'];
const SHM = ['/dev/shm/a/f.key', '/dev/shm/a/f.txt', '/dev/shm/b/f.key', '/dev/shm/b/deep/f.txt'];
const FOLDERS = [
  '/data',
  '/data/a',
  '/data/b',
  '/data/b/deep',
  '/dev/shm',
  '/dev/shm/a',
  '/dev/shm/b',
  '/dev/shm/b/deep',
];
const HOSTS = ['127.9.0.1', '127.9.0.2', '127.9.1.1', '127.8.0.1'];
const CIDRS = ['127.9.0.0/16', '127.9.0.0/24', '127.9.0.1/32', '127.8.0.0/15', '0.0.0.0/0'];
const PORTS = [53, 100, 8080];
const FAMILIES = { unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17 } as const;
const TYPES = { stream: 1, dgram: 2, raw: 3 } as const;
const SOCKETS: readonly (readonly [keyof typeof FAMILIES, keyof typeof TYPES, number])[] = [
  ...(['inet', 'inet6'] as const).flatMap((family) => [
    ...([
      [family, 'stream', 0],
      [family, 'stream', 6],
      [family, 'dgram', 17],
    ] as const),
  ]),
  ['unix', 'stream', 0],
  ['netlink', 'raw', 0],
  ['packet', 'raw', 0],
  ['inet', 'raw', 1],
];
const NAMES = ['stress-a', 'stress-b'];

/**
 * An attempt: words of stress.c, and the checks that the kernel makes in order until one refuses.
 * Before them, the kernel may make `wonders`: checks until one allows, whose result does not
 * matter.
 */
export interface Attempt {
  readonly words: string;
  readonly asks: readonly Operation[];
  readonly wonders?: readonly Operation[];
}

const capability = (name: string): Operation => onValue('capability', CAPABILITIES.indexOf(name as never));
/** Some kernels check these at each bpf(2), before the command is known; Linux 6.1 does. */
const OF_BPF = [capability('bpf'), capability('sys_admin')];
const protocolUdp = 17;

/** Random words; `folder` is a name that no other list has. */
function attempt(random: Random, folder: string, wondersOfBpf: readonly Operation[]): Attempt {
  const file = random.pick([...IMAGE, ...SHM]);
  const [host, port, name] = [random.pick(HOSTS), random.pick(PORTS), random.pick(NAMES)];
  const library = random.below(LIBRARIES.length);
  const [familyName, typeName, protocol] = random.pick(SOCKETS);
  const [family, type] = [FAMILIES[familyName], TYPES[typeName]];
  const own = random.pick(SHM);
  const fresh = `${random.pick(['/dev/shm/a', '/dev/shm/b'])}/${folder}${random.pick(['', '.key'])}`;
  const raw = typeName === 'raw' && familyName !== 'netlink' ? [capability('net_raw')] : [];
  return random.pick<Attempt>([
    { words: `read ${file}`, asks: [onPath('read', file)] },
    { words: `write ${own}`, asks: [onPath('write', own)] },
    { words: `chmod ${own}`, asks: [onPath('chmod', own)] },
    { words: `dir ${fresh}`, asks: [onPath('mkdir', fresh), onPath('rmdir', fresh)] },
    { words: `map ${library}`, asks: [onPath('map-execute', LIBRARIES[library]!)] },
    {
      words: `socket ${family} ${type} ${protocol}`,
      asks: [onValue('socket', socketValue(family, type, protocol)), ...raw],
    },
    { words: `connect ${host} ${port}`, asks: [onAddress('connect', host, port, protocolUdp)] },
    { words: `send ${host} ${port}`, asks: [onAddress('send', host, port, protocolUdp)] },
    { words: `name ${name}`, asks: [{ kind: 'abstract', op: 'unix-send', name }] },
    { words: 'hostname', asks: [capability('sys_admin')] },
    { words: 'boot', asks: [capability('sys_boot')] },
    { words: 'account', asks: [capability('sys_pacct')] },
    { words: 'bpf', wonders: wondersOfBpf, asks: [onValue('kernel', KERNEL_VALUES.indexOf('bpf'))] },
  ]);
}

const OF_FILES = ['read', 'write', 'chmod', 'mkdir', 'rmdir'] as const;

function match(random: Random): Omit<Rule, 'name' | 'action'> {
  const where = random.pick([
    { paths: random.some([...IMAGE, ...SHM]) },
    { directories: random.some(FOLDERS), recursive: random.chance(60) },
    { suffixes: random.some(['.key', 'lib.so', 'f.txt']) },
  ]);
  const [family, type, protocol] = random.pick(SOCKETS);
  return random.pick<Omit<Rule, 'name' | 'action'>>([
    { file: { ...where, operations: random.some(OF_FILES) } },
    { file: { ...where, operations: random.some(OF_FILES) } },
    { execute: { ...where, operations: ['map'] } },
    {
      network: {
        ...(random.chance(80) ? { cidrs: random.some(CIDRS) } : {}),
        ...(random.chance(50) ? { ports: random.some([53, '90-110', 8080]) } : {}),
        ...(random.chance(30) ? { protocols: [random.pick(['tcp', 'udp'] as const)] } : {}),
        operations: random.some(['connect', 'send'] as const),
      },
    },
    {
      socket: {
        families: [family],
        ...(random.chance(50) ? { types: [type] } : {}),
        ...(random.chance(30) ? { protocols: [protocol] } : {}),
      },
    },
    { unix: { abstract: random.some(NAMES), operations: ['send'] } },
    { capabilities: random.some(['sys_admin', 'sys_boot', 'sys_pacct', 'net_raw'] as const) },
    { kernel: { operations: ['bpf'] } },
  ]);
}

const CLASS_OF = {
  file: 'file',
  unix: 'file',
  execute: 'execute',
  network: 'network',
  socket: 'network',
  capabilities: 'capability',
  kernel: 'kernel',
} as const;

function policy(random: Random): RuntimePolicyInput {
  const posture = () => random.pick(['allow', 'allow', 'audit', 'block'] as const);
  const defaultPosture = {
    file: posture(),
    execute: posture(),
    network: posture(),
    capability: posture(),
    kernel: posture(),
  };
  const rule = (_: unknown, index: number): Rule => {
    const found = match(random);
    const kind = Object.keys(CLASS_OF).find((name) => name in found) as keyof typeof CLASS_OF;
    const denial = random.chance(3) ? 'kill' : random.pick(['audit', 'block', 'block'] as const);
    // The schema rejects an allow rule whose posture allows already.
    const allows = defaultPosture[CLASS_OF[kind]] !== 'allow' && random.chance(60);
    const source = { path: random.pick(['/bin/stress', '/bin/acts', '/bin/none']), children: random.chance(50) };
    return {
      name: `r${index}`,
      action: allows ? 'allow' : denial,
      ...found,
      ...(random.chance(25) ? { fromSource: [source] } : {}),
    };
  };
  return {
    mode: random.chance(80) ? 'enforce' : 'audit',
    defaultPosture,
    rules: Array.from({ length: 2 + random.below(8) }, rule),
  };
}

/**
 * The schema rejects contradictory policies, and the compiler rejects objects with too many rules:
 * others are drawn.
 */
export function drawSet(
  random: Random,
  change: (input: RuntimePolicyInput) => RuntimePolicyInput = (input) => input,
): PolicySet {
  for (;;) {
    try {
      const set = setOf(...Array.from({ length: 1 + random.below(3) }, () => change(policy(random))));
      if (set.rules.length <= MAX_RULES) return set;
    } catch (error) {
      const refused = (error as Error).name === 'ZodError' || (error as { code?: string }).code?.startsWith('POLICY_');
      if (refused !== true) throw error;
    }
  }
}

/** A pod with one process, which runs lists of attempts in several tasks at once. */
export class Workload {
  readonly pod: Pod;
  readonly #maps: RuntimeMaps;
  readonly #running: Running;
  #wonders: readonly Operation[] = [];
  /** Number of the set that was in force last. */
  #former = 0;

  private constructor(rig: Rig, pod: Pod, running: Running) {
    this.pod = pod;
    this.#maps = rig.object.maps;
    this.#running = running;
  }

  static async start(rig: Rig): Promise<Workload> {
    const pod = rig.pod();
    const container: Container = pod.container();
    const program = path.join(import.meta.dirname, '../programs/stress.c');
    container.install(compileProgram(program, { flags: ['-static'] }), '/bin/stress');
    for (const name of IMAGE) {
      mkdirSync(path.dirname(container.image(name)), { recursive: true });
      writeFileSync(container.image(name), 'x'.repeat(4096));
    }
    const running = container.start(['/bin/acts', 'become', '/bin/stress']);
    await running.line('ready');
    const workload = new Workload(rig, pod, running);
    workload.put(setOf({ defaultPosture: { capability: 'audit' } }));
    await workload.carryOut([[{ words: 'bpf', asks: [] }]], 1);
    if (Object.keys(pod.counts()).length > 0) workload.#wonders = OF_BPF;
    return workload;
  }

  /** Puts a set in force while no task runs, and removes the one before: a long run has more than the maps hold. */
  put(set: PolicySet): PolicySet {
    this.pod.put(set);
    const keys = this.#maps.setKeys().get(this.#former);
    if (keys) this.#maps.deleteSet(keys);
    this.#former = this.pod.subject().set;
    return set;
  }

  /** Results without a policy. */
  async carryOutFree(plan: readonly (readonly Attempt[])[]): Promise<string[][]> {
    this.#maps.pods.delete(this.pod.uid);
    return this.carryOut(plan, 1);
  }

  /** A list for each task. */
  plan(random: Random, seed: number): Attempt[][] {
    return Array.from({ length: TASKS }, (_, task) =>
      Array.from({ length: OPERATIONS }, () => attempt(random, `${seed}-${task}`, this.#wonders)),
    );
  }

  /** Results by task. */
  async carryOut(plan: readonly (readonly Attempt[])[], repeats: number): Promise<string[][]> {
    const running = this.#running;
    const from = running.lines.length;
    const lines = plan.flatMap((list, task) => list.map(({ words }) => `${task} ${words}`));
    running.child.stdin!.write(`${[...lines, `go ${repeats}`].join('\n')}\n`);
    await running.until((all) => all.slice(from).includes('done'));
    return plan.map((_, task) => {
      const line = running.lines.slice(from).find((text) => text.startsWith(`${task}:`));
      return line!.split(' ').slice(1);
    });
  }
}

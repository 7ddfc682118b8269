/**
 * Tasks that must run in a network namespace, because ifindexes are per namespace. `inNetns` starts this
 * file there as a process with a task in its arguments; it prints one JSON line.
 */
import { execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  BpfObject,
  BpfProgram,
  detachAll,
  dumpLinks,
  openSpoofObject,
  spoofObjectPath,
  vectorModes,
} from '@bailiff/bpf';
import { ensureProgram, POD_ENDS } from '../../cni/build.ts';
import { udpFrame } from '../support/udp-frame.ts';

export const POD = { mac: '0a:58:0a:f4:00:01', ipv4: '10.244.0.2', ipv6: 'fd00:10:244::2' };
/** Another address of the pod. */
const FURTHER_ADDRESS = '10.244.0.3';
/** Rounds of a millisecond: on a busy machine some of them are undisturbed. */
const REPEAT = 20_000;
const ROUNDS = 300;
/** Offset of `ifindex` in struct __sk_buff (include/uapi/linux/bpf.h). */
const CONTEXT_IFINDEX = 40;
const CONTEXT_BYTES = 192;

export function buildEmpty(dir: string): string {
  const out = `${dir}/empty.bpf.o`;
  const source = fileURLToPath(new URL('./empty.bpf.c', import.meta.url));
  const include = `/usr/include/${execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim()}-linux-gnu`;
  execFileSync('clang-19', ['-O2', '-g', '-target', 'bpf', `-I${include}`, '-c', source, '-o', out]);
  return out;
}

const modes = vectorModes(() => 'enforce');

function openGuarded(pinDir: string, ifindex: number) {
  const object = openSpoofObject({ pinDir, mode: 'tcx' });
  // The built-in settings: without them no token is counted, and drops seem cheaper than they are.
  object.maps.setSettings({ sampleBurst: 8, samplesPerSecond: 10, unknownMode: 'audit' });
  const key = { ifindex, generation: object.maps.meta.allocateGeneration() };
  object.maps.counters.create(key);
  object.maps.addresses.replace(key, [{ cidr: FURTHER_ADDRESS, neighbour: true }]);
  const setRecord = (hasMore: boolean) =>
    object.maps.ifaces.set(ifindex, {
      generation: key.generation,
      slot: 0,
      state: 'programmed',
      mac: POD.mac,
      ipv4: POD.ipv4,
      ipv6: POD.ipv6,
      hasMore,
      modes,
      quarantineUntilNs: 0n,
      auditUntilNs: 0n,
      sampling: null,
    });
  setRecord(false);
  return { object, key, setRecord };
}

/** The program of a netkit pair's host side, over the maps of the guard. Kernels without netkit do not load it. */
function loadRedirected(pinDir: string): BpfProgram {
  const object = BpfObject.open(spoofObjectPath());
  object.setMapAutocreate('.bss', false);
  for (const { name } of object.maps())
    if (!name.endsWith('.bss')) object.reuseMap(name, path.join(pinDir, 'maps', name));
  for (const { name } of object.programs()) object.setProgramAutoload(name, name === 'spoof_redirected');
  object.load();
  return object.program('spoof_redirected');
}

/** Nanoseconds per packet of each program and frame, by test run, in alternating rounds. */
function testRuns(dir: string): Record<string, number[]> {
  const lo = dumpLinks().find((l) => l.name === 'lo')?.ifindex ?? 1;
  const { object, setRecord } = openGuarded(`${dir}/bpf/bailiff`, lo);
  using emptyObject = BpfObject.open(buildEmpty(dir));
  emptyObject.load();
  const empty = emptyObject.program('empty');
  const spoof = BpfProgram.openPinned(`${object.pinDir}/programs/spoof_ingress`);
  const context = Buffer.alloc(CONTEXT_BYTES);
  context.writeUInt32LE(lo, CONTEXT_IFINDEX);
  const v4 = udpFrame({ sourceMac: POD.mac, source: POD.ipv4, destination: '10.244.0.9' });
  const v6 = udpFrame({ sourceMac: POD.mac, source: POD.ipv6, destination: 'fd00:10:244::9' });
  const further = udpFrame({ sourceMac: POD.mac, source: FURTHER_ADDRESS, destination: '10.244.0.9' });
  const bad = udpFrame({ sourceMac: POD.mac, source: '10.9.9.9', destination: '10.244.0.9' });
  const cases: [string, BpfProgram, Buffer][] = [
    ['empty', empty, v4],
    ['pass IPv4', spoof, v4],
    ['pass IPv6', spoof, v6],
    ['pass a further IPv4', spoof, further],
    ['drop IPv4', spoof, bad],
    ['pass, third program of netkit', loadRedirected(object.pinDir), v4],
  ];
  const result: Record<string, number[]> = Object.fromEntries(cases.map(([name]) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, program, data] of cases) {
      setRecord(data === further);
      result[name]?.push(program.testRun({ data, context, repeat: REPEAT }).durationNs);
    }
  }
  return result;
}

/** Attaches the empty program or Bailiff to an interface, and detaches it when stdin ends. */
function attach(dir: string, what: string, interfaceName: string): void {
  const ifindex = dumpLinks().find((l) => l.name === interfaceName)?.ifindex;
  if (ifindex === undefined) throw new Error(`no interface ${interfaceName}`);
  let detach = () => {};
  if (what === 'empty') {
    const object = BpfObject.open(buildEmpty(dir));
    object.load();
    object.program('empty').attachTcx(ifindex, { direction: 'ingress' });
  } else {
    const { object, key } = openGuarded(`${dir}/bpf/bailiff`, ifindex);
    object.attach(key);
    execFileSync(ensureProgram(POD_ENDS), ['--pins', object.pinDir, '--once'], { stdio: 'inherit' });
    detach = () => {
      object.close();
      detachAll(object.pinDir);
    };
  }
  process.stdout.write('{"attached":true}\n');
  process.stdin
    .on('end', () => {
      detach();
      process.exit(0);
    })
    .resume();
}

/** Starts this file in a namespace. */
export function inNetns(netnsPath: string, args: readonly string[]) {
  return spawn(
    'nsenter',
    [`--net=${netnsPath}`, process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url), ...args],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [task, dir, what, interfaceName] = process.argv.slice(2) as [string, string, string, string];
  if (task === 'test-runs') process.stdout.write(`${JSON.stringify(testRuns(dir))}\n`);
  else if (task === 'attach') attach(dir, what, interfaceName);
  else throw new Error(`no task ${task}`);
}

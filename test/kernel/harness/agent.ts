/**
 * Runs in the node's network namespace and executes requests over IPC. A process cannot enter
 * another namespace by itself, and interfaces are attached from within. guard.ts starts it; it
 * handles one request at a time.
 */
import { createSocket, type Socket } from 'node:dgram';
import path from 'node:path';
import * as bpf from '@bailiff/bpf';

interface Request {
  readonly id: number;
  /** `object.maps.ifaces.set`, `bpf.detachAll`, … */
  readonly target: string;
  readonly args: readonly unknown[];
}

const state: {
  object: bpf.SpoofObject | null;
  foreign: { map: bpf.BpfMap; detach(): void }[];
  received: bpf.SpoofSample[];
  reader: bpf.SampleReader | null;
  watch: bpf.PlaceWatch;
  udp: Socket | null;
  datagrams: string[];
} = {
  object: null,
  foreign: [],
  received: [],
  reader: null,
  watch: new bpf.PlaceWatch('tcx'),
  udp: null,
  datagrams: [],
};

/** Functions that the tests need beyond the plain API. */
const own = {
  open: (options: bpf.OpenSpoofOptions) => {
    state.object = bpf.openSpoofObject(options);
    const { mode, reused, updatedLinks, offload, podEnd } = state.object;
    return { mode, reused, updatedLinks, offload, podEnd };
  },
  close: () => {
    state.object?.close();
    state.object = null;
  },
  reset: () => {
    own.close();
    own.detachForeign();
    for (const { map } of state.foreign.splice(0)) map.close();
  },
  /** Takes all records from the ring. */
  drain: () => {
    const samples: bpf.SpoofSample[] = [];
    const reader = state.object!.openSamples((batch) => {
      if (batch.errors.length > 0) throw batch.errors[0];
      samples.push(...batch.samples);
    });
    reader.drain();
    reader.close();
    return samples;
  },
  /**
   * The first step of a reattach: a copy of the program at the head, pinned beside the old link.
   */
  beginMove: (programPin: string, linkPin: string, ifindex: number) => {
    using object = bpf.BpfObject.open(bpf.spoofObjectPath(), 'spoof');
    object.setMapAutocreate('.bss', false);
    for (const { name } of object.maps()) {
      if (name.endsWith('.bss')) continue;
      const pin = path.join(path.dirname(programPin), '../maps', name);
      using map = bpf.BpfMap.openPinned(pin);
      object.setMapMaxEntries(name, map.info.maxEntries);
      object.reuseMap(name, pin);
    }
    object.load();
    using program = object.program('spoof_ingress');
    using link = program.attachTcx(ifindex, { direction: 'ingress', position: 'head' });
    link.pin(`${linkPin}-moving`);
  },
  /** Receives samples as they arrive, until unlisten. */
  listen: () => {
    state.received = [];
    state.reader = state.object!.openSamples(({ samples }) => state.received.push(...samples));
  },
  received: () => state.received,
  unlisten: () => state.reader!.close(),
  setAbi: (pin: string, abi: number) => {
    using map = bpf.BpfMap.openPinned(pin);
    const value = map.get(Buffer.alloc(4))!;
    value.writeUInt32LE(abi, 12);
    map.set(Buffer.alloc(4), value);
  },
  /**
   * Attaches a program of foreign.bpf.c to `ifindex`. @param place as for attachTcx, or a clsact
   * filter @param target ifindex for those that redirect
   */
  attachForeign: (
    objectPath: string,
    ifindex: number,
    direction: bpf.ChainHook,
    place: bpf.TcxPosition | 'clsact' | 'same priority',
    name = 'count_packets',
    target = 0,
  ) => {
    using object = bpf.BpfObject.open(objectPath);
    object.load();
    using targets = object.map('target');
    const value = Buffer.alloc(4);
    value.writeUInt32LE(target);
    targets.set(Buffer.alloc(4), value);
    using program = object.program(name);
    const attached =
      place === 'clsact' || place === 'same priority'
        ? program.attachClsact(ifindex, direction as bpf.TcxDirection, { priority: place === 'clsact' ? 50 : 1 })
        : program.attachTcx(ifindex, { direction, position: place });
    const detach = () => ('close' in attached ? attached.close() : attached.detach());
    return state.foreign.push({ map: object.map('packets'), detach }) - 1;
  },
  /** Detaches all of them. Their counts stay readable. */
  detachForeign: () => {
    for (const foreign of state.foreign) {
      foreign.detach();
      foreign.detach = () => undefined;
    }
  },
  counted: (index: number) => state.foreign[index]!.map.get(Buffer.alloc(4))!.readBigUInt64LE(0),
  /** The first `count` values of the map `packets`. */
  recorded: (index: number, count: number) =>
    Array.from({ length: count }, (_, field) => {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(field);
      return state.foreign[index]!.map.get(key)!.readBigUInt64LE(0);
    }),
  /** Test run of the pinned ingress or egress program. */
  testRun: (pin: string, data: Uint8Array, context: Uint8Array, repeat: number) => {
    using program = bpf.BpfProgram.openPinned(pin);
    const { retval, durationNs } = program.testRun({ data, context, repeat });
    return { retval: retval | 0, durationNs };
  },
  /** Watches places as a collector in this mode does. */
  watch: (mode: bpf.AttachMode) => {
    state.watch = new bpf.PlaceWatch(mode);
  },
  /** Leaves the second filter of an interrupted move before all others. */
  leaveMove: (pinDir: string, ifindex: number) => {
    using program = bpf.BpfProgram.openPinned(path.join(pinDir, 'programs', 'spoof_ingress'));
    program.attachClsact(ifindex, 'ingress', { priority: 1, handle: 0xba2 });
  },
  /** Whether chains changed since the last call. */
  placesChanged: (interfaces: bpf.Watched[]) => state.watch.changed(interfaces),
  /** A socket of the node on this port, of both families. */
  bindUdp: (port: number) => {
    state.udp = createSocket('udp6', (data) => state.datagrams.push(data.toString()));
    state.udp.bind(port, '::');
  },
  sendUdp: (port: number, address: string) => state.udp!.send('from the node', port, address),
  datagrams: () => state.datagrams,
  exit: () => process.exit(0),
};

function resolve(target: string): (...args: unknown[]) => unknown {
  let owner: unknown;
  let value: unknown = { own, bpf, object: state.object };
  for (const part of target.split('.')) {
    owner = value;
    value = (value as Record<string, unknown>)[part];
  }
  if (typeof value !== 'function') return () => value;
  return value.bind(owner) as (...args: unknown[]) => unknown;
}

process.on('message', (request: Request) => {
  const { id, target, args } = request;
  try {
    process.send!({ id, value: resolve(target)(...args) });
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    process.send!({ id, error: { message, code } });
  }
});
process.on('disconnect', () => process.exit(0));
process.send!({ id: 0 });

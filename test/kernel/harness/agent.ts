/**
 * Runs in the node's network namespace and does there what it is told over IPC: a process cannot enter another
 * namespace by itself, and interfaces are attached from within. Started by guard.ts, answers one request at a time.
 */
import * as bpf from '@bailiff/bpf';

interface Request {
  readonly id: number;
  /** `object.maps.ifaces.set`, `bpf.detachAll`, … */
  readonly path: string;
  readonly args: readonly unknown[];
}

const state: {
  object: bpf.SpoofObject | null;
  extra: { link: bpf.BpfLink; map: bpf.BpfMap }[];
  filters: bpf.ClsactFilter[];
  program: bpf.BpfProgram | null;
} = { object: null, extra: [], filters: [], program: null };

/** What the tests need beyond the plain API. */
const own = {
  open: (options: bpf.OpenSpoofOptions) => {
    state.object = bpf.openSpoofObject(options);
    const { mode, reused, updatedLinks } = state.object;
    return { mode, reused, updatedLinks };
  },
  close: () => {
    state.object?.close();
    state.object = null;
  },
  /** Everything in the ring now. */
  drain: () => {
    const reader = state.object!.openSamples(() => {
      throw new Error('drained synchronously');
    });
    const samples: bpf.SpoofSample[] = [];
    for (let batch = reader.drain(); batch !== null; batch = reader.drain()) {
      if (batch.errors.length > 0) throw batch.errors[0];
      samples.push(...batch.samples);
    }
    reader.close();
    return samples;
  },
  /** Attaches another program that counts packets and passes them; `position` as for attachTcx. */
  attachCounter: (objectPath: string, ifindex: number, position: bpf.TcxPosition, direction: bpf.TcxDirection) => {
    using object = bpf.BpfObject.open(objectPath);
    object.load();
    using program = object.program('count_packets');
    const link = program.attachTcx(ifindex, { direction, position });
    return state.extra.push({ link, map: object.map('packets') }) - 1;
  },
  attachCounterFilter: (objectPath: string, ifindex: number, direction: bpf.TcxDirection) => {
    using object = bpf.BpfObject.open(objectPath);
    object.load();
    using program = object.program('count_packets');
    state.filters.push(program.attachClsact(ifindex, direction, { priority: 50 }));
    const link = null as unknown as bpf.BpfLink;
    return state.extra.push({ link, map: object.map('packets') }) - 1;
  },
  counted: (index: number) => state.extra[index]!.map.get(Buffer.alloc(4))!.readBigUInt64LE(0),
  /** Test run of the pinned ingress or egress program. */
  testRun: (pin: string, data: Uint8Array, context: Uint8Array, repeat: number) => {
    using program = bpf.BpfProgram.openPinned(pin);
    const { retval, durationNs } = program.testRun({ data, context, repeat });
    return { retval: retval | 0, durationNs };
  },
  exit: () => process.exit(0),
};

function resolve(path: string): (...args: unknown[]) => unknown {
  let owner: unknown;
  let value: unknown = { own, bpf, object: state.object };
  for (const part of path.split('.')) {
    owner = value;
    value = (value as Record<string, unknown>)[part];
  }
  if (typeof value !== 'function') return () => value;
  return value.bind(owner) as (...args: unknown[]) => unknown;
}

process.on('message', (request: Request) => {
  const { id, path, args } = request;
  try {
    process.send!({ id, value: resolve(path)(...args) });
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    process.send!({ id, error: { message, code } });
  }
});
process.on('disconnect', () => process.exit(0));
process.send!({ id: 0 });
